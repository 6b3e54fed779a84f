/**
 * Erasure: the owner's word that blocks are to go, kept as tombstones at every store. A tombstone bars new copies at
 * once, and the bytes go after a delay, in which those who may read can still export what they need for a dispute. It
 * is told to the other stores by the durable hand-off queue; a store that was away asks for what it missed before it
 * serves. Nothing is removed before W stores know of it.
 */
import type { Member, Members } from '../access/members.ts'
import type { BlockBackend } from '../backend.ts'
import { isStorageError, StorageError } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Files } from '../files.ts'
import { type BlockId, codecRaw, encodeBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { ErasedRange, TombstoneEntry } from '../store/operations.ts'
import type { NodeClient } from './node-client.ts'
import type { Replicator } from './replicator.ts'

const releaseLifeMs = 30 * 24 * 3600 * 1000
const walkTimeoutMs = 60_000
/** Tombstones of one transaction. */
const groupSize = 512

/** What {@link Erasure} works with. */
export interface ErasureOptions {
  backend: BlockBackend
  store: BlockStore
  files: Files
  replicator: Replicator
  members: Members
  client: NodeClient
  account: Uint8Array
  /** Time between a tombstone and the removal, ms. */
  delayMs: number
  /** W, and R: with one replica a block is here alone. */
  writeQuorum: number
  replicas: number
  events: Events
  now: () => number
  onHandoff: () => void
}

/** What became of one CID. */
export interface ErasureResult {
  readonly cid: string
  /** `erased`: tombstones lie on it; `released`: the account's references are gone, and with the last one the block. */
  readonly state: 'erased' | 'released'
  /** Blocks under the CID, itself included. */
  readonly blocks: number
  /** When the bytes go, Unix ms; for `released` at once. */
  readonly removeAt: number
}

/** Erases, and sees to it that what is erased goes and stays away. */
export class Erasure {
  readonly #options: ErasureOptions

  constructor(options: ErasureOptions) {
    this.#options = options
  }

  /**
   * Erases what a CID names, a file with all its blocks: for its owner, or for an account that references it.
   *
   * @throws {StorageError} `ERR_NOT_OWNER` for another's sealed payload; `ERR_BLOCK_NOT_FOUND`.
   */
  async erase(id: BlockId, account: Uint8Array): Promise<ErasureResult> {
    const { store, replicator, files, now } = this.#options
    const signal = AbortSignal.timeout(walkTimeoutMs)
    const cid = encodeBlockId(id)
    const before = store.tombstone(id.digest)
    if (before && Buffer.compare(before.owner, account) === 0) {
      return { cid, state: 'erased', blocks: 1, removeAt: before.removeAt }
    }
    const { bytes } = await replicator.read(id, { signal, offline: false })
    const header = await files.headerOf(id, bytes)
    const blocks = [id]
    for await (const one of files.descendants(id, signal)) blocks.push(one)
    if (header === undefined) {
      // Parents last, so that what is left of a walk that ends early can still be found.
      for (const one of blocks.reverse()) await this.#release(one, account, one === id)
      return { cid, state: 'released', blocks: blocks.length, removeAt: now() }
    }
    if (Buffer.compare(header.owner, account) !== 0) {
      throw new StorageError('only its owner erases a sealed payload', { code: 'ERR_NOT_OWNER', cid })
    }
    const at = now()
    const removeAt = at + this.#options.delayMs
    await this.#add(blocks.map(({ digest }) => ({ digest, owner: account, at, removeAt })))
    return { cid, state: 'erased', blocks: blocks.length, removeAt }
  }

  async #release(id: BlockId, account: Uint8Array, isRoot: boolean): Promise<void> {
    try {
      await this.#options.replicator.release(id, account, true)
    } catch (error) {
      // Below the root, what the account does not keep is others' or gone.
      if (isRoot || !isStorageError(error, 'ERR_BLOCK_NOT_FOUND')) throw error
    }
  }

  async #add(entries: TombstoneEntry[]): Promise<void> {
    const { store, onHandoff } = this.#options
    const targets = this.#others().map(({ account }) => account)
    for (let at = 0; at < entries.length; at += groupSize) {
      await store.addTombstones(entries.slice(at, at + groupSize), targets)
    }
    onHandoff()
  }

  #others(): Member[] {
    const { members, account, replicas } = this.#options
    if (replicas === 1) return []
    return members.list().filter((member) => Buffer.compare(member.account, account) !== 0)
  }

  /** Takes tombstones that another store sends. */
  async accept(entries: TombstoneEntry[]): Promise<void> {
    for (let at = 0; at < entries.length; at += groupSize) {
      await this.#options.store.addTombstones(entries.slice(at, at + groupSize), [])
    }
  }

  /**
   * Erases records as Userchain says: what is here, what comes later, and, for files, every block below their roots.
   *
   * @param range.removeAt - the SEAL's time and the delay, equal at every store.
   */
  async eraseRecords(range: ErasedRange): Promise<void> {
    const { store, files } = this.#options
    const { owner, at, removeAt } = range
    const below: TombstoneEntry[] = []
    for (const id of store.recordsOf(range)) {
      if (id.codec === codecRaw) continue
      try {
        for await (const { digest } of files.descendants(id, AbortSignal.timeout(walkTimeoutMs))) {
          below.push({ digest, owner, at, removeAt })
        }
      } catch (error) {
        // A store that has the missing node does the same; what is removed already cannot be walked.
        if (!(error instanceof StorageError)) throw error
        this.#options.events.erasureIncomplete(id, error)
      }
    }
    await this.#add(below)
    await store.eraseRange(range)
    this.#options.events.rangeErased(range)
  }

  /** Asks the other stores for tombstones that this one has not seen; those that cannot be reached send theirs later. */
  async pull(): Promise<void> {
    await Promise.all(this.#others().map((member) => this.pullFrom(member)))
  }

  /** As {@link pull}, from one store. */
  async pullFrom(member: Member): Promise<void> {
    const { client, store, events } = this.#options
    if (member.url === '') return
    const name = `tombstones ${Buffer.from(member.account).toString('hex')}`
    let after = Number(Buffer.from(store.cursor(name) ?? []).toString() || 0)
    try {
      for (;;) {
        const page = await client.tombstones(member, after)
        if (page.length === 0) return
        await this.accept(page)
        after = page.at(-1)?.id as number
        await store.setCursor(name, Buffer.from(String(after)))
      }
    } catch (error) {
      events.tombstonesNotPulled(member.account, error)
    }
  }

  /** Removes what is due. @returns how many blocks went. */
  async sweep(): Promise<number> {
    const { backend, events, now, writeQuorum } = this.#options
    const others = this.#others().length
    const unheardMax = Math.max(0, others - (Math.min(writeQuorum, others + 1) - 1))
    let removed = 0
    for (;;) {
      const count = await backend.sweep(now(), now() - releaseLifeMs, unheardMax)
      removed += count
      if (count === 0) break
    }
    if (removed > 0) events.blocksRemoved(removed)
    return removed
  }
}
