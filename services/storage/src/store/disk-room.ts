/**
 * Room on the disk that blocks may take. Some is always left: on a disk that is full to the last byte nothing could be
 * given up either, since a removal is written down before it is done, and no fetch could be logged.
 */
import { statfsSync } from 'node:fs'

/** Left for removals: the log of the tables, what is left of a pack of which half is gone, the log of fetches. */
export const diskReserveBytes = 128 * 1024 * 1024
/** How old the answer may be. */
const askEveryMs = 250

/** The disk under a folder. */
export class DiskRoom {
  readonly #bytesFree: () => number
  #bytesMax = 0
  #askedAtMs = Number.NEGATIVE_INFINITY

  /** @param bytesFree - asks the disk. */
  constructor(bytesFree: () => number) {
    this.#bytesFree = bytesFree
  }

  /**
   * Most bytes that all blocks together may be. A disk that does not say how much is free is written to until it refuses.
   *
   * @param bytesHeld - asked for how much they are now, whenever the disk is asked.
   */
  bytesMax(bytesHeld: () => number): number {
    const now = performance.now()
    if (now - this.#askedAtMs < askEveryMs) return this.#bytesMax
    this.#askedAtMs = now
    try {
      this.#bytesMax = bytesHeld() + Math.max(0, this.#bytesFree() - diskReserveBytes)
    } catch {
      this.#bytesMax = Number.POSITIVE_INFINITY
    }
    return this.#bytesMax
  }
}

/** Bytes that are free for this process on the disk of a folder. */
export function bytesFreeAt(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

/** SQLite's code for a disk, or a database, that is full. */
const sqliteFull = 13

/** True if a failure says that the disk is full. */
export function isDiskFull(error: Error & { code?: string; errcode?: number }): boolean {
  return error.code === 'ENOSPC' || error.errcode === sqliteFull
}
