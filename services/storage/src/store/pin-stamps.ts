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

/** One ms after a time. Nothing comes after the last number that the tables give back as it was. */
export function msAfter(ms: number): number {
  return Math.min(ms + 1, Number.MAX_SAFE_INTEGER)
}

/** The columns of a reference that tell of its times. They are null where `pin` and `at` say all there is. */
export interface PinColumns {
  pin: number
  at: number
  directAt: number | null
  recursiveAt: number | null
  removedAt: number | null
  againAt: number | null
}

/** Names of {@link PinColumns} in the tables. */
export const pinColumns =
  'pin, at, direct_at AS directAt, recursive_at AS recursiveAt, removed_at AS removedAt, again_at AS againAt'

/** What a reference says of its pin. */
export function stampsOf({ at, pin, pins }: Pick<Reference, 'at' | 'pin' | 'pins'>): PinStamps {
  if (pins !== undefined) return pins
  if (pin === 0) return none
  return { direct: pin === 1 ? at : 0, recursive: pin === 2 ? at : 0, removed: 0 }
}

/** What a reference's row says beyond its pin and its time; undefined if nothing. */
export function stampsIn({
  directAt,
  recursiveAt,
  removedAt,
}: Pick<PinColumns, 'directAt' | 'recursiveAt' | 'removedAt'>): PinStamps | undefined {
  if (directAt === null || recursiveAt === null || removedAt === null) return undefined
  return { direct: directAt, recursive: recursiveAt, removed: removedAt }
}

/** What a row says of a reference's times, whosever it is. */
export function timesIn(row: PinColumns): Omit<Reference, 'account'> {
  const pins = stampsIn(row)
  return {
    at: row.at,
    pin: row.pin,
    ...(pins ? { pins } : {}),
    ...(row.againAt === null ? {} : { again: row.againAt }),
  }
}

/** What two stores know together. */
export function mergeStamps(one: PinStamps, other: PinStamps): PinStamps {
  return {
    direct: Math.max(one.direct, other.direct),
    recursive: Math.max(one.recursive, other.recursive),
    removed: Math.max(one.removed, other.removed),
  }
}

/** True if two stores know the same. */
export function isSame(one: PinStamps, other: PinStamps): boolean {
  return one.direct === other.direct && one.recursive === other.recursive && one.removed === other.removed
}

/** The kind of pin: 0 none, 1 direct, 2 recursive. */
export function pinOf({ direct, recursive, removed }: PinStamps): number {
  if (recursive > removed) return 2
  return direct > removed ? 1 : 0
}

/** A reference without the pins that its account gave up with the block at a time. */
export function withoutPinsOf(reference: Reference, releasedAt: number): Reference {
  const stamps = stampsOf(reference)
  const isGivenUp = (ms: number): boolean => ms > stamps.removed && ms <= releasedAt
  if (!isGivenUp(stamps.direct) && !isGivenUp(stamps.recursive)) return reference
  const pins = { ...stamps, removed: releasedAt }
  return { ...reference, pin: pinOf(pins), pins }
}

/**
 * When an account has last said that it keeps a block: put it, or set a pin, be it taken away since, which leaves the
 * reference. A release takes what was last said before it, in whatever order a store hears of both.
 */
export function keptSince(reference: Omit<Reference, 'account'>): number {
  const { direct, recursive } = stampsOf(reference)
  return Math.max(reference.at, reference.again ?? 0, direct, recursive)
}

/**
 * A reference of which nothing is from the future: nobody could take it away again.
 *
 * @param here - what is known already: a clock that was ahead may have set it, and what comes next after it is no later than that.
 */
export function timelyReference(reference: Reference, nowMs: number, here: PinStamps = none): Reference {
  const latest = Math.max(nowMs + referenceAheadMsMax, msAfter(Math.max(here.direct, here.recursive, here.removed)))
  const earlier = (ms: number): number => Math.min(ms, latest)
  const { pins, again } = reference
  const at = earlier(reference.at)
  if (pins === undefined && again === undefined && at === reference.at) return reference
  const timely = { ...reference, at, ...(again === undefined ? {} : { again: earlier(again) }) }
  if (pins === undefined) return timely
  const { direct, recursive, removed } = pins
  // What came after a removal still does.
  const after = (ms: number): number => Math.min(ms, ms > removed ? latest : latest - 1)
  return {
    ...timely,
    pins: { direct: after(direct), recursive: after(recursive), removed: Math.min(removed, latest - 1) },
  }
}
