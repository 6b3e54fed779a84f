/** Pins of references. Owned by the writer's thread. */
import type { BlockRows, ReferenceRow } from './block-rows.ts'
import type { Outcome, PinStamps, Reference } from './operations.ts'
import { isSame, keptSince, mergeStamps, msAfter, pinOf, stampsIn, stampsOf, timesIn } from './pin-stamps.ts'
import type { Statements } from './statements.ts'
import type { Tallies } from './tallies.ts'

/** An account's reference that is here. */
export interface KnownReference {
  number: number
  digest: Uint8Array
  codec: number
  row: ReferenceRow
}

function stampsOfRow(row: ReferenceRow): PinStamps {
  return stampsIn(row) ?? stampsOf(row)
}

/** The pins of one node. */
export class PinRows {
  readonly #statements: Statements
  readonly #rows: BlockRows
  readonly #tallies: Tallies

  constructor(statements: Statements, rows: BlockRows, tallies: Tallies) {
    this.#statements = statements
    this.#rows = rows
    this.#tallies = tallies
  }

  /**
   * Adds what a reference that came says to the one that is here: of its pin, and that the account keeps the block still.
   *
   * @param told.isAsked - true of what the account asks of this store, and not another store tells or hands over: that may come twice.
   * @param told.putAt - when an account puts it, Unix ms: its pin counts, whatever another store's clock said of an earlier removal, and
   *   its word comes after one from a clock that was ahead; undefined of a copy.
   */
  add(
    known: KnownReference,
    reference: Reference,
    { putAt, isAsked }: { putAt: number | undefined; isAsked: boolean },
  ): void {
    const { account, pin, pins } = reference
    const here = stampsOfRow(known.row)
    const at = putAt !== undefined ? Math.max(reference.at, msAfter(here.removed)) : reference.at
    const stamps = pin === 0 && pins === undefined ? here : mergeStamps(here, stampsOf({ ...reference, at }))
    this.#write(known, account, stamps)
    const since = keptSince({ ...timesIn(known.row), pins: stamps })
    // By a clock that is behind, or within one ms, it is a word of its own all the same: who said the other takes back that alone.
    const isBehind = putAt !== undefined && (since > putAt || reference.at <= keptSince(timesIn(known.row)))
    const again = Math.max(reference.at, reference.again ?? 0, isBehind ? msAfter(since) : 0)
    // Within the same ms, too, or by a clock that is behind, it is not the word of one request alone any more, which that could take back.
    const isAnother = isAsked || reference.at !== known.row.at
    const isSecond = reference.again !== undefined || (pins === undefined && isAnother)
    if (again <= since && !(isSecond && known.row.againAt === null)) return
    const keep = 'UPDATE reference SET again_at = ? WHERE block = ? AND account = ?'
    this.#statements.run(keep, Math.max(again, since), known.number, this.#tallies.numberOf(account))
  }

  /** Takes a pin away, or has it be known that it was: an older one that is still on its way does not come back. */
  unpin({ digest, account, at }: { digest: Uint8Array; account: Uint8Array; at: number }): Outcome {
    const number = this.#rows.numberOf(digest)
    const row = this.#rows.referenceOf(number, account)
    if (!row) return { ok: false, code: 'ERR_NOT_PINNED' }
    const stamps = mergeStamps(stampsOfRow(row), { direct: 0, recursive: 0, removed: at })
    this.#write({ number, digest, codec: 0, row }, account, stamps)
    return { ok: true, changed: row.pin > 0 && pinOf(stamps) === 0, deleted: 0 }
  }

  #write({ number, digest, codec, row }: KnownReference, account: Uint8Array, stamps: PinStamps): void {
    const known = stampsOfRow(row)
    if (isSame(stamps, known)) return
    const pin = pinOf(stamps)
    const { direct, recursive, removed } = stamps
    // What is pinned now is listed under the codec with which that was asked for.
    const changed = pin > row.pin ? ', codec = ?' : ''
    this.#statements.run(
      `UPDATE reference SET pin = ?, pinned = ?, direct_at = ?, recursive_at = ?, removed_at = ?${changed} WHERE block = ? AND account = ?`,
      ...[pin, pin > 0 ? digest : null, direct, recursive, removed, ...(changed ? [codec] : [])],
      ...[number, this.#tallies.numberOf(account)],
    )
  }
}
