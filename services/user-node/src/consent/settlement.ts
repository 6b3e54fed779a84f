/** What becomes of a person's `key` transactions: receipts in three parts, and what to do with one that was refused. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import type { Logger } from '@healthblock/runtime/logger'
import type { OutboxEntry } from '@healthblock/runtime/outbox'
import { isYetToCome } from '@healthblock/runtime/pauses'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { UserNodeEvents } from '../events.ts'
import type { Person, PersonStore } from '../store/person.ts'
import type { Consent } from './consent.ts'

interface Dependencies {
  readonly dir: string
  readonly database: Database
  readonly people: PersonStore
  readonly client: Pick<LedgerClient, 'receipt'>
  readonly events: UserNodeEvents
  readonly logger: Logger
  readonly nowMs: () => number
  /** Signs a refused rotation again, under a new counter and expiry; forgets grants that were refused, with a change of keys. */
  readonly consent: Pick<Consent, 'reissue' | 'drop' | 'noteSettled'>
}

/** Where a revocation stands, as the command line and the portal show it. */
export interface RevocationState {
  readonly transactionId: string
  readonly changedAt: string
  readonly recordedAt: string | null
  readonly refusedEverywhereAt: string | null
  readonly receipt: string | null
}

/** Number of parts of a receipt's JSON. */
function partsOf(receipt: Uint8Array): number {
  const parsed = JSON.parse(new TextDecoder().decode(receipt)) as { parts?: unknown[] }
  return parsed.parts?.length ?? 0
}

/** Between two looks for refused rotations that nothing took the place of. */
const reissuePauseMs = 30_000
/** So many refusals in a row are answered at once; what is refused again and again then, as by a clock that is wrong, waits for the next look. */
const reissuesAtOnce = 8

/** A receipt that lacks a part for so long may be one that its node leaves out: others are asked as well. */
const partPatienceMs = 10_000

/** Follows the consent transactions of everybody. */
export class Settlement {
  readonly #deps: Dependencies
  #reissueAfterMs = 0
  /** By person: refusals since the ledger took something. */
  readonly #refusals = new Map<string, number>()
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** The file of a receipt: where the outbox writes it too. */
  receiptPath(id: string): string {
    return join(this.#deps.dir, 'receipts', `${id}.json`)
  }

  /** The outbox finished a `key` transaction. */
  async settle(person: Person, entry: OutboxEntry): Promise<void> {
    const { database, logger } = this.#deps
    const tx = fromHex(entry.id)
    const row = database.get('SELECT generation, opens FROM consent WHERE tx = ?', tx)
    if (row === undefined) return
    const generation = Number(row.generation)
    this.#deps.consent.noteSettled(person)
    if (entry.status === 'committed') {
      this.#refusals.delete(person.id)
      database.run(
        "UPDATE consent SET state = 'committed', recorded = coalesce(recorded, ?) WHERE tx = ?",
        this.#deps.nowMs(),
        tx,
      )
      return
    }
    logger.warn({ transaction: entry.id, rule: entry.rule }, 'a key transaction was refused')
    if (Number(row.opens) > 0) {
      database.run(
        'UPDATE grants SET closed = ?, closegen = NULL WHERE account = ? AND tx = ? AND closed IS NULL',
        this.#deps.nowMs(),
        person.account,
        tx,
      )
      await this.#deps.consent.drop(person, tx)
    }
    const newer = database.get(
      "SELECT 1 FROM consent WHERE account = ? AND generation >= ? AND tx <> ? AND state IN ('pending', 'committed') AND changed >= (SELECT changed FROM consent WHERE tx = ?)",
      ...[person.account, generation, tx, tx],
    )
    database.run("UPDATE consent SET state = 'refused' WHERE tx = ?", tx)
    const committed = database.get(
      "SELECT max(generation) AS g FROM consent WHERE account = ? AND state = 'committed'",
      person.account,
    )
    // A later one repeats every close and cut; without one they are signed again, under a new counter and expiry.
    if (newer !== undefined || generation <= Number(committed?.g ?? 0)) return
    const refusals = (this.#refusals.get(person.id) ?? 0) + 1
    this.#refusals.set(person.id, refusals)
    if (refusals <= reissuesAtOnce) await this.#deps.consent.reissue(person)
  }

  /**
   * Takes up what an earlier run, or one without room on its disk, left undone: final transactions that were not settled, and refused
   * rotations that were not signed again. Call it often.
   */
  async resume(find: (tx: Uint8Array) => OutboxEntry | undefined): Promise<void> {
    const { database, people, nowMs, consent } = this.#deps
    const rows = database.all(
      `SELECT consent.tx AS tx, consent.account AS account, posting.state AS state FROM consent JOIN posting ON posting.tx = consent.tx
       WHERE consent.state = 'pending' AND posting.state <> 'pending' ORDER BY consent.changed LIMIT 64`,
    )
    for (const row of rows) {
      const person = people.byAccount(row.account as Uint8Array)
      const tx = row.tx as Uint8Array
      // An outbox whose file was lost does not know it any more.
      const status = row.state as 'committed' | 'refused'
      const final = { id: toHex(tx), chain: 'userchain', status, addedMs: nowMs(), attempts: 0 } as const
      if (person !== undefined) await this.settle(person, find(tx) ?? final)
    }
    if (isYetToCome(this.#reissueAfterMs, { nowMs: nowMs(), lengthMs: reissuePauseMs })) return
    this.#reissueAfterMs = nowMs() + reissuePauseMs
    for (const person of people.all()) {
      const row = database.get(
        `SELECT sum(state = 'refused') AS refused, sum(state <> 'refused') AS others FROM consent
         WHERE account = ? AND generation = ?`,
        ...[person.account, person.hot.generation],
      )
      if (Number(row?.refused ?? 0) > 0 && Number(row?.others ?? 0) === 0) await consent.reissue(person)
    }
  }

  /** Looks for the receipts that are still incomplete. Call it often: it asks only for those. */
  async pursue(): Promise<void> {
    const { database } = this.#deps
    const rows = database.all(
      "SELECT tx, account, closes, recorded FROM consent WHERE state = 'committed' AND everywhere IS NULL ORDER BY changed DESC LIMIT 64",
    )
    for (const row of rows) await this.#pursueOne(row)
  }

  async #pursueOne(row: SqlRow): Promise<void> {
    const { database, client, events, nowMs, logger } = this.#deps
    const [tx, account] = [row.tx as Uint8Array, row.account as Uint8Array]
    const isRevocation = Number(row.closes) > 0
    const id = toHex(tx)
    try {
      const isOfAny = Math.abs(nowMs() - Number(row.recorded)) > partPatienceMs
      const receipt = await client.receipt('userchain', tx, { isOfAny })
      if (receipt === undefined) return
      writeFileDurably(this.receiptPath(id), receipt, { mode: 0o600 })
      if (isRevocation && partsOf(receipt) < 3) return
      database.run('UPDATE consent SET everywhere = ? WHERE tx = ?', nowMs(), tx)
      if (isRevocation)
        events.emit({ type: 'revocation', account: toHex(account), atMs: nowMs(), transaction: id, step: 'everywhere' })
    } catch (error) {
      logger.debug({ err: error }, 'a receipt is not complete yet')
    }
  }

  /**
   * Where a revocation stands; `undefined` if there is none of that id for this person. One that was refused stands where the one that took
   * its place does: that repeats what it closed.
   */
  find(person: Person, id: string): RevocationState | undefined {
    const row = this.#deps.database.get(
      'SELECT tx, changed, recorded, everywhere, state, generation FROM consent WHERE account = ? AND tx = unhex(?)',
      person.account,
      id,
    )
    if (row === undefined) return undefined
    const next = row.state === 'refused' ? this.#successorOf(person, Number(row.generation)) : undefined
    const { tx, recorded, everywhere } = next ?? row
    const path = this.receiptPath(toHex(tx as Uint8Array))
    const time = (value: unknown): string | null =>
      value === null || value === undefined ? null : new Date(Number(value)).toISOString()
    const isKept = recorded !== null && existsSync(path)
    return {
      transactionId: toHex(tx as Uint8Array),
      changedAt: time(row.changed) as string,
      recordedAt: isKept ? time(recorded) : null,
      refusedEverywhereAt: time(everywhere),
      receipt: isKept ? path : null,
    }
  }

  #successorOf(person: Person, generation: number): SqlRow | undefined {
    return this.#deps.database.get(
      `SELECT tx, recorded, everywhere FROM consent
       WHERE account = ? AND generation >= ? AND closes > 0 AND state <> 'refused' ORDER BY generation, changed LIMIT 1`,
      ...[person.account, generation],
    )
  }
}
