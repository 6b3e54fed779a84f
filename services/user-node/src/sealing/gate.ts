import { setTimeout as delay } from 'node:timers/promises'
import { UserNodeError } from '../errors.ts'
import type { Person } from '../store/person.ts'

/** A node that starts has looked within seconds; one that was away for months reads the ledger for minutes, and whoever waits is told so. */
const patienceMs = 20_000
const retryAfterMs = 15_000

/**
 * Before the node has looked whether its folder is an older copy, nothing may be sealed: chunks of a file could be sealed a second time, and
 * readings with keys that were taken from a doctor since. It opens soon after a start, for good.
 */
export class SealingGate {
  readonly #doors = new Map<string, PromiseWithResolvers<void>>()
  readonly #patienceMs: number

  constructor(waitMs = patienceMs) {
    this.#patienceMs = waitMs
  }

  /**
   * Resolves once the person's readings and files may be sealed.
   *
   * @throws {UserNodeError} `ERR_CATCHING_UP` if that takes long.
   */
  async passed({ id }: Person): Promise<void> {
    const done = new AbortController()
    const tooLong = delay(this.#patienceMs, true, { signal: done.signal, ref: false }).catch(() => true)
    const isClosed = await Promise.race([this.#doorOf(id).promise.then(() => false), tooLong])
    done.abort()
    if (!isClosed) return
    const message =
      'this node is still reading the ledger since it started, and seals nothing until it knows its newest keys: try again soon'
    throw new UserNodeError(message, { code: 'ERR_CATCHING_UP', retryAfterMs })
  }

  /** The node has looked: what was under way in an older copy is given up. */
  open({ id }: Person): void {
    this.#doorOf(id).resolve()
  }

  #doorOf(id: string): PromiseWithResolvers<void> {
    const known = this.#doors.get(id) ?? Promise.withResolvers<void>()
    this.#doors.set(id, known)
    return known
  }
}
