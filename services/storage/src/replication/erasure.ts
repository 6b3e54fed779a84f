/**
 * Erasure: an account's word that blocks are to go. Each store checks the word by itself before it changes anything, and
 * finds by itself what the word takes: a sealed payload or a file of its owner gets tombstones, of anything else the
 * account gives up its references. A tombstone bars new copies at once, and the bytes go after a delay, in which those
 * who may read them can still export what they need for a dispute. The durable hand-off queue tells the other stores; a
 * store that was away asks for what it missed before it serves. Nothing is removed before W stores know of it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import type { Authorizer } from '../access/authorizer.ts'
import type { Member, Members } from '../access/members.ts'
import type { BlockBackend } from '../backend.ts'
import { isStorageError, StorageError } from '../errors.ts'
import type { Events } from '../events.ts'
import { type Files, treeBlocksMax } from '../files.ts'
import { headerOf, type PayloadHeader } from '../ownership.ts'
import type { BelowList } from '../store/below-list.ts'
import { type BlockId, codecRaw, encodeBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { BelowEntry, ErasedRange, TombstoneEntry, WordEntry } from '../store/operations.ts'
import { ledgerWord, notYet, parseWord, statedWord, verifyWord, wordOfOrder } from './erasure-word.ts'
import {
  type BelowPlaced,
  encodeListPlace,
  type ListPlace,
  pagesAfter,
  parseListPlace,
  placeBelow,
  placeOfWord,
  type Word,
} from './list-pages.ts'
import type { NodeClient } from './node-client.ts'
import type { Replicator } from './replicator.ts'
import { encodeTogether, parseTogether, Together } from './together.ts'

/** How long all stores must have been here together before a word that laid no tombstone, or a release, is forgotten. */
const releaseLifeMs = 30 * 24 * 3600 * 1000
/** Where it is kept how long that was, and how often it is written. */
const togetherCursor = 'together'
const togetherWriteMs = 60_000
/** How often it is looked for what is to be forgotten: all releases are gone through. */
const forgetEveryMs = 3_600_000
const walkTimeoutMs = 60_000
/** Less than another store waits for an answer. */
const lookTimeoutMs = 3_000
/** Tombstones of one transaction. */
const groupSize = 512
/** One store alone is not believed about what a word takes below its block, unless there is no other. */
const vouchersMin = 2
/** How old an order may be that its account brings. */
const orderAgeMsMax = 600_000

/** What {@link Erasure} works with. */
export interface ErasureOptions {
  backend: BlockBackend
  store: BlockStore
  files: Files
  replicator: Replicator
  members: Members
  client: NodeClient
  authorizer: Authorizer
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

/** A word that was found good, with what it is kept as. */
interface GoodWord {
  id: BlockId
  entry: WordEntry
}

/** Codes by which a word is refused for good; all else may be otherwise when it is told again. */
const refusedForGood = ['ERR_ORDER_INVALID', 'ERR_SIGNATURE_NEEDED', 'ERR_NOT_OWNER'] as const

/** What other stores gave up by a word that they carried out. */
interface GivenUp {
  /** How many stores said so. */
  stores: number
  /** True if each of the others answered, be it that it has not carried it out. */
  isWhole: boolean
  /** How many of them named a block, by its digest in hex. */
  blocks: Map<string, number>
}

function nameOf(digest: Uint8Array, account: Uint8Array): string {
  return toHex(digest) + toHex(account)
}

/** Erases, and sees to it that what is erased goes and stays away. */
export class Erasure {
  readonly #options: ErasureOptions
  /** Words whose references are being taken just now: who asks what they took waits. */
  readonly #giving = new Map<string, Promise<void>>()
  /** Words of other stores that are looked into just now: one that is told again meanwhile is not looked into twice. */
  readonly #accepting = new Map<string, Promise<void>>()
  /** Stores, by their accounts in hex, that are of an earlier version. */
  readonly #older = new Set<string>()
  /** Stores whose lists are read just now, by their accounts in hex. */
  readonly #pulling = new Map<string, Promise<void>>()
  /** Counts what was heard of other stores' lists. */
  #heard = 0
  #together: Together | undefined
  #togetherWrittenAt = 0
  #forgotAt = 0

  constructor(options: ErasureOptions) {
    this.#options = options
  }

  /**
   * Erases what a CID names, a file with all its blocks: for its owner, or for an account that references it.
   *
   * @param order - the account's signed order, needed if the account has a key.
   * @throws {StorageError} `ERR_NOT_OWNER` for another's sealed payload; `ERR_BLOCK_NOT_FOUND` if every store says that it
   *   has no such block, `ERR_PEER_UNREACHABLE` if none that is reached has it; `ERR_SIGNATURE_NEEDED`, `ERR_ORDER_INVALID`;
   *   `ERR_QUOTA_EXCEEDED` if it names more that the account keeps nowhere than may be remembered of its removals.
   */
  async erase(id: BlockId, account: Uint8Array, order?: Uint8Array): Promise<ErasureResult> {
    const { store, files, authorizer, replicator } = this.#options
    const good = this.#wordFor(id, account, order)
    const signal = AbortSignal.timeout(walkTimeoutMs)
    const cid = encodeBlockId(id)
    const before = store.tombstone(id.digest)
    if (before && Buffer.compare(before.owner, account) === 0) {
      // One that is from before words came is told now.
      if (!store.word(id.digest, account)) await store.addWord(good.entry, this.#targets())
      this.#options.onHandoff()
      return { cid, state: 'erased', blocks: 1, removeAt: before.removeAt }
    }
    const bytes = await this.#find(id, signal)
    const header = await files.headerOf(id, bytes)
    if (header !== undefined) {
      this.#assertOwner(id, header, account)
      return { cid, state: 'erased', ...(await this.#lay(good, header, signal)) }
    }
    const blocks = await files.withoutPinned(id, account, signal)
    const digests = blocks.map(({ digest }) => digest)
    await replicator.assertRemovable(digests, account)
    const { at } = good.entry
    if (authorizer.signsErasures(account)) await this.#giveUp(good, blocks)
    // Parents last, so that what is left of a walk that ends early can still be found.
    else for (const one of blocks.reverse()) await this.#release(one, account, one === id)
    return { cid, state: 'released', blocks: blocks.length, removeAt: at }
  }

  /** A block that is to go. It is said to be nowhere only if every store says so: whoever asks forgets it then. */
  async #find(id: BlockId, signal: AbortSignal): Promise<Uint8Array> {
    const { replicator } = this.#options
    try {
      return (await replicator.read(id, { signal, offline: false })).bytes
    } catch (error) {
      if (isStorageError(error, 'ERR_BLOCK_NOT_FOUND')) await replicator.assertNowhere(id)
      throw error
    }
  }

  /** The word by which an account that asks here erases. */
  #wordFor(id: BlockId, account: Uint8Array, bytes: Uint8Array | undefined): GoodWord {
    const { authorizer, members, now } = this.#options
    const nowMs = now()
    if (!authorizer.signsErasures(account)) {
      return { id, entry: { digest: id.digest, account, at: nowMs, bytes: statedWord(id, account, nowMs).bytes } }
    }
    if (bytes === undefined) {
      const detail = { code: 'ERR_SIGNATURE_NEEDED', cid: encodeBlockId(id) } as const
      throw new StorageError("the account's signed order is needed", detail)
    }
    const word = wordOfOrder(bytes)
    const isOfThis = Buffer.compare(word.id.digest, id.digest) === 0 && word.id.codec === id.codec
    const isTimely = Math.abs(nowMs - word.order.ms) <= orderAgeMsMax
    if (!isOfThis || !isTimely || Buffer.compare(word.order.account, account) !== 0) {
      const reason = isOfThis ? (isTimely ? 'account' : 'time') : 'block'
      throw new StorageError(`the order is for another ${reason}`, { code: 'ERR_ORDER_INVALID', reason })
    }
    const { at } = verifyWord(word, { authorizer, ledgerId: members.ledgerId, nowMs })
    return { id, entry: { digest: id.digest, account, at, bytes: word.bytes } }
  }

  #assertOwner(id: BlockId, header: PayloadHeader, account: Uint8Array): void {
    if (Buffer.compare(header.owner, account) === 0) return
    const cid = encodeBlockId(id)
    throw new StorageError('only its owner erases a sealed payload', { code: 'ERR_NOT_OWNER', cid })
  }

  /** Lays tombstones on a sealed payload, or on a file and what is below it, and has the other stores told. */
  async #lay(
    { id, entry: word }: GoodWord,
    header: PayloadHeader,
    signal: AbortSignal,
    targets = this.#targets(),
  ): Promise<{ blocks: number; removeAt: number }> {
    const { store, files, delayMs, events, onHandoff } = this.#options
    const { owner, writer } = header
    const removeAt = word.at + delayMs
    const common = { owner, at: word.at, removeAt }
    const below: TombstoneEntry[] = []
    try {
      for await (const { digest } of files.descendants(id, signal)) {
        below.push({ digest, ...common, root: id.digest, writer })
      }
    } catch (error) {
      // A store that has the missing node does the same; what is removed already cannot be walked.
      if (!(error instanceof StorageError)) throw error
      events.erasureIncomplete(id, error)
    }
    for (let at = 0; at < below.length; at += groupSize) await store.addTombstones(below.slice(at, at + groupSize))
    // The root last: where it lies, all of it was done.
    await store.addTombstones([{ digest: id.digest, ...common }], { word, targets })
    onHandoff()
    return { blocks: 1 + below.length, removeAt }
  }

  /** Takes an account's references to blocks that are nobody's payload, and has the other stores told. */
  async #giveUp(word: GoodWord, blocks: readonly BlockId[], targets = this.#targets()): Promise<void> {
    const name = nameOf(word.id.digest, word.entry.account)
    const giving = this.#take(word, blocks, targets)
    this.#giving.set(
      name,
      giving.catch(() => {}),
    )
    try {
      await giving
    } finally {
      this.#giving.delete(name)
    }
    this.#options.onHandoff()
  }

  async #take({ entry }: GoodWord, blocks: readonly BlockId[], targets: Uint8Array[]): Promise<void> {
    const { backend, store } = this.#options
    const { account, at } = entry
    await store.addWord(entry, targets)
    // Parents last: where the named block is given up, all of it was done.
    for (const { digest } of [...blocks].reverse()) {
      try {
        await backend.release(digest, account, { at, force: true })
      } catch (error) {
        // Below a root, another's payload stays.
        if (!isStorageError(error, 'ERR_BLOCK_SEALED')) throw error
      }
    }
  }

  /**
   * What an account's word that was carried out here took that is nobody's payload, for another store that hears of it:
   * digests after `after` in their order, at most `limit`. Undefined of a word that was not, or that laid tombstones.
   */
  async givenUp(
    word: { digest: Uint8Array; account: Uint8Array; at: number },
    after: Uint8Array,
    limit: number,
  ): Promise<Uint8Array[] | undefined> {
    const { digest, account, at } = word
    await this.#giving.get(nameOf(digest, account))
    const { store } = this.#options
    if (!this.#isCarriedOut(digest, word) || store.tombstone(digest)) return undefined
    return store.released(account, at, after, limit)
  }

  async #release(id: BlockId, account: Uint8Array, isRoot: boolean): Promise<void> {
    try {
      await this.#options.replicator.release(id, { account, force: true })
    } catch (error) {
      // Below the root, what the account does not keep is others' or gone.
      if (isRoot || !isStorageError(error, 'ERR_BLOCK_NOT_FOUND')) throw error
    }
  }

  #targets(): Uint8Array[] {
    return this.#others().map(({ account }) => account)
  }

  #others(): Member[] {
    const { members, account, replicas } = this.#options
    if (replicas === 1) return []
    return members.list().filter((member) => Buffer.compare(member.account, account) !== 0)
  }

  /**
   * Carries out what another store tells, if the word proves itself.
   *
   * @param bytes - a word as it travels.
   * @throws {StorageError} `ERR_ORDER_INVALID`, `ERR_SIGNATURE_NEEDED`, `ERR_NOT_OWNER`: it is refused for good;
   *   `ERR_STORE_BUSY` if it cannot be judged yet.
   */
  async accept(bytes: Uint8Array): Promise<void> {
    const name = toHex(bytes)
    const accepting = this.#accepting.get(name) ?? this.#accept(bytes).finally(() => this.#accepting.delete(name))
    this.#accepting.set(name, accepting)
    await accepting
  }

  async #accept(bytes: Uint8Array): Promise<void> {
    const { authorizer, members, now } = this.#options
    const word = parseWord(bytes)
    const { id } = word
    const by = { authorizer, ledgerId: members.ledgerId, nowMs: now() }
    const said = word.form === 'ledger' ? undefined : verifyWord(word, by)
    if (said && this.#isCarriedOut(id.digest, said)) return
    const header = await this.#headerOf(id)
    // It went here in its time, before the other store was heard, which waits to know that and keeps its copy until then; or
    // no store has it any more, and what comes of it later is refused by what this one reads in Userchain itself.
    if (!said && header === 'unknown' && (this.#options.store.tombstone(id.digest) || (await this.#isNowhere(id))))
      return
    const { account, at } = said ?? this.#saidByLedger(header)
    const good = { id, entry: { digest: id.digest, account, at, bytes: word.bytes } }
    // Whoever told it may not wait so long; told again, it is known then.
    const signal = AbortSignal.timeout(walkTimeoutMs)
    if (header && header !== 'unknown') {
      this.#assertOwner(id, header, account)
      await this.#lay(good, header, signal, [])
      return
    }
    await this.#giveUp(good, await this.#blocksOf(good, header === 'unknown', signal), [])
  }

  /**
   * What a word takes here that is nobody's payload. What the account's pins spare was decided where it was carried out
   * first: pins change, and this store may have been away. So of what lies below the block that goes which every store
   * names that has carried it out, if they are enough to be believed; else what this store's view of the pins spares stays, too.
   *
   * @param isUnknown - the block is nowhere: nothing is to be walked.
   * @throws {StorageError} `ERR_STORE_BUSY` if it can neither be walked nor are enough stores there that have carried it out.
   */
  async #blocksOf({ id, entry }: GoodWord, isUnknown: boolean, signal: AbortSignal): Promise<BlockId[]> {
    if (id.codec === codecRaw) return [id]
    const { files } = this.#options
    const { account } = entry
    const { stores, isWhole, blocks } = await this.#givenUpByOthers(entry)
    const isNamed = ({ digest }: BlockId): boolean => (blocks.get(toHex(digest)) ?? 0) === stores
    const storesNeeded = this.#vouchersNeeded()
    if (stores < storesNeeded) {
      // Whatever it turns out to be: neither a payload of the account nor a reference from before comes any more.
      if (isUnknown && (stores === 0 || (isWhole && (await this.#isNowhere(id))))) return [id]
      if (isUnknown) throw notYet()
      const [, ...below] = await files.withoutPinned(id, account, signal)
      return [id, ...below.filter(isNamed)]
    }
    const below = isUnknown ? undefined : await this.#below(id, signal)
    if (below) return [id, ...below.filter(isNamed)]
    const named = [...blocks].filter(([name, count]) => count >= storesNeeded && name !== toHex(id.digest))
    return [id, ...named.map(([name]) => ({ digest: fromHex(name), codec: codecRaw }))]
  }

  /** Every block below one; undefined if a node on the way is nowhere. */
  async #below(id: BlockId, signal: AbortSignal): Promise<BlockId[] | undefined> {
    const below: BlockId[] = []
    try {
      for await (const one of this.#options.files.descendants(id, signal)) below.push(one)
      return below
    } catch (error) {
      if (isStorageError(error, 'ERR_BLOCK_NOT_FOUND') || isStorageError(error, 'ERR_BLOCK_ERASED')) return undefined
      throw error
    }
  }

  /** True if every other store says that it does not have a block: those that have not carried out a word about it have nothing to walk either, and would wait for each other. */
  async #isNowhere({ digest }: BlockId): Promise<boolean> {
    const checks = this.#others().map((member) => this.#options.client.check(member, [digest]))
    const answers = await Promise.allSettled(checks)
    return answers.every((answer) => answer.status === 'fulfilled' && answer.value[0] !== 1)
  }

  /** Asks the other stores what they gave up by a word; those that have not carried it out, or cannot be asked, do not count. */
  async #givenUpByOthers(word: WordEntry): Promise<GivenUp> {
    const given: GivenUp = { stores: 0, isWhole: false, blocks: new Map() }
    const ask = async (member: Member): Promise<void> => {
      const named: string[] = []
      for (let after: Uint8Array = new Uint8Array(0); ; ) {
        const page = await this.#options.client.givenUp(member, word, after)
        if (page === undefined) return
        for (const digest of page) named.push(toHex(digest))
        const last = page.at(-1)
        if (last === undefined || named.length > treeBlocksMax) break
        after = last
      }
      given.stores++
      for (const name of new Set(named)) given.blocks.set(name, (given.blocks.get(name) ?? 0) + 1)
    }
    const asked = await Promise.allSettled(this.#others().map(ask))
    given.isWhole = asked.every(({ status }) => status === 'fulfilled')
    return given
  }

  /** How many stores have to say the same of what lies below a block: W, at least two, all if there are fewer. */
  #vouchersNeeded(): number {
    return Math.min(Math.max(this.#options.writeQuorum, vouchersMin), this.#others().length)
  }

  /**
   * True of a word that is kept here and whose last step is done: a node that was killed, or busy, between the two does the
   * rest when it is told again.
   */
  #isCarriedOut(digest: Uint8Array, { account, at }: { account: Uint8Array; at: number }): boolean {
    const { store } = this.#options
    if ((store.word(digest, account)?.at ?? -1) < at) return false
    if (store.tombstone(digest)) return true
    const keptSince = store.referencedAt(digest, account)
    return keptSince === undefined || keptSince > at
  }

  /** Whose a block is, by its own bytes wherever they are; `unknown` if nobody who can be reached has it. */
  async #headerOf(id: BlockId): Promise<PayloadHeader | undefined | 'unknown'> {
    const { files, replicator, backend } = this.#options
    try {
      const { bytes } = await replicator.read(id, { signal: AbortSignal.timeout(lookTimeoutMs), offline: false })
      const header = await files.headerOf(id, bytes)
      if (header || id.codec === codecRaw) return header
    } catch (error) {
      const isGone = isStorageError(error, 'ERR_BLOCK_NOT_FOUND') || isStorageError(error, 'ERR_BLOCK_ERASED')
      // Slow stores hold up this word alone, not those that came with it.
      if (error instanceof DOMException) throw notYet()
      if (!isGone) throw error
    }
    // Its first leaf may be gone before it: what was read of it when it came holds.
    const stat = backend.stat(id.digest)
    return stat ? headerOf(stat) : 'unknown'
  }

  #saidByLedger(header: PayloadHeader | undefined | 'unknown'): { account: Uint8Array; at: number } {
    if (header === undefined || header === 'unknown') throw notYet()
    const { owner, stream, sequence } = header
    const erased = this.#options.store.erasedRecord(owner, stream, sequence)
    if (!erased) throw notYet()
    return { account: owner, at: erased.at }
  }

  /**
   * Erases records as Userchain says: what is here, what comes later, and, for files, every block below their roots.
   *
   * @param range.removeAt - the SEAL's time and the delay, equal at every store.
   */
  async eraseRecords(range: ErasedRange): Promise<void> {
    const { store, backend, events } = this.#options
    for (const id of store.recordsOf(range)) {
      const stat = id.codec === codecRaw ? undefined : backend.stat(id.digest)
      const header = stat && headerOf(stat)
      if (!header) continue
      const entry = { digest: id.digest, account: range.owner, at: range.at, bytes: ledgerWord(id).bytes }
      await this.#lay({ id, entry }, header, AbortSignal.timeout(walkTimeoutMs))
    }
    await store.eraseRange(range)
    events.rangeErased(range)
  }

  /** Asks the other stores for words that this one has not seen; those that cannot be reached send theirs later. */
  async pull(): Promise<void> {
    await Promise.all(this.#others().map((member) => this.pullFrom(member)))
  }

  /**
   * As {@link pull}, waited for while something comes of it: what stands still, as where a store is asked that does not answer,
   * goes on by itself.
   *
   * @param wait.standstillMs - how long nothing may be heard. @param wait.atMostMs - however much is heard.
   */
  async pullBeforeServing(wait: { standstillMs: number; atMostMs: number }): Promise<void> {
    const until = performance.now() + wait.atMostMs
    let isDone = false
    const done = this.pull().then(() => {
      isDone = true
    })
    for (let heard = -1; !isDone && heard !== this.#heard && performance.now() < until; ) {
      heard = this.#heard
      const ended = new AbortController()
      const standstill = delay(wait.standstillMs, undefined, { signal: ended.signal }).catch(() => {})
      await Promise.race([done, standstill])
      ended.abort()
    }
    if (!isDone) this.#options.events.tombstonesAwaitedNoLonger()
  }

  /** As {@link pull}, from one store, which is asked once at a time. */
  async pullFrom(member: Member): Promise<void> {
    const name = toHex(member.account)
    const pulling = this.#pulling.get(name) ?? this.#pullFrom(member).finally(() => this.#pulling.delete(name))
    this.#pulling.set(name, pulling)
    await pulling
  }

  async #pullFrom(member: Member): Promise<void> {
    if (member.url === '') return
    const name = toHex(member.account)
    try {
      const left = await this.#pullWords(member, `words ${name}`)
      const isLeft = left !== undefined
      await this.#pullBelow(member, { list: 'tombstones', name: `erased below ${name}`, isLeft })
      await this.#pullBelow(member, { list: 'below', name: `unkept below ${name}`, isLeft }).then(
        () => this.#older.delete(name),
        (error: unknown) => this.#toldByOlder(member, error),
      )
      if (left !== undefined) throw left
    } catch (error) {
      this.#options.events.tombstonesNotPulled(member.account, error)
    }
  }

  /** A store of an earlier version has no list of what lies below: that is said once. */
  #toldByOlder(member: Member, error: unknown): void {
    const isMissing =
      isStorageError(error, 'ERR_NODE_REFUSED') && 'status' in error.detail && error.detail.status === 404
    if (!isMissing) throw error
    const name = toHex(member.account)
    if (!this.#older.has(name)) this.#options.events.storeIsOlder(member.account)
    this.#older.add(name)
  }

  /** How far a list was read. */
  #readUpTo(cursor: string): ListPlace {
    return parseListPlace(this.#options.store.cursor(cursor))
  }

  async #setRead(cursor: string, place: ListPlace): Promise<void> {
    await this.#options.store.setCursor(cursor, encodeListPlace(place))
  }

  /**
   * Carries out what a store has heard. What is refused for good is passed over; what cannot be carried out yet holds up
   * nothing that comes after it, and is asked for again the next time.
   *
   * @returns why the first one that is left was not carried out.
   */
  async #pullWords(member: Member, cursor: string): Promise<unknown> {
    const { client, events } = this.#options
    let left: { error: unknown } | undefined
    let read = this.#readUpTo(cursor)
    const ask = (after: number): Promise<Word[]> => client.words(member, after)
    for await (const page of pagesAfter(read, ask, placeOfWord)) {
      for (const word of page) {
        try {
          await this.accept(word.bytes)
        } catch (error) {
          if (refusedForGood.some((code) => isStorageError(error, code))) {
            events.wordRefused(member.account, error)
          } else {
            if (left === undefined) await this.#setRead(cursor, read)
            left ??= { error }
            continue
          }
        }
        this.#heard++
        if (left === undefined) read = placeOfWord(word)
      }
      if (left === undefined) await this.#setRead(cursor, read)
    }
    return left?.error
  }

  /**
   * What is kept here and erased there by nothing that this store knows, as by what it has not read in Userchain yet, is asked
   * for again the next time.
   *
   * @param from.isLeft - true if words are left: what lies below their roots is asked for again with them.
   */
  async #pullBelow(member: Member, from: { list: BelowList; name: string; isLeft: boolean }): Promise<void> {
    const { client, store, delayMs } = this.#options
    let { isLeft } = from
    const ask = (after: number): Promise<BelowPlaced[]> => client.below(member, from.list, after)
    for await (const page of pagesAfter(this.#readUpTo(from.name), ask, placeBelow)) {
      await store.vouch(member.account, page, { storesNeeded: this.#vouchersNeeded(), delayMs })
      this.#heard++
      const unread = isLeft ? -1 : page.findIndex((entry) => this.#isUnread(entry))
      const heard = unread < 0 ? page.at(-1) : page[unread - 1]
      if (!isLeft && heard !== undefined) await this.#setRead(from.name, placeBelow(heard))
      isLeft ||= unread >= 0
    }
  }

  /** True of a block that is kept here, if nothing is known here of the erasure by which another store says that it goes. */
  #isUnread({ digest, root, owner, at }: BelowEntry): boolean {
    const { store } = this.#options
    if (owner === undefined || store.tombstone(digest) || store.references(digest).length === 0) return false
    if (store.tombstone(root) || store.word(root, owner)) return false
    return at === undefined || !store.hasErased(owner, at)
  }

  /** How late it is by the clock that stands still while a store is away. */
  async #lookTogether(): Promise<number> {
    const { backend, store, now } = this.#options
    const nowMs = now()
    const others = this.#others()
    if (others.length === 0) return nowMs
    this.#together ??= new Together(parseTogether(store.cursor(togetherCursor)) ?? { at: nowMs, apartMs: 0 })
    const isWhole = others.every(({ peerId }) => backend.isConnected(peerId))
    const late = this.#together.look(nowMs, isWhole)
    if (Math.abs(nowMs - this.#togetherWrittenAt) >= togetherWriteMs) {
      // What a node that is killed has not written counts as time apart.
      await store.setCursor(togetherCursor, encodeTogether(this.#together.state))
      this.#togetherWrittenAt = nowMs
    }
    return late
  }

  /** Removes what is due. @returns how many blocks went. */
  async sweep(): Promise<number> {
    const { backend, events, now, writeQuorum } = this.#options
    const others = this.#others().length
    const unheardMax = Math.max(0, others - (Math.min(writeQuorum, others + 1) - 1))
    const together = await this.#lookTogether()
    const isForgetful = Math.abs(now() - this.#forgotAt) >= forgetEveryMs
    if (isForgetful) this.#forgotAt = now()
    const forgottenBefore = isForgetful ? together - releaseLifeMs : 0
    let removed = 0
    for (;;) {
      const count = await backend.sweep(now(), forgottenBefore, unheardMax)
      removed += count
      if (count === 0) break
    }
    if (removed > 0) events.blocksRemoved(removed)
    return removed
  }
}
