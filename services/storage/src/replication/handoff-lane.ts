/**
 * The first try of a hand-off: from memory, as soon as the copy here is durable. The entry in the durable queue was written
 * with that copy and stands by: it goes when the other store has its copy, and falls due if that fails, if the node ends
 * first, or after {@link directMs}. So what is lost here costs time and nothing else.
 *
 * An entry is one for all puts of a block at the same time, and each brings references of its own: it goes only when the
 * last of them is through.
 */
import { toHex } from '@healthblock/encoding/bytes'
import type { Member, Members } from '../access/members.ts'
import { isStorageError } from '../errors.ts'
import type { Events } from '../events.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { NodeClient, ReplicaRequest } from './node-client.ts'
import type { Flight } from './under-way.ts'

/** How long the queue leaves a new entry to the lane: longer than a request between stores may take. */
export const directMs = 6_000
/** Block bytes under way; what comes on top waits in the queue, where it takes no memory. */
const bytesUnderWayMax = 16 * 1024 * 1024

/** A hand-off that its store refuses for good is over. */
const overCodes = [
  'ERR_BLOCK_ERASED',
  'ERR_BLOCK_RELEASED',
  'ERR_BLOCK_SEALED',
  'ERR_SIGNATURE_NEEDED',
  'ERR_ORDER_INVALID',
  'ERR_NOT_OWNER',
] as const

/** True if there is nothing left to hand over. */
export function isHandoffOver(error: unknown): boolean {
  return overCodes.some((code) => isStorageError(error, code))
}

/** What {@link HandoffLane} works with. */
export interface HandoffLaneOptions {
  store: BlockStore
  members: Members
  client: NodeClient
  events: Events
  now: () => number
  isUp: (member: Member) => boolean
  /** Called when entries have been left to the queue. */
  onLeft: () => void
}

/** One entry of the queue with a put, or several, under way. */
export interface HandoffFlight {
  readonly digest: Uint8Array
  readonly target: Uint8Array
  readonly flight: Flight
  puts: number
  hasFailed: boolean
}

/** The lane of one node. */
export class HandoffLane {
  readonly #options: HandoffLaneOptions
  readonly #flights = new Map<string, HandoffFlight>()
  readonly #underWay = new Set<Promise<void>>()
  #bytes = 0
  /** Entries to be taken off the queue, and to be made due, with the next operation. */
  #toSettle: { done: HandoffFlight[]; left: HandoffFlight[] } = { done: [], left: [] }
  #flushing: Promise<void> | undefined

  constructor(options: HandoffLaneOptions) {
    this.#options = options
  }

  /** Announces the hand-offs of a copy that is about to be stored here. {@link send} or {@link cancel} must follow. */
  begin(digest: Uint8Array, targets: readonly Uint8Array[]): HandoffFlight[] {
    return targets.map((target) => {
      const name = toHex(digest) + toHex(target)
      const flight = this.#flights.get(name) ?? this.#fly(digest, target)
      this.#flights.set(name, flight)
      flight.puts++
      return flight
    })
  }

  #fly(digest: Uint8Array, target: Uint8Array): HandoffFlight {
    return { digest, target, flight: this.#options.client.underWay.begin(digest, target), puts: 0, hasFailed: false }
  }

  /** The copy was not stored, nor any entry with it. */
  cancel(flights: readonly HandoffFlight[]): void {
    for (const flight of flights) this.#settle(flight, true)
  }

  /** The copy here is durable: hands the others theirs. Bytes in memory that is shared are not looked at after the call. */
  send(flights: readonly HandoffFlight[], stored: ReplicaRequest): void {
    const isShared = stored.bytes.buffer instanceof SharedArrayBuffer
    const request = isShared ? { ...stored, bytes: new Uint8Array(stored.bytes) } : stored
    for (const flight of flights) {
      const member = this.#options.members.find(flight.target)
      const size = request.bytes.length
      if (!member || !this.#options.isUp(member) || this.#bytes + size > bytesUnderWayMax) {
        this.#settle(flight, false)
        continue
      }
      this.#bytes += size
      const sent = this.#hand(member, flight, request).finally(() => {
        this.#bytes -= size
        this.#underWay.delete(sent)
      })
      this.#underWay.add(sent)
    }
  }

  /** Does something when nothing of a block is under way any more; {@link stop} waits for it. */
  afterwards(digest: Uint8Array, act: () => Promise<unknown>): void {
    const done = this.#options.client.underWay
      .settled(digest)
      .then(act)
      .then(
        () => {},
        (error: unknown) => this.#options.events.requestFailed('handoff', error),
      )
      .finally(() => this.#underWay.delete(done))
    this.#underWay.add(done)
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    while (this.#underWay.size > 0 || this.#flushing) {
      await Promise.all(this.#underWay)
      await this.#flushing
    }
  }

  async #hand(member: Member, flight: HandoffFlight, request: ReplicaRequest): Promise<void> {
    try {
      await this.#options.client.copy(member, { ...request, handoff: [] })
      this.#settle(flight, true)
    } catch (error) {
      if (!isHandoffOver(error)) this.#options.events.handoffFailed(flight.target, 0, error)
      this.#settle(flight, isHandoffOver(error))
    }
  }

  #settle(flight: HandoffFlight, isDone: boolean): void {
    flight.puts--
    if (!isDone) flight.hasFailed = true
    if (flight.puts > 0) return
    const name = toHex(flight.digest) + toHex(flight.target)
    this.#flights.delete(name)
    this.#options.client.underWay.end(flight.flight)
    if (flight.hasFailed) this.#toSettle.left.push(flight)
    else this.#toSettle.done.push(flight)
    this.#flushing ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => this.#flush())
  }

  async #flush(): Promise<void> {
    const { done, left } = this.#toSettle
    this.#toSettle = { done: [], left: [] }
    this.#flushing = undefined
    const { store, now, onLeft, events } = this.#options
    try {
      await Promise.all([
        done.length === 0 ? undefined : store.settleCopies(done),
        left.length === 0 ? undefined : store.settleCopies(left, now()),
      ])
    } catch (error) {
      // The entries stay, and fall due by themselves.
      events.requestFailed('handoff', error)
    }
    if (left.length > 0) onLeft()
  }
}
