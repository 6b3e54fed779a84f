/**
 * Works off the durable hand-off queue: copies that other stores have yet to get, and releases that they have yet to
 * hear of. An entry leaves the queue when its store has done it, or when there is nothing left to do. Each store has a
 * line of its own: one that does not answer holds up no other.
 */
import { toHex } from '@healthblock/encoding/bytes'
import type { Members } from '../access/members.ts'
import type { BlockBackend } from '../backend.ts'
import { StorageError } from '../errors.ts'
import type { Events } from '../events.ts'
import { headerOf } from '../ownership.ts'
import { codecRaw, encodeBlockId } from '../store/block-id.ts'
import { type BlockStore, handoffPauseMsMax } from '../store/block-store.ts'
import type { HandoffEntry } from '../store/entries.ts'
import { handoffKinds } from '../store/operations.ts'
import { isHandoffOver } from './handoff-lane.ts'
import type { NodeClient } from './node-client.ts'

/** Of one store. */
const entriesAtOnce = 64
const retryMsMin = 250
const idleMs = 60_000
/** How often a store is told of a pin that has no such block: a copy may be on its way there. Within 16 s. */
const pinAttemptsMax = 6
/** What is told of a pin, by the kind of the entry. */
const pinOfKind: Readonly<Record<number, number>> = {
  [handoffKinds.unpin]: 0,
  [handoffKinds.direct]: 1,
  [handoffKinds.recursive]: 2,
  [handoffKinds.refer]: 3,
}

function retryMsOf(attempts: number): number {
  return Math.min(handoffPauseMsMax, retryMsMin * 2 ** Math.min(attempts, 20))
}

/** What {@link HandoffQueue} works with. */
export interface HandoffOptions {
  backend: BlockBackend
  store: BlockStore
  members: Members
  client: NodeClient
  events: Events
  now: () => number
}

/** The worker of the queue. */
export class HandoffQueue {
  readonly #options: HandoffOptions
  #timer: NodeJS.Timeout | undefined
  /** When the timer ends, by the clock of the process. */
  #wakeAt = 0
  /** Lines under way, by the store's account in hex. */
  readonly #lines = new Map<string, Promise<void>>()
  /** Lines that broke down here, as on a full disk: how often one after the other, and until when they rest, by the clock of the process. */
  readonly #resting = new Map<string, { failures: number; until: number }>()
  #stopped = false

  constructor(options: HandoffOptions) {
    this.#options = options
  }

  /** Works now: for each store for which something is due. */
  kick(): void {
    if (this.#stopped) return
    const { store, now, events } = this.#options
    try {
      const at = now()
      for (const target of store.handoffTargets(at)) this.#begin(target)
      const nextAt = store.nextHandoffAt(at) ?? Number.POSITIVE_INFINITY
      const rests = [...this.#resting.values()].map(({ until }) => until - performance.now()).filter((ms) => ms > 0)
      this.#wakeIn(Math.min(idleMs, nextAt - at, ...rests))
    } catch (error) {
      events.requestFailed('handoff', error)
      this.#wakeIn(idleMs)
    }
  }

  #begin(target: Uint8Array): void {
    const name = toHex(target)
    const { failures, until } = this.#resting.get(name) ?? { failures: 0, until: 0 }
    if (this.#lines.has(name) || until > performance.now()) return
    const line = this.#work(target)
      .then(
        () => {
          this.#resting.delete(name)
        },
        (error: unknown) => {
          this.#resting.set(name, { failures: failures + 1, until: performance.now() + retryMsOf(failures) })
          this.#options.events.requestFailed('handoff', error)
        },
      )
      .finally(() => {
        this.#lines.delete(name)
        // Something may have fallen due since the line looked last.
        this.#wakeIn(0)
      })
    this.#lines.set(name, line)
  }

  /** Ends after the entries that are under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await Promise.all(this.#lines.values())
  }

  /** A store has come back: what waits for it is due. */
  async wake(target: Uint8Array): Promise<void> {
    this.#resting.delete(toHex(target))
    await this.#options.store.wakeHandoffs(target)
    this.kick()
  }

  /** Entries have come that fall due after a while. */
  expect(delayMs: number): void {
    if (this.#wakeAt <= performance.now() + delayMs) return
    this.#wakeIn(delayMs)
  }

  #wakeIn(delayMs: number): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    this.#wakeAt = performance.now() + delayMs
    this.#timer = setTimeout(() => this.kick(), delayMs)
    this.#timer.unref()
  }

  async #work(target: Uint8Array): Promise<void> {
    const { store, now } = this.#options
    while (!this.#stopped) {
      const entries = store.handoffsDue(now(), entriesAtOnce, target)
      if (entries.length === 0) return
      const handled = await Promise.allSettled(entries.map((entry) => this.#handle(entry)))
      for (const one of handled) if (one.status === 'rejected') throw one.reason
    }
  }

  async #handle(entry: HandoffEntry): Promise<void> {
    const { store, events, now } = this.#options
    try {
      if (entry.kind === handoffKinds.place) await this.#place(entry)
      else if (entry.kind === handoffKinds.word) await this.#word(entry)
      else if (entry.kind === handoffKinds.release) await this.#release(entry)
      else await this.#pin(entry)
    } catch (error) {
      if (!isHandoffOver(error)) {
        events.handoffFailed(entry.target, entry.attempts, error)
        await store.retryHandoff(entry.id, now() + retryMsOf(entry.attempts))
        return
      }
    }
    await store.finishHandoffs([entry])
  }

  async #place(entry: HandoffEntry): Promise<void> {
    const { backend, members, client } = this.#options
    const member = members.find(entry.target)
    const bytes = member && (await backend.get(entry.digest))
    // Not a member any more, or no block any more: repair decides anew.
    if (!member || !bytes) return
    const stat = backend.stat(entry.digest)
    const id = { digest: entry.digest, codec: stat?.codec ?? codecRaw }
    const references = backend.references(entry.digest)
    const header = stat && headerOf(stat)
    await client.copy(member, {
      id,
      bytes,
      references,
      handoff: [],
      ...(header ? { header } : {}),
    })
  }

  async #word(entry: HandoffEntry): Promise<void> {
    const { members, client, store } = this.#options
    const member = members.find(entry.target)
    const word = store.word(entry.digest, entry.account)
    if (member && word) await client.tell(member, word.bytes)
  }

  async #pin(entry: HandoffEntry): Promise<void> {
    const { members, client } = this.#options
    const member = members.find(entry.target)
    const pin = pinOfKind[entry.kind]
    if (!member || pin === undefined) return
    const { digest, account, at, attempts } = entry
    const id = { digest, codec: entry.codec ?? codecRaw }
    const answer = await client.pin(member, id, { account, at, pin }, false)
    // What it gets of the block later says how it is pinned.
    if (answer !== 0 || attempts >= pinAttemptsMax) return
    const cid = encodeBlockId(id)
    throw new StorageError('the store has no such block yet', { code: 'ERR_BLOCK_NOT_FOUND', cid })
  }

  async #release(entry: HandoffEntry): Promise<void> {
    const { members, client } = this.#options
    const member = members.find(entry.target)
    if (!member) return
    const id = { digest: entry.digest, codec: codecRaw }
    await client.release(member, id, { account: entry.account, at: entry.at, force: true })
  }
}
