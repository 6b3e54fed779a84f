/**
 * Several URLs that serve the same thing. One that does not answer is tried last for a while; one whose answer failed
 * verification is left alone for ten minutes; the others go on.
 */
import { isRuntimeError, messageOf, RuntimeError } from '../errors.ts'
import { isYetToCome } from '../process/pauses.ts'

/** How long a source that failed verification is left alone. */
export const quarantineMs = 600_000
/** How long a source that did not answer is tried last: doubled each time, from the first to the second figure, and at least three times as long as it was waited for. */
const penaltyMsMin = 250
const penaltyMsMax = 30_000
const penaltyPerWait = 3

/** Told when a source is left alone. */
export interface QuarantineEvent {
  readonly url: string
  readonly reason: string
  readonly untilMs: number
}

interface Source {
  readonly url: string
  quarantinedUntilMs: number
  penaltyUntilMs: number
  failures: number
}

function isLeftAlone({ quarantinedUntilMs }: Source, nowMs: number): boolean {
  return isYetToCome(quarantinedUntilMs, { nowMs, lengthMs: quarantineMs })
}

function isSlow({ penaltyUntilMs }: Source, nowMs: number): boolean {
  return isYetToCome(penaltyUntilMs, { nowMs, lengthMs: penaltyMsMax })
}

/** Statuses by which a source speaks of the question, not of itself: if each that answers does, the question is wrong. One alone may lie. */
const questionStatuses = new Set([400, 413, 415, 422])
const tooManyStatus = 429

function isRefusalOrAway(error: unknown): boolean {
  return isRuntimeError(error, 'ERR_SOURCE_REFUSED') || isRuntimeError(error, 'ERR_SOURCE_UNREACHABLE')
}

/** How to make {@link Sources}. */
export interface SourcesOptions {
  /** At least one. The first is preferred while all are well. */
  readonly urls: readonly string[]
  readonly now?: () => number
  readonly onQuarantine?: (event: QuarantineEvent) => void
}

/** An ordered set of sources with their recent conduct. */
export class Sources {
  readonly #sources: readonly Source[]
  /** Errors that were noted already, on a deeper level, with the verdict. */
  readonly #noted = new WeakMap<object, boolean>()
  readonly #now: () => number
  readonly #onQuarantine: (event: QuarantineEvent) => void

  constructor(options: SourcesOptions) {
    this.#sources = options.urls.map((url) => {
      return { url: url.replace(/\/$/, ''), quarantinedUntilMs: 0, penaltyUntilMs: 0, failures: 0 }
    })
    this.#now = options.now ?? Date.now
    this.#onQuarantine = options.onQuarantine ?? (() => {})
  }

  /** URLs that may be asked now: those that answer first, each group in the given order. */
  candidates(): readonly string[] {
    const now = this.#now()
    const usable = this.#sources.filter((source) => !isLeftAlone(source, now))
    const well = usable.filter((source) => !isSlow(source, now))
    const slow = usable.filter((source) => isSlow(source, now))
    slow.sort((a, b) => a.penaltyUntilMs - b.penaltyUntilMs)
    return [...well, ...slow].map((source) => source.url)
  }

  /** URLs that are left alone now. */
  quarantined(): readonly string[] {
    const now = this.#now()
    return this.#sources.filter((source) => isLeftAlone(source, now)).map((source) => source.url)
  }

  /** Leaves a source alone for ten minutes. */
  quarantine(url: string, reason: string): void {
    const source = this.#sources.find((one) => one.url === url)
    if (source === undefined) return
    source.quarantinedUntilMs = this.#now() + quarantineMs
    this.#onQuarantine({ url, reason, untilMs: source.quarantinedUntilMs })
  }

  /** Tries a source last for a while. `waitedMs`: how long it was waited for. */
  penalise(url: string, waitedMs = 0): void {
    const source = this.#sources.find((one) => one.url === url)
    if (source === undefined) return
    source.failures += 1
    const penaltyMs = Math.max(penaltyMsMin * 2 ** Math.min(10, source.failures - 1), penaltyPerWait * waitedMs)
    source.penaltyUntilMs = this.#now() + Math.min(penaltyMsMax, penaltyMs)
  }

  /** Takes note of an error of this source, which was waited for so long; returns false if asking another source is of no use. */
  note(url: string, error: unknown, waitedMs = 0): boolean {
    if (typeof error === 'object' && error !== null) {
      const known = this.#noted.get(error)
      if (known !== undefined) return known
      const helps = this.#judge(url, error, waitedMs)
      this.#noted.set(error, helps)
      return helps
    }
    return false
  }

  #judge(url: string, error: object, waitedMs: number): boolean {
    if (isRuntimeError(error, 'ERR_SOURCE_MISBEHAVED')) {
      this.quarantine(url, error.detail.reason)
      return true
    }
    if (isRuntimeError(error, 'ERR_SOURCE_UNREACHABLE')) {
      this.penalise(url, waitedMs)
      return true
    }
    if (isRuntimeError(error, 'ERR_SOURCE_REFUSED')) {
      const { status } = error.detail
      if (status >= 500 || status === tooManyStatus || questionStatuses.has(status)) this.penalise(url)
      return true
    }
    return false
  }

  #succeeded(url: string): void {
    const source = this.#sources.find((one) => one.url === url)
    if (source === undefined) return
    source.failures = 0
    source.penaltyUntilMs = 0
  }

  /**
   * Does `work` with one source after the other until it succeeds.
   *
   * @param options - `first`: a URL to begin with, if it may be asked; `last`: some to end with; `skip`: URLs not to ask; `hedgeMs`: when a source
   *   has not answered for so long, the next one is asked beside it, and the first success counts: only for work that may be done twice at once.
   * @throws What `work` threw, if no other source can help or only one was asked; else {RuntimeError} `ERR_NO_SOURCE` with each attempt.
   */
  async attempt<T>(
    work: (url: string) => Promise<T>,
    options: {
      first?: string | undefined
      last?: readonly string[] | undefined
      skip?: readonly string[]
      hedgeMs?: number
    } = {},
  ): Promise<T> {
    const { first, last = [], skip = [], hedgeMs } = options
    const turn = (url: string): number => Number(last.includes(url)) - Number(url === first)
    const candidates = this.candidates().filter((url) => !skip.includes(url))
    const waiting = candidates.toSorted((a, b) => turn(a) - turn(b))
    const errors: unknown[] = []
    let running = 0
    let isAnswered = false
    return new Promise<T>((resolve, reject) => {
      const askNext = (): void => {
        const url = waiting.shift()
        if (url !== undefined) ask(url).catch(reject)
        else if (running === 0) reject(this.#allFailed(errors))
      }
      const ask = async (url: string): Promise<void> => {
        let isHedged = false
        const hedge = (): void => {
          isHedged = true
          // Others need not wait for it too.
          this.penalise(url, hedgeMs)
          if (waiting.length > 0) askNext()
        }
        const timer = hedgeMs === undefined ? undefined : setTimeout(hedge, hedgeMs)
        const sinceMs = this.#now()
        running += 1
        try {
          const result = await work(url)
          // Who was slower than the one asked after it stays behind that one.
          if (!isHedged || !isAnswered) this.#succeeded(url)
          isAnswered = true
          waiting.length = 0
          resolve(result)
        } catch (error) {
          running -= 1
          if (this.note(url, error, Math.max(0, this.#now() - sinceMs))) {
            errors.push(error)
            if (!isHedged || running === 0) askNext()
          } else {
            waiting.length = 0
            reject(error as Error)
          }
        } finally {
          clearTimeout(timer)
        }
      }
      askNext()
    })
  }

  #allFailed(errors: readonly unknown[]): Error {
    // One cause shared by all is more telling than their list; of the question or of who asks, also if others are away.
    const refusals = errors.filter((error) => isRuntimeError(error, 'ERR_SOURCE_REFUSED'))
    const [first, ...others] = new Set(refusals.map(({ detail }) => detail.status))
    const isOfAsker = first !== undefined && (first === tooManyStatus || questionStatuses.has(first))
    const isShared = isOfAsker ? errors.every(isRefusalOrAway) : refusals.length === errors.length
    if (refusals[0] !== undefined && others.length === 0 && isShared) return refusals[0]
    const attempts = errors.map(messageOf)
    for (const url of this.quarantined()) attempts.push(`${url}: left alone after it failed verification`)
    const message = `no source could be used: ${attempts.join('; ') || 'none is known'}`
    return new RuntimeError(message, { code: 'ERR_NO_SOURCE', attempts }, { cause: errors[0] })
  }
}
