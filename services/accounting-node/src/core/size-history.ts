/** How a log grew, as this node came to know of it. */

/** Of sizes that came within this time only the first and the last are kept. */
const spacingMs = 50
/** Most sizes: two in that time, they reach back more than 12 s. */
const sizesMax = 512

/** The newest sizes of a log and when each was first known, within `spacingMs`. However fast it grows, its last seconds are here. */
export class SizeHistory {
  /** Both ascending. */
  readonly #known: { readonly size: number; readonly sinceMs: number }[] = []

  /** A size is known since now; one that is not larger than the newest changes nothing. `sinceMs` never goes back. */
  add(size: number, sinceMs: number): void {
    const known = this.#known
    const [before, last] = [known.at(-2), known.at(-1)]
    if (last !== undefined && last.size >= size) return
    // The one between them was the newest for a moment only.
    if (before !== undefined && sinceMs - before.sinceMs < spacingMs) known.pop()
    known.push({ size, sinceMs })
    if (known.length > sizesMax) known.shift()
  }

  /** True before the first. */
  get isEmpty(): boolean {
    return this.#known.length === 0
  }

  /** The largest size that was known at a moment; 0 if none is known to have been. */
  sizeAt(ms: number): number {
    return this.#known.findLast(({ sinceMs }) => sinceMs <= ms)?.size ?? 0
  }

  /** When a size beyond this one was first known; undefined if none is. */
  beyondMs(size: number): number | undefined {
    return this.#known.find((known) => known.size > size)?.sinceMs
  }
}
