/**
 * Grants that are open on the ledger and that a node does not know, and those that have ended there without it: its folder is an older copy,
 * or somebody else has the op key. Nobody but their owner can have opened them, since root signs each.
 */
import type { LiveGrant } from '@healthblock/crypto/hot-store'
import { isYetToCome } from '@healthblock/runtime/pauses'
import type { Database } from '@healthblock/runtime/sqlite'
import type { GrantOnRecord, LedgerView } from '../ledger-view.ts'
import type { Person, PersonStore } from '../store/person.ts'
import { isUnexpired } from './compose.ts'
import { unknownTransaction, writeGrant } from './grant-row.ts'

interface Dependencies {
  readonly database: Database
  readonly people: PersonStore
  readonly ledger: LedgerView
  readonly nowMs: () => number
}

/** What was found. */
export interface GrantsFound {
  /** Counter of the consent on the ledger up to which it was looked. */
  readonly recorded: number
  /** True if that was this node's own, and the node had caught up. */
  readonly isOwn: boolean
  readonly found: readonly GrantOnRecord[]
  /** Those of them that have not run out. */
  readonly live: readonly LiveGrant[]
}

/** Between two looks. */
const lookPauseMs = 600_000

/** Looks for them. */
export class ForeignGrants {
  readonly #deps: Dependencies
  /**
   * People whose grants were looked through in this run, by a node that had caught up, when the newest consent was this node's own: what it adds
   * itself is known. Of one that had not, consent that it has not seen may lie before its own.
   */
  readonly #isAllKnown = new Set<string>()
  /** By person: when the whole state may be read again. */
  readonly #nextLookMs = new Map<string, number>()

  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** Looks through the ledger, once consent is on record that was not looked at, at most every ten minutes; undefined if not now. */
  look(person: Person, isCaughtUp: boolean): GrantsFound | undefined {
    const { database, people, ledger, nowMs } = this.#deps
    const { account } = person
    const recorded = ledger.lastCounter(account)
    const isOwn = people.counterOf(person) === recorded
    if (!this.#isDue(person, recorded, isOwn)) return undefined
    const found = ledger.openGrants(account).flatMap((grant) => {
      const row = database.get('SELECT 1 FROM grants WHERE account = ? AND gid = ?', account, grant.grantId)
      const recipient = ledger.account(grant.recipient)
      return row === undefined && recipient !== undefined ? [{ ...grant, ...recipient }] : []
    })
    const live = found
      .filter((grant) => isUnexpired(grant, nowMs()))
      .map(({ grantId, recipient, suite, kemKey, streams, from, until, rights }): LiveGrant => {
        return { grantId, recipient, suite, kemKey, streams, from, until, rights }
      })
    return { recorded, isOwn: isOwn && isCaughtUp, found, live }
  }

  /** Lists what was found, and ends what has ended. Inside the caller's transaction. */
  writeDown(person: Person, { recorded, found }: GrantsFound): void {
    const { database, people } = this.#deps
    for (const grant of found) writeGrant(database, person.account, { ...grant, tx: unknownTransaction })
    this.#endClosed(person)
    people.writeLooked(person, recorded)
  }

  /** What was found is durable. */
  remember(person: Person, { isOwn }: GrantsFound): void {
    if (isOwn) this.#isAllKnown.add(person.id)
  }

  /** Grants that were refused, and that are open on the ledger all the same, with the transaction that opened each. */
  refusedAlive({ account }: Person): { grantId: Uint8Array; tx: Uint8Array }[] {
    const { database, ledger } = this.#deps
    const refused =
      'SELECT gid, tx FROM grants WHERE account = ? AND closed IS NOT NULL AND closegen IS NULL LIMIT 4096'
    return database
      .all(refused, account)
      .map(({ gid, tx }) => ({ grantId: gid as Uint8Array, tx: tx as Uint8Array }))
      .filter(({ grantId }) => ledger.isGrantRecorded(account, grantId) && !ledger.isGrantClosed(account, grantId))
  }

  #isDue(person: Person, recorded: number, isOwn: boolean): boolean {
    const { people, nowMs } = this.#deps
    if (people.lookedAt(person) === recorded) return false
    if (isOwn && this.#isAllKnown.has(person.id)) {
      people.writeLooked(person, recorded)
      return false
    }
    this.#isAllKnown.delete(person.id)
    // Whoever has op lets the counter go on as often as he likes.
    if (isYetToCome(this.#nextLookMs.get(person.id) ?? 0, { nowMs: nowMs(), lengthMs: lookPauseMs })) return false
    this.#nextLookMs.set(person.id, nowMs() + lookPauseMs)
    return true
  }

  /** By which generation the ledger ended them is not known: at the latest by the current one. */
  #endClosed({ account }: Person): void {
    const { database, ledger } = this.#deps
    const open = database.all('SELECT gid FROM grants WHERE account = ? AND closed IS NULL LIMIT 4096', account)
    for (const { gid } of open) {
      const closedAtMs = ledger.grantClosedAtMs(account, gid as Uint8Array)
      if (closedAtMs === undefined) continue
      database.run(
        'UPDATE grants SET closed = ?, closegen = ? WHERE account = ? AND gid = ?',
        ...[closedAtMs, ledger.currentGeneration(account), account, gid as Uint8Array],
      )
    }
  }
}
