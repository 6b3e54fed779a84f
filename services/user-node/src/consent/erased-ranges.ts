/** What of a person's records this node has had erased, so that nothing is asked of the ledger twice. */
import type { SequenceRange, TransactionBody } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { Database } from '@healthblock/runtime/sqlite'
import type { Person } from '../store/person.ts'
import type { PostingState } from '../store/postings.ts'

/** The body of an `erase` transaction. */
export type EraseBody = Extract<TransactionBody, { t: 'erase' }>

/** An erasure that a person asked for. */
export interface ErasureOnFile {
  /** Of one that was signed again: the newest transaction. */
  readonly tx: Uint8Array
  readonly ranges: readonly SequenceRange[]
  /** When it was signed, Unix ms. */
  readonly askedMs: number
  /** refused: it waits to be signed again, or the ledger takes it never; its keys are gone all the same. */
  readonly state: PostingState
}

/** As many as the ledger takes of one account (packages/chain SPEC.md §6, `erase.count`). */
const erasuresMax = 16_384

/** A name of ranges, the same for the same ones. */
function nameOfRanges(ranges: readonly SequenceRange[]): string {
  return ranges.map(([stream, from, to]) => `${toHex(stream)} ${from} ${to}`).join()
}

/** A person's erasures, newest first, whatever the clock said: of those that were signed again the last. */
export function erasuresOf(database: Database, { account }: Person): ErasureOnFile[] {
  const rows = database.all(
    `SELECT erasure.tx AS tx, body, asked, posting.state AS state FROM erasure JOIN posting ON posting.tx = erasure.tx
     WHERE erasure.account = ? ORDER BY posting.number DESC LIMIT ${erasuresMax}`,
    account,
  )
  const seen = new Set<string>()
  return rows.flatMap(({ tx, body, asked, state }) => {
    const { ranges } = decodeCbor(body as Uint8Array) as unknown as EraseBody
    const name = nameOfRanges(ranges)
    if (seen.has(name)) return []
    seen.add(name)
    return [{ tx: tx as Uint8Array, ranges, askedMs: Number(asked), state: state as PostingState }]
  })
}

/** Those of a person's erasures that are on record or on their way, newest first. */
export function standingErasuresOf(database: Database, person: Person): ErasureOnFile[] {
  return erasuresOf(database, person).filter(({ state }) => state !== 'refused')
}

/** The newest of some erasures that takes any of these records. */
export function newestOf(erasures: readonly ErasureOnFile[], ranges: readonly SequenceRange[]): Uint8Array | undefined {
  return erasures.find((one) => one.ranges.some((taken) => ranges.some((range) => isTouching(taken, range))))?.tx
}

/** A person's erasure by the id of any transaction that asked for it: of one that was signed again, as its newest stands. */
export function erasureBy(database: Database, person: Person, tx: Uint8Array): ErasureOnFile | undefined {
  const row = database.get('SELECT body FROM erasure WHERE tx = ? AND account = ?', tx, person.account)
  if (row === undefined) return undefined
  const name = nameOfRanges((decodeCbor(row.body as Uint8Array) as unknown as EraseBody).ranges)
  return erasuresOf(database, person).find(({ ranges }) => nameOfRanges(ranges) === name)
}

/** True if two ranges of one stream have a record in common. */
function isTouching([stream, from, to]: SequenceRange, [other, first, last]: SequenceRange): boolean {
  return from <= last && first <= to && equalBytes(stream, other)
}

/** What is left of a range without others, in order. */
export function withoutRanges(range: SequenceRange, others: readonly SequenceRange[]): SequenceRange[] {
  const [stream, from, to] = range
  const left: SequenceRange[] = []
  let next = from
  const taken = others.filter((other) => isTouching(range, other)).sort(([, a], [, b]) => a - b)
  for (const [, first, last] of taken) {
    if (first > next) left.push([stream, next, first - 1])
    next = Math.max(next, last + 1)
  }
  if (next <= to) left.push([stream, next, to])
  return left
}

/**
 * True if what no erasure takes yet holds something of a period that is asked for once more: any record of an epoch that is over; of the one that goes
 * on what was measured before the period's end.
 *
 * @param epoch - the present one.
 */
export function isAnyNew(
  database: Database,
  { account }: Person,
  unasked: readonly SequenceRange[],
  { epoch, untilMs }: { epoch: number; untilMs: number },
): boolean {
  return unasked.some(
    ([stream, from, to]) =>
      database.get(
        'SELECT 1 FROM batch WHERE account = ? AND stream = ? AND sequence BETWEEN ? AND ? AND (epoch < ? OR start < ?) LIMIT 1',
        ...[account, stream, from, to, epoch, untilMs],
      ) !== undefined,
  )
}

/** SHA-256 of each block of these records; those that never had one are left out. */
export function digestsOf(database: Database, { account }: Person, ranges: readonly SequenceRange[]): Uint8Array[] {
  return ranges.flatMap(([stream, from, to]) =>
    database
      .all(
        'SELECT cid FROM batch WHERE account = ? AND stream = ? AND sequence BETWEEN ? AND ? ORDER BY sequence',
        ...[account, stream, from, to],
      )
      .map(({ cid }) => cid as Uint8Array)
      .filter((cid) => !equalBytes(cid, noBlock)),
  )
}

const noBlock = new Uint8Array(32)
