/** Whose stream is listened to: one that ends at once, or brings nothing, must not be the only one that is tried. */
export class StreamTurns {
  readonly #passedBy = new Set<string>()

  /** The first that was not tried yet, then all again. */
  next(candidates: readonly string[]): string | undefined {
    if (candidates.every((one) => this.#passedBy.has(one))) this.#passedBy.clear()
    const url = candidates.find((one) => !this.#passedBy.has(one))
    if (url !== undefined) this.#passedBy.add(url)
    return url
  }

  /** This one's stream brings something: when it ends, each of the others may be the next. */
  brings(url: string): void {
    this.#passedBy.clear()
    this.#passedBy.add(url)
  }
}
