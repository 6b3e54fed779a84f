import { AccountingError } from '../errors.ts'

/** What an address may have refused at once. */
const burst = 8_192
/** And in each second from then on. */
const perSecond = 256
/** Addresses that are remembered. */
const sourcesMax = 10_000

interface Bucket {
  /** Below 0: so many too many. */
  left: number
  atMs: number
}

/**
 * What is refused for its form or its signatures is signed, and costs a gateway more than whoever sends it: a few bytes cost a signature. An
 * address that has much refused is let wait; what others send is not looked at otherwise for it.
 */
export class RefusalLimit {
  readonly #elapsedMs: () => number
  readonly #buckets = new Map<string, Bucket>()

  /** @param elapsedMs - ms of a clock that never steps. */
  constructor(elapsedMs: () => number) {
    this.#elapsedMs = elapsedMs
  }

  /** Before a submission of an address is read. @throws {AccountingError} `ERR_SHARE_EXCEEDED`. */
  check(source: string): void {
    const left = this.#bucketOf(source)?.left ?? burst
    if (left > 0) return
    throw new AccountingError('too much of what this address sends is refused', {
      code: 'ERR_SHARE_EXCEEDED',
      limit: 'refusals of an address',
      retryAfterMs: ((1 - left) * 1000) / perSecond,
    })
  }

  /** Counts what was refused. */
  count(source: string, refused: number): void {
    if (refused === 0) return
    const bucket = this.#bucketOf(source) ?? { left: burst, atMs: this.#elapsedMs() }
    bucket.left -= refused
    // To the end: those that were refused nothing lately are forgotten first.
    this.#buckets.delete(source)
    this.#buckets.set(source, bucket)
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= sourcesMax) return
      this.#buckets.delete(oldest)
    }
  }

  #bucketOf(source: string): Bucket | undefined {
    const bucket = this.#buckets.get(source)
    if (bucket === undefined) return undefined
    const now = this.#elapsedMs()
    bucket.left = Math.min(burst, bucket.left + ((now - bucket.atMs) * perSecond) / 1000)
    bucket.atMs = now
    return bucket
  }
}
