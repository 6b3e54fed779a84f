/**
 * A person erases a period of her streams. Its keys are destroyed in the vault and in the hot store, so that nobody can
 * be granted that period again, and an `erase` transaction says so on Userchain, upon which every storage node removes
 * the blocks once the time for disputes is over. A period that reaches into the present begins with a rotation: what
 * comes after it is sealed under other keys.
 */
import { type SequenceRange, signTransaction } from '@healthblock/chain/transaction'
import type { SigningKey } from '@healthblock/crypto/signature'
import { equalBytes, fromHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { OutboxEntry } from '@healthblock/runtime/outbox'
import type { Database } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import type { OpStanding } from '../people/op-standing.ts'
import type { Session, Sessions } from '../people/sessions.ts'
import { consentValidityMs, type Person, type PersonStore, type PersonStream } from '../store/person.ts'
import type { Postings } from '../store/postings.ts'
import { userchainId } from './compose.ts'
import { type Consent, reasons } from './consent.ts'
import {
  digestsOf,
  type EraseBody,
  erasuresOf,
  isAnyNew,
  newestOf,
  standingErasuresOf,
  withoutRanges,
} from './erased-ranges.ts'

/** Most ranges of one transaction; a stream has one. */
const rangesMax = 64
/** GDPR article 17, as the ledger names the reason. */
const lawErasure = 17
const pollMs = 100
/** Refusals for having come at the wrong time, or under the op key before this one. */
const rulesOfOrder = new Set(['erase.counter', 'erase.expiry', 'erase.signature', 'outbox.dependency'])

/** True if what was refused for this may be taken another time; of an outbox whose file was lost it is not known why. */
function mayBeTaken(rule: string | undefined): boolean {
  return rule === undefined || rulesOfOrder.has(rule)
}

/** So many refusals in a row are answered at once; what is refused again and again then, as by a clock that is wrong, waits for `again`. */
const signedAtOnce = 8

interface Dependencies {
  readonly database: Database
  readonly people: PersonStore
  readonly postings: Postings
  readonly ledger: LedgerView
  readonly consent: Consent
  readonly standing: Pick<OpStanding, 'isOut'>
  readonly sessions: Pick<Sessions, 'absorbRoots' | 'saveVault'>
  /** Seals everything of a stream that waits. */
  readonly flush: (person: Person, stream: PersonStream) => void
  readonly nowMs: () => number
}

/** What a person asks for: whole epochs that the period touches. */
export interface ErasureRequest {
  readonly streams: readonly PersonStream[]
  readonly fromMs: number
  readonly untilMs: number
}

/** What was erased. */
export interface Erased {
  /** Id of the `erase` transaction; undefined if no record lies in the period. */
  readonly tx: Uint8Array | undefined
  /** True if all of the period was erased before, or is being erased: nothing was posted, and `tx` is the newest that did it. */
  readonly isRepeated: boolean
  readonly ranges: readonly SequenceRange[]
  /** SHA-256 of each erased block. */
  readonly digests: readonly Uint8Array[]
  /** The period in epochs, the last one not included. */
  readonly fromEpoch: number
  readonly untilEpoch: number
}

/** Erasures of the household's people. */
export class Erasures {
  readonly #deps: Dependencies
  /** By person: refusals since the ledger took an erasure. */
  readonly #refusals = new Map<string, number>()

  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Erases a period. When it returns, its keys are destroyed and the transaction is durable in this node. What was erased before is not posted
   * again.
   *
   * @param waitMs - how long records of the period that are still on their way to the ledger are waited for.
   * @throws {UserNodeError} `ERR_ERASURE_INVALID` for an empty period; `ERR_ERASURE_PENDING` if records of it are not on
   *   the ledger yet: nothing is destroyed then.
   */
  async erase(session: Session, request: ErasureRequest, waitMs: number): Promise<Erased> {
    const { ledger, consent, sessions, flush, nowMs } = this.#deps
    const { person } = session
    const { epochLengthMs } = ledger
    const now = nowMs()
    const { fromEpoch, untilEpoch } = this.epochsOf(request)
    let generationMax = Number.MAX_SAFE_INTEGER
    let requires: Uint8Array | undefined
    if (untilEpoch > epochOf(now, epochLengthMs)) {
      // What came before the question belongs to the period: left waiting, it would be recorded under the new keys.
      for (const stream of request.streams) flush(person, stream)
      const again = this.#repeated(person, { streams: request.streams, fromEpoch, untilEpoch, generationMax }, request)
      if (again !== undefined) return again
      const rotated = await consent.rotate(person, reasons.erase)
      requires = rotated.tx
      generationMax = rotated.generation - 1
    }
    const period = { streams: request.streams, fromEpoch, untilEpoch, generationMax }
    await this.#untilRecorded(person, period, waitMs)
    await sessions.absorbRoots(session)
    const again = this.#repeated(person, period, request)
    if (again !== undefined) return again
    const found = this.#recordsOf(person, period)
    const tx = await consent.shred(
      person,
      session.vault,
      { ...period, streams: period.streams.map(({ stream }) => stream) },
      () => sessions.saveVault(session),
      () => {
        for (const [stream, from, to] of found.ranges) {
          const range = [person.account, stream, from, to] as const
          this.#deps.database.run(
            'DELETE FROM file WHERE account = ? AND stream = ? AND sequence BETWEEN ? AND ?',
            ...range,
          )
        }
        // Asked for twice at once, it is posted once.
        const left = this.#unasked(person, found.ranges)
        if (left.length === 0) return undefined
        // In more pieces than a transaction holds, what was erased before is erased with it: ranges may overlap.
        return this.#post(person, left.length > rangesMax ? found.ranges : left, requires)
      },
    )
    const known = tx ?? this.#newestOf(person, found.ranges)
    return { tx: known, isRepeated: tx === undefined && known !== undefined, ...found, fromEpoch, untilEpoch }
  }

  /**
   * The epochs of a request, the last one not included.
   *
   * @throws {UserNodeError} `ERR_ERASURE_INVALID` for an empty period.
   */
  epochsOf({ streams, fromMs, untilMs }: ErasureRequest): { fromEpoch: number; untilEpoch: number } {
    const { ledger, nowMs } = this.#deps
    const { epochLengthMs } = ledger
    const fromEpoch = epochOf(fromMs, epochLengthMs)
    const untilEpoch = epochOf(Math.min(untilMs, nowMs()) + epochLengthMs - 1, epochLengthMs)
    if (fromEpoch >= untilEpoch || streams.length === 0)
      throw new UserNodeError('there is nothing between these times', { code: 'ERR_ERASURE_INVALID', field: 'until' })
    return { fromEpoch, untilEpoch }
  }

  /** What of these ranges no erasure of hers asks for that is on record or on its way. */
  #unasked(person: Person, ranges: readonly SequenceRange[]): SequenceRange[] {
    const taken = standingErasuresOf(this.#deps.database, person).flatMap((one) => one.ranges)
    return ranges.flatMap((range) => withoutRanges(range, taken))
  }

  #newestOf(person: Person, ranges: readonly SequenceRange[]): Uint8Array | undefined {
    return newestOf(standingErasuresOf(this.#deps.database, person), ranges)
  }

  /**
   * What was erased, if all of it was asked for before. Keys are not changed for it, and nothing that was measured since is taken: of the present epoch
   * a period means what came up to its end.
   */
  #repeated(person: Person, period: Period, { untilMs }: ErasureRequest): Erased | undefined {
    const { database, ledger, nowMs } = this.#deps
    const found = this.#recordsOf(person, period)
    const tx = this.#newestOf(person, found.ranges)
    if (tx === undefined) return undefined
    const unasked = this.#unasked(person, found.ranges)
    const epoch = epochOf(nowMs(), ledger.epochLengthMs)
    if (isAnyNew(database, person, unasked, { epoch, untilMs })) return undefined
    const { fromEpoch, untilEpoch } = period
    const ranges = found.ranges.flatMap((range) => withoutRanges(range, unasked))
    return { tx, isRepeated: true, ranges, digests: digestsOf(database, person, ranges), fromEpoch, untilEpoch }
  }

  /** Signs a refused erasure again, with the next counter; later (`again`) if the op key is not in force. Its keys are gone already. */
  settle(person: Person, entry: OutboxEntry): void {
    if (entry.status !== 'refused') this.#refusals.delete(person.id)
    if (entry.status !== 'refused') return
    const { database } = this.#deps
    const row = database.get('SELECT body FROM erasure WHERE tx = ? AND account = ?', fromHex(entry.id), person.account)
    if (row === undefined) return
    // What is refused for anything else would be refused again.
    if (!mayBeTaken(entry.rule)) return
    if (this.#deps.standing.isOut(person) && !this.#isNextInForce(person)) return
    const refusals = (this.#refusals.get(person.id) ?? 0) + 1
    this.#refusals.set(person.id, refusals)
    if (refusals > signedAtOnce) return
    const { ranges } = decodeCbor(row.body as Uint8Array) as unknown as EraseBody
    database.transaction(() => this.#post(person, ranges, undefined))
  }

  /** Signs anew what was refused while the op key was not in force, and what nothing took the place of. */
  again(person: Person, find: (tx: Uint8Array) => Pick<OutboxEntry, 'rule'> | undefined): void {
    const { database, standing } = this.#deps
    if (standing.isOut(person)) return
    // The newest of the same ranges says how it stands.
    for (const { tx, ranges, state } of erasuresOf(database, person))
      if (state === 'refused' && mayBeTaken(find(tx)?.rule))
        database.transaction(() => this.#post(person, ranges, undefined))
  }

  #isNextInForce(person: Person): boolean {
    return person.nextOp !== undefined && this.#keyInForce(person) === person.nextOp
  }

  /** The person's op key that the ledger has in force: the one that this node has, or the one that it waits for. */
  #keyInForce({ account, opKey, nextOp }: Person): SigningKey | undefined {
    const inForce = this.#deps.ledger.opKey(account)
    return [opKey, nextOp].find(
      (key) => key !== undefined && inForce !== undefined && equalBytes(key.publicKey, inForce),
    )
  }

  /** Inside the caller's transaction. */
  #post(person: Person, ranges: readonly SequenceRange[], requires: Uint8Array | undefined): Uint8Array {
    const { database, people, postings, ledger, nowMs } = this.#deps
    const n = people.nextCounter(person, { nowMs: nowMs(), recorded: ledger.lastCounter(person.account) })
    const x = nowMs() + consentValidityMs
    const body: EraseBody = { v: 1, t: 'erase', a: person.account, n, x, ranges: [...ranges], law: lawErasure }
    const signingKey = this.#keyInForce(person) ?? person.opKey
    const transaction = signTransaction({
      ledgerId: ledger.ledgerId,
      chain: 'userchain',
      body,
      signers: [{ account: person.account, key: 1, signingKey }],
    })
    const tx = userchainId(ledger.ledgerId, transaction.bodyBytes)
    postings.add({ tx, account: person.account, what: 'erase', leaf: transaction.leaf, requires }, nowMs())
    const columns = 'tx, account, body, asked'
    database.run(
      `INSERT INTO erasure (${columns}) VALUES (?, ?, ?, ?)`,
      tx,
      person.account,
      transaction.bodyBytes,
      nowMs(),
    )
    return tx
  }

  /** Numbers are given in the order of epochs, so a period is one range of each stream. */
  #recordsOf(person: Person, period: Period): { ranges: SequenceRange[]; digests: Uint8Array[] } {
    const { database } = this.#deps
    const ranges = period.streams.flatMap(({ stream }): SequenceRange[] => {
      const row = database.get(
        `SELECT min(sequence) AS first, max(sequence) AS last FROM batch
         WHERE account = ? AND stream = ? AND epoch >= ? AND epoch < ? AND generation <= ?`,
        ...[person.account, stream, period.fromEpoch, period.untilEpoch, period.generationMax],
      )
      return row === undefined || row.first === null ? [] : [[stream, Number(row.first), Number(row.last)]]
    })
    const most = ranges.slice(0, rangesMax)
    return { ranges: most, digests: digestsOf(database, person, most) }
  }

  async #untilRecorded(person: Person, period: Period, waitMs: number): Promise<void> {
    const deadline = performance.now() + waitMs
    const isWaiting = (): boolean =>
      period.streams.some(
        ({ stream }) =>
          this.#deps.database.get(
            `SELECT 1 FROM batch WHERE account = ? AND stream = ? AND epoch >= ? AND epoch < ? AND generation <= ?
             AND state <> 'committed' LIMIT 1`,
            ...[person.account, stream, period.fromEpoch, period.untilEpoch, period.generationMax],
          ) !== undefined,
      )
    while (isWaiting()) {
      if (performance.now() > deadline) {
        const message = 'records of this period are on their way to the ledger: try again when they are there'
        throw new UserNodeError(message, { code: 'ERR_ERASURE_PENDING' })
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }
}

interface Period {
  readonly streams: readonly PersonStream[]
  readonly fromEpoch: number
  readonly untilEpoch: number
  /** Newest generation that the period means. */
  readonly generationMax: number
}
