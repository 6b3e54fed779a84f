/** Rows of blocks and of the references that keep them, as every change of the tables needs them. Owned by the writer's thread. */
import type { Outcome, Retraction } from './operations.ts'
import { markBytes } from './pack-place.ts'
import type { Packs } from './packs.ts'
import { keptSince, type PinColumns, pinColumns, stampsIn, stampsOf, timesIn, withoutPinsOf } from './pin-stamps.ts'
import { numberOfBlock } from './schema.ts'
import type { Statements } from './statements.ts'
import type { Tallies } from './tallies.ts'

const keepersOf = 'SELECT a.account, r.size FROM reference r JOIN account a ON a.id = r.account WHERE r.block = ?'

/** For how long a request that brings a sealed payload may take, and still take it back. */
const sealedRetractMsMax = 24 * 3_600_000

/** Where a block lies outside of the tables; null for one whose bytes are in its row. */
export const markColumn = `CASE WHEN length(sealed) = ${markBytes} THEN sealed END AS mark`

/** An account's reference on a block. */
export interface ReferenceRow extends PinColumns {
  size: number
}

/** True of a reference of which nothing but this was said. Of one time `again` is another request's word. */
function isAlone(row: ReferenceRow, { at, since = at, pinnedAt }: Omit<Retraction, 'account'>): boolean {
  const isPut =
    row.at >= since &&
    row.at <= at &&
    (row.againAt === null || row.againAt === pinnedAt || (since < at && row.againAt <= at))
  const { direct, recursive } = stampsIn(row) ?? stampsOf(row)
  const isPinned = (ms: number): boolean => ms === 0 || ms === pinnedAt || ms === at
  return isPut && isPinned(direct) && isPinned(recursive)
}

/** The rows of one node. */
export class BlockRows {
  readonly #statements: Statements
  readonly #tallies: Tallies
  readonly #packs: Packs

  constructor(statements: Statements, tallies: Tallies, packs: Packs) {
    this.#statements = statements
    this.#tallies = tallies
    this.#packs = packs
  }

  /** The block's number in references; 0 if nobody keeps it. */
  numberOf(digest: Uint8Array): number {
    return (this.#statements.get(`SELECT ${numberOfBlock} AS number`, digest)?.number as number | null) ?? 0
  }

  /** An account's reference on the block with a number. */
  referenceOf(number: number, account: Uint8Array): ReferenceRow | undefined {
    const ofAccount = this.#tallies.numberOf(account)
    if (number === 0 || ofAccount === 0) return undefined
    const row = this.#statements.get(
      `SELECT size, ${pinColumns} FROM reference WHERE block = ? AND account = ?`,
      number,
      ofAccount,
    )
    return row as ReferenceRow | undefined
  }

  /** True if anybody keeps it. */
  isReferenced(number: number): boolean {
    return this.#statements.get('SELECT 1 FROM reference WHERE block = ? LIMIT 1', number) !== undefined
  }

  /** An account gives its reference up; the block goes with the last one. */
  release(operation: { digest: Uint8Array; account: Uint8Array; at: number; force: boolean }): Outcome {
    const { digest, account, at } = operation
    const block = this.#statements.get('SELECT owner FROM block WHERE digest = ?', digest)
    if (block && block.owner !== null) return { ok: false, code: 'ERR_BLOCK_SEALED' }
    const number = this.numberOf(digest)
    const kept = this.referenceOf(number, account)
    // A release that comes late does not take what was put or pinned after it, be it once more.
    const since = kept === undefined ? 0 : keptSince(timesIn(kept))
    const had = kept && since <= at ? kept : undefined
    if (had && had.pin > 0 && !operation.force) return { ok: false, code: 'ERR_BLOCK_PINNED' }
    this.#rememberRelease(operation)
    if (kept && !had) this.#keepSince(since, { number, account, row: kept, releasedAt: at })
    if (!had) return { ok: true, changed: false, deleted: 0 }
    this.dropReference(number, account, had.size)
    return { ok: true, changed: true, deleted: this.isReferenced(number) ? 0 : this.deleteBlock(digest) }
  }

  #rememberRelease({ digest, account, at }: { digest: Uint8Array; account: Uint8Array; at: number }): void {
    const insert = this.#statements.prepare('INSERT OR IGNORE INTO release VALUES (?, ?, ?)')
    if (insert.run(digest, account, at).changes === 1) this.#tallies.remember(account, 1)
    else {
      const later = 'UPDATE release SET at = ?3 WHERE digest = ?1 AND account = ?2 AND at < ?3'
      this.#statements.run(later, digest, account, at)
    }
  }

  /**
   * Takes a reference away of which nothing is known but what one request said. Nothing of it is remembered. A sealed payload that has been
   * here for longer than requests take stays all the same: it is another store that says when it was put.
   */
  retract({ digest, account, now, ...made }: Retraction & { digest: Uint8Array; now: number }): Outcome {
    const number = this.numberOf(digest)
    const kept = this.referenceOf(number, account)
    if (kept === undefined || !isAlone(kept, made)) return { ok: true, changed: false, deleted: 0 }
    this.dropReference(number, account, kept.size)
    const block = this.#statements.get('SELECT writer, stored_at AS storedAt FROM block WHERE digest = ?', digest)
    const writer = (block?.writer ?? null) as Uint8Array | null
    // A sealed payload that its writer has put otherwise has a word of that: nobody keeps one without.
    const isWriters = writer !== null && Buffer.compare(writer, account) === 0
    const isNew = isWriters && now - (block?.storedAt as number) <= sealedRetractMsMax
    const isLast = (writer === null || isNew) && !this.isReferenced(number)
    return { ok: true, changed: true, deleted: isLast ? this.deleteBlock(digest) : 0 }
  }

  /** What was put or pinned after a release is no older than that from then on, and has no pin from before it, heard of when it may. */
  #keepSince(
    since: number,
    {
      number,
      account,
      row,
      releasedAt,
    }: { number: number; account: Uint8Array; row: ReferenceRow; releasedAt: number },
  ): void {
    const { pin, pins } = withoutPinsOf({ account, ...timesIn(row) }, releasedAt)
    const [at, again] = row.at <= releasedAt ? [since, null] : [row.at, row.againAt]
    const keep = `UPDATE reference SET at = ?, again_at = ?, pin = ?, pinned = CASE WHEN ? > 0 THEN pinned END,
      direct_at = ?, recursive_at = ?, removed_at = ? WHERE block = ? AND account = ?`
    const stamps = [pins?.direct ?? null, pins?.recursive ?? null, pins?.removed ?? null]
    this.#statements.run(keep, at, again, pin, pin, ...stamps, number, this.#tallies.numberOf(account))
  }

  /** Takes a reference away, whatever becomes of the block. */
  dropReference(number: number, account: Uint8Array, size: number): void {
    const ofAccount = this.#tallies.addReference(account, -size, -1)
    this.#statements.run('DELETE FROM reference WHERE block = ? AND account = ?', number, ofAccount)
  }

  /** Takes every reference on a block away. */
  dropReferences(number: number): void {
    for (const { account, size } of this.#statements.all(keepersOf, number)) {
      this.dropReference(number, account as Uint8Array, size as number)
    }
  }

  /** Takes a block and its bytes away. @returns how many there were: 1, or 0 if it is not here. */
  deleteBlock(digest: Uint8Array): number {
    this.#statements.run('DELETE FROM gone WHERE digest = ?', digest)
    const block = this.#statements.get(
      `SELECT size, length(sealed) AS length, ${markColumn} FROM block WHERE digest = ?`,
      digest,
    )
    if (!block) return 0
    if (block.mark !== null) this.#packs.remove(block.mark as Uint8Array)
    // Its bytes are kept elsewhere, and have to go there too.
    if (block.length === 0) this.#statements.run('INSERT OR IGNORE INTO removal VALUES (?)', digest)
    this.#statements.run('DELETE FROM block WHERE digest = ?', digest)
    this.#tallies.addBlock(-(block.size as number), -1)
    return 1
  }
}
