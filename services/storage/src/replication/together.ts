/**
 * How long words and releases are remembered (SPEC.md §3a): for a time in which all stores of the network were here
 * together. While one is away nothing is forgotten that it may not have heard of, however long it stays away.
 */

/** Longest time between two looks in which what was seen at both is taken to have held. */
const lookMsMax = 300_000

/** When was last looked, Unix ms, and for how long, since stores are looked for, one was away, ms. */
export interface TogetherState {
  readonly at: number
  readonly apartMs: number
}

/** The clock that stands still while a store is away. */
export class Together {
  #state: TogetherState

  /** @param state - of the last look, also of an earlier process; none without one. */
  constructor(state: TogetherState) {
    this.#state = state
  }

  /** As of the last look. */
  get state(): TogetherState {
    return this.#state
  }

  /**
   * Looks once more.
   *
   * @param isWhole - true if all stores are here.
   * @returns how late it is by this clock, Unix ms: never later than `nowMs`.
   */
  look(nowMs: number, isWhole: boolean): number {
    const passedMs = Math.max(0, nowMs - this.#state.at)
    const isTogether = isWhole && passedMs <= lookMsMax
    const apartMs = this.#state.apartMs + (isTogether ? 0 : passedMs)
    this.#state = { at: nowMs, apartMs }
    return nowMs - apartMs
  }
}

/** As it is kept. */
export function encodeTogether({ at, apartMs }: TogetherState): Uint8Array {
  return Buffer.from(`${at} ${apartMs}`)
}

/** Reads what {@link encodeTogether} wrote; undefined of anything else. */
export function parseTogether(bytes: Uint8Array | undefined): TogetherState | undefined {
  const [at, apartMs, ...rest] = Buffer.from(bytes ?? [])
    .toString()
    .split(' ')
    .map(Number)
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(apartMs) || rest.length > 0) return undefined
  return { at: at as number, apartMs: apartMs as number }
}
