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
export function nameOfRanges(ranges: readonly SequenceRange[]): string {
  return ranges.map(([stream, from, to]) => `${toHex(stream)} ${from} ${to}`).join()
}

/** A person's erasures, newest first: of those that were signed again the last. */
export function erasuresOf(database: Database, { account }: Person): ErasureOnFile[] {
  const rows = database.all(
    `SELECT erasure.tx AS tx, body, asked, posting.state AS state FROM erasure JOIN posting ON posting.tx = erasure.tx
     WHERE erasure.account = ? ORDER BY asked DESC LIMIT ${erasuresMax}`,
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

/** True if two ranges of one stream have a record in common. */
export function isTouching([stream, from, to]: SequenceRange, [other, first, last]: SequenceRange): boolean {
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
