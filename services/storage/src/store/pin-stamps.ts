/**
 * What stores agree on about an account's pin of a block, in whatever order they hear of it: of each kind when it was set
 * last, and when pins were last taken away. Of each the later time counts, so that a store that was away neither misses
 * what was pinned meanwhile nor brings back what was taken away. A direct pin does not undo a recursive one.
 */
import type { PinStamps, Reference } from './operations.ts'

/** How far ahead of a store's clock what it is told may be, ms. */
export const referenceAheadMsMax = 300_000

/** A block that was put, and neither pinned nor unpinned. */
const none: PinStamps = { direct: 0, recursive: 0, removed: 0 }

/** The columns of a reference that tell of its pin. Stamps are null where `pin` and `at` say all there is. */
export interface PinColumns {
  pin: number
  at: number
  directAt: number | null
  recursiveAt: number | null
  removedAt: number | null
}

/** Names of {@link PinColumns} in the tables. */
export const pinColumns = 'pin, at, direct_at AS directAt, recursive_at AS recursiveAt, removed_at AS removedAt'

/** What a reference says of its pin. */
export function stampsOf({ at, pin, pins }: Pick<Reference, 'at' | 'pin' | 'pins'>): PinStamps {
  if (pins !== undefined) return pins
  if (pin === 0) return none
  return { direct: pin === 1 ? at : 0, recursive: pin === 2 ? at : 0, removed: 0 }
}

/** What a reference's row says beyond its pin and its time; undefined if nothing. */
export function stampsIn({ directAt, recursiveAt, removedAt }: Omit<PinColumns, 'pin' | 'at'>): PinStamps | undefined {
  if (directAt === null || recursiveAt === null || removedAt === null) return undefined
  return { direct: directAt, recursive: recursiveAt, removed: removedAt }
}

/** What two stores know together. */
export function mergeStamps(one: PinStamps, other: PinStamps): PinStamps {
  return {
    direct: Math.max(one.direct, other.direct),
    recursive: Math.max(one.recursive, other.recursive),
    removed: Math.max(one.removed, other.removed),
  }
}

/** The kind of pin: 0 none, 1 direct, 2 recursive. */
export function pinOf({ direct, recursive, removed }: PinStamps): number {
  if (recursive > removed) return 2
  return direct > removed ? 1 : 0
}

/** Since when an account has last said that it keeps a block: when it put it, or set the pin that it has. */
export function keptSince(reference: Pick<Reference, 'at' | 'pin' | 'pins'>): number {
  const { direct, recursive, removed } = stampsOf(reference)
  const pinned = Math.max(direct, recursive)
  return pinned > removed ? Math.max(reference.at, pinned) : reference.at
}

/**
 * A reference of which nothing is from the future: nobody could take it away again.
 *
 * @param here - what is known already: a clock that was ahead may have set it, and what comes next after it is no later than that.
 */
export function timelyReference(reference: Reference, nowMs: number, here: PinStamps = none): Reference {
  const latest = Math.max(nowMs + referenceAheadMsMax, Math.max(here.direct, here.recursive, here.removed) + 1)
  const earlier = (ms: number): number => Math.min(ms, latest)
  const at = earlier(reference.at)
  if (reference.pins === undefined) return at === reference.at ? reference : { ...reference, at }
  const { direct, recursive, removed } = reference.pins
  // What came after a removal still does.
  const after = (ms: number): number => Math.min(ms, ms > removed ? latest : latest - 1)
  return {
    ...reference,
    at,
    pins: { direct: after(direct), recursive: after(recursive), removed: Math.min(removed, latest - 1) },
  }
}
