/** How a log grew, as this node came to know of it. */

/** Sizes that came closer together are told apart no more, except the newest. */
const spacingMs = 50
/** Most sizes: at that distance they reach back more than 12 s. */
const sizesMax = 256

/** The newest sizes of a log and when each was first known, within `spacingMs`. However fast it grows, its last seconds are here. */
export class SizeHistory {
  /** Both ascending. */
  readonly #known: { readonly size: number; readonly sinceMs: number }[] = []

  /** A size is known since now; one that is not larger than the newest changes nothing. `sinceMs` never goes back. */
  add(size: number, sinceMs: number): void {
    const known = this.#known
    const [before, last] = [known.at(-2), known.at(-1)]
    if (last !== undefined && last.size >= size) return
    if (before !== undefined && last !== undefined && last.sinceMs - before.sinceMs < spacingMs) known.pop()
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
