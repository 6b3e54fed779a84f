/**
 * Finds blocks that have fewer copies than they should and places what is missing, from the copies here. It runs when
 * the node starts, when the members change, for one store when that store comes back, and on a sample every 15 minutes.
 * Erased blocks are not brought back: they are not listed here, and a store that has the tombstone refuses them.
 *
 * Other stores are not believed that they have a block: some are asked to prove it, drawn at random, and a store that
 * fails once has to prove everything. What it cannot prove is placed at the next store instead.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { Authorizer } from '../access/authorizer.ts'
import type { Member } from '../access/members.ts'
import type { BlockBackend } from '../backend.ts'
import { isStorageError } from '../errors.ts'
import type { Events } from '../events.ts'
import { headerOf } from '../ownership.ts'
import { codecRaw } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { ChangedPin } from '../store/entries.ts'
import type { Reference } from '../store/operations.ts'
import { keptSince } from '../store/pin-stamps.ts'
import { digestsPerCheckMax, type NodeClient } from './node-client.ts'
import { proofsPerQuestionMax } from './possession.ts'
import type { Replicator } from './replicator.ts'

/** Blocks that a sampled run looks at. */
export const sampleBlocks = 4096
const copiesAtOnce = 8
/** Pins that a store is told of at once. */
const pinsPerRequest = 256
/** Incidents about one store in one run: more would say nothing new. */
const reportsMax = 16

/** What {@link Repair} works with. */
export interface RepairOptions {
  backend: BlockBackend
  store: BlockStore
  replicator: Replicator
  client: NodeClient
  account: Uint8Array
  authorizer: Pick<Authorizer, 'signsErasures'>
  events: Events
  now: () => number
}

/** What a run did: blocks looked at, copies placed, blocks that still have too few. */
export interface RepairResult {
  checked: number
  placed: number
  below: number
}

/** The repairer of this node's blocks. */
export class Repair {
  readonly #options: RepairOptions
  #stopped = false
  #progress: RepairResult = { checked: 0, placed: 0, below: 0 }
  /** Accounts of stores that failed to prove something in this run, with how often that was reported. */
  readonly #doubted = new Map<string, number>()
  #finished: (RepairResult & { at: number }) | undefined
  /** How many blocks a store lacks that should have them, of each that lacks some. */
  #lacking = new Map<string, number>()
  #below = 0
  /** A run of everything that has not begun: who asks for one meanwhile asks for this. */
  #waiting: Promise<RepairResult> | undefined
  /** The last run; runs follow each other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: RepairOptions) {
    this.#options = options
  }

  /** The run that is under way, so far. */
  get progress(): RepairResult {
    return this.#progress
  }

  /** How the last run ended, and when (Unix ms). */
  get last(): (RepairResult & { at: number }) | undefined {
    return this.#finished
  }

  /** Blocks that have too few copies by the newest that is known; at most so many while several stores lack some. */
  get below(): number {
    return this.#below
  }

  /** Accounts of the stores that lack blocks. */
  lacking(): Uint8Array[] {
    return [...this.#lacking.keys()].map(fromHex)
  }

  /** Ends after the batch that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#last
  }

  /**
   * Looks at all blocks, or a sample, and places what is missing.
   *
   * @param scope.target - only the copies that this store should have.
   * @param scope.sample - only {@link sampleBlocks} blocks from a random place on.
   */
  run(scope: { target?: Uint8Array; sample?: boolean } = {}): Promise<RepairResult> {
    const isWhole = scope.target === undefined && scope.sample !== true
    if (isWhole && this.#waiting) return this.#waiting
    const run = this.#last.then(() => {
      if (isWhole) this.#waiting = undefined
      return this.#run(scope)
    })
    if (isWhole) this.#waiting = run
    this.#last = run.catch((error: unknown) => this.#options.events.repairFailed(error))
    return run
  }

  async #run(scope: { target?: Uint8Array; sample?: boolean }): Promise<RepairResult> {
    const { store, events } = this.#options
    const result: RepairResult = { checked: 0, placed: 0, below: 0 }
    const lacking = new Map<string, number>()
    this.#progress = result
    this.#doubted.clear()
    let after: Uint8Array = scope.sample ? new Uint8Array(randomBytes(32)) : new Uint8Array(0)
    while (!this.#stopped) {
      const digests = store.digests(after, digestsPerCheckMax)
      await this.#batch(digests, scope.target, { result, lacking })
      const last = digests.at(-1)
      if (!last || digests.length < digestsPerCheckMax) break
      if (scope.sample && result.checked >= sampleBlocks) break
      after = last
    }
    if (scope.sample !== true) await this.#tellPins(scope.target)
    if (scope.target === undefined) this.#finished = { ...result, at: this.#options.now() }
    if (!this.#stopped) this.#learn(scope, result, lacking)
    events.repairDone(result, this.#below)
    return result
  }

  /** Of a store, a run of everything or of that store tells all; a sample only that it lacks at least so many. */
  #learn(
    { target, sample }: { target?: Uint8Array; sample?: boolean },
    { below }: RepairResult,
    lacking: ReadonlyMap<string, number>,
  ): void {
    if (target === undefined && sample !== true) {
      this.#lacking = new Map(lacking)
      this.#below = below
      return
    }
    if (target !== undefined) this.#lacking.delete(toHex(target))
    for (const [name, count] of lacking) this.#lacking.set(name, Math.max(count, this.#lacking.get(name) ?? 0))
    this.#below = [...this.#lacking.values()].reduce((sum, count) => sum + count, 0)
  }

  async #batch(
    digests: readonly Uint8Array[],
    target: Uint8Array | undefined,
    { result, lacking }: { result: RepairResult; lacking: Map<string, number> },
  ): Promise<void> {
    const { replicator, account } = this.#options
    const questions = new Map<string, { member: Member; digests: Uint8Array[] }>()
    for (const digest of digests) {
      for (const member of replicator.placed(digest)) {
        if (equalBytes(member.account, account) || (target && !equalBytes(member.account, target))) continue
        const name = toHex(member.account)
        const question = questions.get(name) ?? { member, digests: [] }
        question.digests.push(digest)
        questions.set(name, question)
      }
    }
    const below = new Set<string>()
    for (const [name, question] of questions) {
      const here = new Set<string>()
      result.placed += await this.#ask(question, here)
      for (const digest of here) below.add(digest)
      if (here.size > 0) lacking.set(name, (lacking.get(name) ?? 0) + here.size)
    }
    result.checked += digests.length
    result.below += below.size
  }

  /** Tells the stores that hold a block, too, how its pins were set and taken away: whoever was asked for that may be gone. */
  async #tellPins(target: Uint8Array | undefined): Promise<void> {
    const { store, replicator, account, client } = this.#options
    const away = new Set<string>()
    for (let after: ChangedPin['place'] = { block: 0, account: 0 }; !this.#stopped; ) {
      const page = store.changedPins(after, pinsPerRequest)
      const last = page.at(-1)
      if (!last) return
      const told = new Map<string, { member: Member; pins: ChangedPin[] }>()
      for (const pin of page) {
        for (const member of replicator.placed(pin.id.digest)) {
          if (equalBytes(member.account, account) || (target && !equalBytes(member.account, target))) continue
          const name = toHex(member.account)
          const { pins } = told.get(name) ?? { pins: [] }
          told.set(name, { member, pins: [...pins, pin] })
        }
      }
      for (const [name, { member, pins }] of told) {
        // Who cannot be asked now is told when it is back.
        if (!away.has(name)) await client.tellPins(member, pins).catch(() => away.add(name))
      }
      after = last.place
    }
  }

  async #ask(question: { member: Member; digests: Uint8Array[] }, below: Set<string>): Promise<number> {
    const { member, digests } = question
    let states: number[]
    try {
      states = await this.#options.client.check(member, digests)
    } catch {
      for (const digest of digests) below.add(toHex(digest))
      return 0
    }
    const missing = digests.filter((_, index) => states[index] === 0)
    const said = digests.filter((_, index) => states[index] === 1)
    const lacking = await this.#unproved(member, said)
    let placed = 0
    for (let at = 0; at < missing.length && !this.#stopped; at += copiesAtOnce) {
      const copies = missing.slice(at, at + copiesAtOnce).map(async (digest) => {
        if (await this.#place(member, digest)) placed++
        else below.add(toHex(digest))
      })
      await Promise.all(copies)
    }
    for (const digest of lacking) {
      if (this.#stopped) break
      if (await this.#placeProved(member, digest)) placed++
      else below.add(toHex(digest))
    }
    return placed
  }

  /** Of blocks that a store says it has, those that it was asked to prove and did not. */
  async #unproved(member: Member, said: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const name = toHex(member.account)
    const drawn = shuffled(said)
    const lacking: Uint8Array[] = []
    for (let at = 0; at < drawn.length && !this.#stopped; at += proofsPerQuestionMax) {
      if (at > 0 && !this.#doubted.has(name)) break
      try {
        lacking.push(...(await this.#options.replicator.unproved(member, drawn.slice(at, at + proofsPerQuestionMax))))
      } catch {
        // It cannot be asked just now: the next run asks again.
        break
      }
      if (lacking.length > 0) this.#doubted.set(name, this.#doubted.get(name) ?? 0)
    }
    return lacking
  }

  /** Hands a store again what it did not prove, or the next store if it does not prove it then either. */
  async #placeProved(member: Member, digest: Uint8Array): Promise<boolean> {
    const { replicator, store, events, now } = this.#options
    const isProved = async (one: Member): Promise<boolean> =>
      (await this.#place(one, digest)) && (await replicator.unproved(one, [digest]).catch(() => [digest])).length === 0
    if (await isProved(member)) return true
    const name = toHex(member.account)
    const reports = this.#doubted.get(name) ?? 0
    if (reports < reportsMax) {
      this.#doubted.set(name, reports + 1)
      events.copyNotProved(member.account, { digest, codec: codecRaw })
      await store.recordIncident({ at: now(), kind: 'copy-not-proved', digest, node: member.account })
    }
    for (const substitute of replicator.substitutes(digest)) {
      if (!equalBytes(substitute.account, this.#options.account) && (await isProved(substitute))) return true
    }
    return false
  }

  async #place(member: Member, digest: Uint8Array): Promise<boolean> {
    const { backend, client, events } = this.#options
    const bytes = await backend.get(digest)
    if (!bytes) return false
    const stat = backend.stat(digest)
    const id = { digest, codec: stat?.codec ?? codecRaw }
    const header = stat && headerOf(stat)
    const references = backend.references(digest)
    try {
      const owned = header ? { header } : {}
      await client.copy(member, { id, bytes, references, handoff: [], ...owned })
      return true
    } catch (error) {
      events.copyFailed(member.account, id, error)
      if (isStorageError(error, 'ERR_BLOCK_RELEASED')) await this.#giveUp(digest, references)
      return false
    }
  }

  /**
   * All accounts that keep a block here have given it up at another store, and this one was not told: who was to tell it may
   * be gone. Of an account that signs what it erases no store takes another's word for it.
   */
  async #giveUp(digest: Uint8Array, references: readonly Reference[]): Promise<void> {
    const { backend, authorizer } = this.#options
    for (const reference of references) {
      const { account } = reference
      // Not what was put again meanwhile.
      const at = keptSince(reference)
      if (!authorizer.signsErasures(account)) await backend.release(digest, account, { at, force: true })
    }
  }
}

/** In an order that nobody can foresee: the first are a fair draw. */
function shuffled<T>(list: readonly T[]): T[] {
  const drawn = [...list]
  for (let at = drawn.length - 1; at > 0; at--) {
    const other = randomInt(at + 1)
    ;[drawn[at], drawn[other]] = [drawn[other] as T, drawn[at] as T]
  }
  return drawn
}
