/**
 * Who uses a chain now. While somebody who asks for little shares it with somebody who asks for much, blocks are short: nobody waits long for
 * what somebody else has filled. Where all ask for more than their part of a block, short blocks would only make all of them wait longer.
 */

/** A sponsor uses the chain if something of it came within this time, and asks for much if it did so within it. */
const recentMs = 5_000

/** Who has less than this part of what waits for whoever has the most asks for little: that one made it wait. */
const muchPart = 0.25

/** The sponsors of one chain. */
export class Sharing {
  /** When something came last, and when it was much last. */
  readonly #sponsors = new Map<string, { seenMs: number; muchMs: number }>()

  /** Something of a sponsor came. */
  seen(sponsor: string, nowMs: number): void {
    const known = this.#sponsors.get(sponsor)
    if (known === undefined) this.#sponsors.set(sponsor, { seenMs: nowMs, muchMs: Number.NEGATIVE_INFINITY })
    else known.seenMs = nowMs
  }

  /** So many transactions of each sponsor wait for a block; a short one has room for `shortMax`. */
  waiting(counts: Iterable<readonly [sponsor: string, count: number]>, shortMax: number, nowMs: number): void {
    const all = [...counts]
    const most = all.reduce((largest, [, count]) => Math.max(largest, count), 0)
    const much = Math.max(shortMax / Math.max(1, this.#sponsors.size), most * muchPart)
    for (const [sponsor, count] of all) {
      const known = this.#sponsors.get(sponsor)
      if (known !== undefined && count > much) known.muchMs = nowMs
    }
  }

  /** True while several use the chain, and not all of them ask for much. */
  isShared(nowMs: number): boolean {
    let little = 0
    for (const [sponsor, { seenMs, muchMs }] of this.#sponsors) {
      if (nowMs - seenMs > recentMs) this.#sponsors.delete(sponsor)
      else if (nowMs - muchMs > recentMs) little++
    }
    return this.#sponsors.size > 1 && little > 0
  }
}
