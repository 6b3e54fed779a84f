/**
 * How many of a gateway's transactions are on their way through the queue and the leader at one time. What is beyond waits here, where
 * turns are taken, and not there, where a newcomer waits for all that came before. The window grows while blocks come soon and
 * shrinks while they come late, so the way is as long as the nodes need to be busy, whatever they are able to order.
 */
import type { Owner } from '../core/owners.ts'

/** Window before anything is known. */
const limitFirst = 512
const limitMin = 64
const limitMax = 8_192
/** The way from the hand-over to the block may take so long while several sponsors use the gateway. */
export const wayMsShared = 250
/** And while one sponsor is alone: larger blocks cost less, and nobody else waits. */
export const wayMsAlone = 1_000
/** A sponsor was here if it sent something in this time. */
const seenMs = 5_000
/** What no block brought after this long is not under way any more. */
const flightMsMax = 2_000
/** A sponsor may have so many under way even while the window is full, until that is twice what it should be. */
const expressMax = 32
/** At least this part of the window stays when it shrinks. */
const shrinkMin = 0.5
/** The window becomes so many times as large while the way takes less than half of what it may, and while it takes more. */
const growFast = 2
const growSlow = 1.125

/** What the window keeps of a transaction that is under way. */
export interface Flight extends Owner {
  /** When it left, while it is under way. */
  flyingMs: number | undefined
}

/** The window of one gateway. */
export class FlightWindow {
  #limit = limitFirst
  #count = 0
  readonly #bySponsor = new Map<string, number>()
  /** By sponsor, when it last sent something. */
  readonly #seen = new Map<string, number>()
  /** All that left, oldest first, with the time when; some have landed. */
  #departures: { readonly flight: Flight; readonly atMs: number }[] = []
  #isWanting = false
  #changedMs = Number.NEGATIVE_INFINITY

  /** Most that may be under way. */
  get limit(): number {
    return this.#limit
  }

  /** How many more may leave. */
  room(nowMs: number): number {
    this.#expire(nowMs)
    return Math.max(0, this.#limit - this.#count)
  }

  /** True if a sponsor's next one may leave while `waitingCount` sponsors have something waiting. */
  mayLeave(sponsor: string, waitingCount: number, nowMs: number): boolean {
    this.#expire(nowMs)
    const own = this.#bySponsor.get(sponsor) ?? 0
    if (own < expressMax && this.#count < 2 * this.#limit) return true
    const isIn = this.#count < this.#limit && own < this.#limit / Math.max(1, waitingCount, this.#bySponsor.size)
    // More would leave if more were allowed: only then does a good time say that there is room.
    if (!isIn) this.#isWanting = true
    return isIn
  }

  /** It leaves, perhaps not for the first time: it is under way once. */
  depart(flight: Flight, nowMs: number): void {
    this.end(flight)
    flight.flyingMs = nowMs
    this.#departures.push({ flight, atMs: nowMs })
    this.#count++
    this.#bySponsor.set(flight.sponsor, (this.#bySponsor.get(flight.sponsor) ?? 0) + 1)
    if (!this.#seen.has(flight.sponsor)) this.#forgetUnseen(nowMs)
    this.#seen.set(flight.sponsor, nowMs)
  }

  /** It is under way no more; says nothing about how long the way is. */
  end(flight: Flight): void {
    if (flight.flyingMs === undefined) return
    flight.flyingMs = undefined
    this.#count--
    const left = (this.#bySponsor.get(flight.sponsor) ?? 1) - 1
    if (left === 0) this.#bySponsor.delete(flight.sponsor)
    else this.#bySponsor.set(flight.sponsor, left)
  }

  /** A block brought these. */
  land(flights: readonly Flight[], nowMs: number): void {
    let oldestMs = nowMs
    let count = 0
    for (const flight of flights) {
      if (flight.flyingMs === undefined) continue
      oldestMs = Math.min(oldestMs, flight.flyingMs)
      count++
      this.end(flight)
    }
    if (count > 0) this.#judge(nowMs - oldestMs, nowMs)
  }

  #judge(wayMs: number, nowMs: number): void {
    this.#forgetUnseen(nowMs)
    const wantedMs = this.#seen.size > 1 ? wayMsShared : wayMsAlone
    // What left before the last change says nothing about it.
    if (nowMs - wayMs < this.#changedMs) return
    if (wayMs > wantedMs) this.#change(Math.max(shrinkMin, wantedMs / wayMs), nowMs)
    else if (this.#isWanting) this.#change(wayMs < wantedMs / 2 ? growFast : growSlow, nowMs)
  }

  #change(factor: number, nowMs: number): void {
    this.#isWanting = false
    this.#changedMs = nowMs
    this.#limit = Math.min(limitMax, Math.max(limitMin, Math.ceil(this.#limit * factor)))
  }

  #forgetUnseen(nowMs: number): void {
    for (const [sponsor, atMs] of this.#seen) if (nowMs - atMs > seenMs) this.#seen.delete(sponsor)
  }

  #expire(nowMs: number): void {
    let past = 0
    for (const { flight, atMs } of this.#departures) {
      if (flight.flyingMs === atMs && nowMs - atMs < flightMsMax) break
      if (flight.flyingMs === atMs) this.end(flight)
      past++
    }
    if (past > 0) this.#departures = this.#departures.slice(past)
  }
}
