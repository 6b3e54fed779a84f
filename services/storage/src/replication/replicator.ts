/**
 * Keeps each block on R stores. A put is acknowledged when W copies are durable; the rest is in the durable hand-off
 * queue of a store that holds one of them, put there in the same transaction as its copy. A read takes the local copy,
 * then asks the stores in placement order, a further one whenever the last has not answered within 250 ms, then any
 * other peer. Bytes are verified wherever they come from.
 */
import type { SigningKey } from '@healthblock/crypto/signature'
import { equalBytes } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import type { Authorizer } from '../access/authorizer.ts'
import type { Member, Members } from '../access/members.ts'
import type { BlockBackend } from '../backend.ts'
import { isStorageError, StorageError, tooManyRemovals } from '../errors.ts'
import type { Events } from '../events.ts'
import type { PayloadHeader, PayloadReader } from '../ownership.ts'
import { type BlockId, codecRaw, encodeBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import { handoffKinds, type IncidentEntry, type Reference, type Retraction } from '../store/operations.ts'
import { msAfter, referenceAheadMsMax, timelyReference } from '../store/pin-stamps.ts'
import { isFinal } from './final-refusal.ts'
import { directMs, type HandoffLane } from './handoff-lane.ts'
import { digestsPerCheckMax, type NodeClient, type ReplicaRequest } from './node-client.ts'
import { Pins, type Told } from './pins.ts'
import { rankMembers } from './placement.ts'
import { isProof, newNonce, proofOf } from './possession.ts'
import { answerMessage, type Receipt, signReceipt } from './receipt.ts'
import { TakenBack } from './taken-back.ts'

/** How long a store is waited for before the next one is asked too. */
export const hedgeDelayMs = 250
/** Less than whoever asks for a proof waits. */
const proofTimeoutMs = 2_000
/** How long one peer may take for one block. */
const peerTimeoutMs = 20_000

/** What {@link Replicator} works with. */
export interface ReplicatorOptions {
  backend: BlockBackend
  /** Hand-off queue and incidents. */
  store: BlockStore
  members: Members
  client: NodeClient
  lane: HandoffLane
  /** This store's account and key. */
  account: Uint8Array
  key: SigningKey
  /** R and W. With one replica a block stays where it was put. */
  replicas: number
  writeQuorum: number
  readHeader: PayloadReader
  authorizer: Pick<Authorizer, 'signsErasures' | 'releaserOf'>
  events: Events
  now: () => number
  /** Called when the hand-off queue has grown. */
  onHandoff: () => void
}

/**
 * Whoever brings a release of an account that signs its erasures must bring a token with which the account could ask each store itself.
 *
 * @throws {StorageError} `ERR_SIGNATURE_NEEDED`, `ERR_TOKEN_INVALID`.
 */
export function assertReleaser(
  authorizer: Pick<Authorizer, 'releaserOf'>,
  { account, token, cid }: { account: Uint8Array; token: string | undefined; cid: string },
): void {
  const releaser = token === undefined ? undefined : authorizer.releaserOf(token)
  if (releaser !== undefined && equalBytes(releaser, account)) return
  const message =
    'what this account gives up it signs for, at /v1/erasures, or asks for with a token that every node takes'
  throw new StorageError(message, { code: 'ERR_SIGNATURE_NEEDED', cid })
}

function unreached(member: Member, cause: unknown): StorageError {
  const detail = { code: 'ERR_PEER_UNREACHABLE', peer: member.peerId } as const
  return new StorageError(`a store was not reached (${messageOf(cause)}): ask again later`, detail, { cause })
}

/** A release that this store has not heard of is later than its own clock. */
function heardLater(cause: StorageError): StorageError {
  const message = 'by the clock of another store the block was given up later than now: ask again in a moment'
  return new StorageError(message, { code: 'ERR_QUORUM_MISSED', copies: 0, copiesNeeded: 1 }, { cause })
}

/** Writes to, reads from and asks the stores of the network, this one among them. */
export class Replicator {
  readonly #options: ReplicatorOptions
  /** Accounts' pins at all stores. */
  readonly pins: Pins
  readonly #takenBack = new TakenBack()

  constructor(options: ReplicatorOptions) {
    this.#options = options
    this.pins = new Pins({
      ...options,
      placed: (digest) => this.placed(digest),
      everywhere: (act) => this.#everywhere(act),
      whereUp: (act) => this.#whereUp(act),
      retract: (id, made) => this.retract(id, made),
      takenBack: (digest, account) => this.#takenBack.latest(digest, account),
    })
  }

  /** The members that shall hold a block, first choice first. */
  placed(digest: Uint8Array): Member[] {
    return this.#ranking(digest).slice(0, this.#options.replicas)
  }

  /** The members that come after those, in their order: who holds a block in place of one that does not. */
  substitutes(digest: Uint8Array): Member[] {
    return this.#ranking(digest).slice(this.#options.replicas)
  }

  #ranking(digest: Uint8Array): Member[] {
    const { members, replicas, account } = this.#options
    const self = members.find(account)
    if (replicas === 1 && self) return [self]
    return rankMembers(digest, members.list())
  }

  #isSelf(member: Member): boolean {
    return equalBytes(member.account, this.#options.account)
  }

  #isUp(member: Member): boolean {
    return this.#isSelf(member) || this.#options.backend.isConnected(member.peerId)
  }

  /** True if enough other stores are there to keep what this one has no room for. */
  get canDoWithout(): boolean {
    const { members, replicas, writeQuorum } = this.#options
    const others = members.list().filter((member) => !this.#isSelf(member) && this.#isUp(member))
    return replicas > 1 && others.length >= Math.min(writeQuorum, replicas)
  }

  /**
   * Stores a block on W stores and has the others follow.
   *
   * @param told.header - whose it is, for a node of a file; a sealed payload says so itself. @param told.onLater - called with
   *   the time at which the reference is said again, Unix ms, because the account has given the block up by then, or is having its word of then taken back.
   * @returns one receipt per durable copy, W or more.
   * @throws {StorageError} `ERR_QUORUM_MISSED` if too few stores took it; some may hold it then. `ERR_STORE_FULL` if too
   *   few have room, whether the others can be reached or not; `ERR_QUOTA_EXCEEDED`, `ERR_BLOCK_ERASED`.
   */
  async put(
    id: BlockId,
    bytes: Uint8Array,
    reference: Reference,
    { header, onLater }: { header?: PayloadHeader | undefined; onLater?: (at: number) => void } = {},
  ): Promise<Receipt[]> {
    const { store } = this.#options
    const { account } = reference
    const takenBack = this.#takenBack.latest(id.digest, account)
    for (let at = takenBack < reference.at ? reference.at : msAfter(takenBack); ; ) {
      if (at > reference.at) onLater?.(at)
      try {
        return await this.#putAt(id, bytes, { ...reference, at }, header)
      } catch (error) {
        if (!isStorageError(error, 'ERR_BLOCK_RELEASED')) throw error
        // By another store's clock, or within one ms, the account gave it up: it has asked for this last.
        const heard = Math.max(store.releasedAt(id.digest, account) ?? 0, this.#takenBack.latest(id.digest, account))
        if (msAfter(heard) <= at) throw heardLater(error)
        at = msAfter(heard)
      }
    }
  }

  async #putAt(id: BlockId, bytes: Uint8Array, reference: Reference, header?: PayloadHeader): Promise<Receipt[]> {
    const ranking = this.#ranking(id.digest)
    const placed = ranking.slice(0, this.#options.replicas)
    const order = this.#order(ranking, placed)
    const copiesNeeded = Math.min(this.#options.writeQuorum, placed.length)
    const base = { id, bytes, references: [reference], ...(header ? { header } : {}) }
    let next = copiesNeeded
    const failures: unknown[] = []
    const attempt = async (member: Member, handoff: Member[]): Promise<Receipt | undefined> => {
      try {
        return await this.#place(member, { ...base, handoff: handoff.map((one) => one.account) })
      } catch (error) {
        if (isFinal(error) || isStorageError(error, 'ERR_BLOCK_RELEASED')) throw error
        this.#options.events.copyFailed(member.account, id, error)
        failures.push(error)
        const substitute = order[next++]
        if (!substitute) return undefined
        const rest = placed.includes(member) ? [member, ...handoff] : handoff
        return await attempt(
          substitute,
          rest.filter((one) => one !== substitute),
        )
      }
    }
    const targets = order.slice(0, copiesNeeded)
    const later = placed.filter((member) => !targets.includes(member))
    const copies = await Promise.allSettled(targets.map((member, index) => attempt(member, index === 0 ? later : [])))
    // Only when nobody is at it any more: what one has taken may be taken back then.
    const refused = copies.find((copy) => copy.status === 'rejected')
    if (refused !== undefined) throw refused.reason
    const receipts = copies.flatMap((copy) => (copy.status === 'fulfilled' && copy.value ? [copy.value] : []))
    if (receipts.length >= copiesNeeded && copiesNeeded > 0) return receipts
    // If there is no room, whoever of the others answers, that is what has to be said.
    const full = failures.filter((error) => isStorageError(error, 'ERR_STORE_FULL'))
    if (full.length > 0 && order.length - full.length < copiesNeeded) throw full[0]
    const detail = { code: 'ERR_QUORUM_MISSED', copies: receipts.length, copiesNeeded } as const
    throw new StorageError(`only ${receipts.length} of ${copiesNeeded} copies could be stored`, detail)
  }

  /**
   * Whom to ask for the first W copies: this store if it shall hold one, which spares a journey, then the others as they
   * rank. Stores that are known to be away are asked last; what they miss is handed to them later.
   */
  #order(ranking: readonly Member[], placed: readonly Member[]): Member[] {
    const order = placed.filter((member) => this.#isSelf(member))
    const self = order[0]
    const away: Member[] = []
    for (const member of ranking) if (member !== self) (this.#isUp(member) ? order : away).push(member)
    order.push(...away)
    return order
  }

  async #place(member: Member, request: ReplicaRequest): Promise<Receipt> {
    if (this.#isSelf(member)) return await this.keep({ ...request, enforceQuota: true })
    return await this.#options.client.place(member, request)
  }

  /** Stores a copy here and signs for it. Throws as {@link BlockStore.put}. */
  async keep(request: ReplicaRequest & { enforceQuota: boolean }): Promise<Receipt> {
    await this.keepUnsigned(request)
    return this.#sign(request.id, request.bytes.length)
  }

  /**
   * Stores a copy here that needs no receipt. Throws as {@link BlockStore.put}.
   *
   * @param from - account of the store that hands it over: it is named if the copy replaces one that was damaged.
   */
  async keepUnsigned(request: ReplicaRequest & { enforceQuota: boolean }, from?: Uint8Array): Promise<void> {
    const { lane, backend, onHandoff } = this.#options
    const { id, bytes, references, handoff, enforceQuota } = request
    const header = this.#headerOf(request)
    const incident = from && this.#healing(id.digest, from)
    const timely = references.map((reference) => this.#timely(id.digest, reference))
    const common = { handoff, enforceQuota, handoffDelayMs: directMs }
    const put = { ...id, bytes, references: timely, ...common, ...header, ...incident }
    if (handoff.length === 0) {
      await backend.put(put)
      return
    }
    const flights = lane.begin(id.digest, handoff)
    try {
      await backend.put(put)
    } catch (error) {
      lane.cancel(flights)
      throw error
    }
    lane.send(flights, request)
    onHandoff()
  }

  /** Of the future nothing is believed, but that it is put after what this store has heard of, by whatever clock. */
  #timely(digest: Uint8Array, reference: Reference): Reference {
    const { store, now } = this.#options
    const nowMs = now()
    const isAhead = reference.at > nowMs + referenceAheadMsMax
    const removed = isAhead ? (store.releasedAt(digest, reference.account) ?? 0) : 0
    return timelyReference(reference, nowMs, { direct: 0, recursive: 0, removed })
  }

  /** What is recorded of a copy if accounts keep the block here and the one that was here is gone. */
  #healing(digest: Uint8Array, servedBy: Uint8Array): { incident: IncidentEntry } | undefined {
    const { store, account, now } = this.#options
    if (!store.isGone(digest)) return undefined
    return { incident: { at: now(), kind: 'block-healed', digest, node: account, servedBy } }
  }

  /** Signs for an answer about copies, as a whole. */
  signAnswer(request: Uint8Array, answer: Uint8Array): Uint8Array {
    return this.#options.key.sign(answerMessage({ ledgerId: this.#options.members.ledgerId, request, answer }))
  }

  #headerOf({ id, bytes, header }: Pick<ReplicaRequest, 'id' | 'bytes' | 'header'>): PayloadHeader | undefined {
    const own = this.#options.readHeader(bytes)
    return own ?? (id.codec === codecRaw ? undefined : header)
  }

  #sign(id: BlockId, size: number): Receipt {
    const { key, members, account, now } = this.#options
    return signReceipt(key, members.ledgerId, { digest: id.digest, size, ms: now(), store: account })
  }

  /** A receipt for the copy here, which is read and verified first; undefined if there is none. */
  async ownReceipt(id: BlockId): Promise<Receipt | undefined> {
    const { backend, store } = this.#options
    const bytes = await backend.get(id.digest)
    // It may have been seen before it was durable.
    await store.settled()
    return bytes ? this.#sign(id, bytes.length) : undefined
  }

  /** Proves of blocks that they are here, and heals them before if they were damaged; undefined for one that is not here. */
  async prove(digests: readonly Uint8Array[], nonce: Uint8Array): Promise<(Uint8Array | undefined)[]> {
    const proofs: (Uint8Array | undefined)[] = []
    for (const digest of digests) proofs.push(await this.#prove(digest, nonce))
    // What was seen may not be durable yet.
    await this.#options.store.settled()
    return proofs
  }

  async #prove(digest: Uint8Array, nonce: Uint8Array): Promise<Uint8Array | undefined> {
    const { backend, members, account } = this.#options
    if (!backend.has(digest)) return undefined
    try {
      const limit = { signal: AbortSignal.timeout(proofTimeoutMs), offline: false }
      const { bytes: block } = await this.read({ digest, codec: codecRaw }, limit)
      return proofOf({ ledgerId: members.ledgerId, store: account, nonce, block })
    } catch {
      // Nobody who could be reached has it, or it was erased meanwhile.
      return undefined
    }
  }

  /** Of blocks that are here, those that a member does not prove to have. Throws if it cannot be asked. */
  async unproved(member: Member, digests: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const { backend, client, members } = this.#options
    const nonce = newNonce()
    const answers = await client.prove(member, nonce, digests)
    const lacking: Uint8Array[] = []
    for (const [index, digest] of digests.entries()) {
      const block = await backend.get(digest)
      const possession = { ledgerId: members.ledgerId, store: member.account, nonce }
      // What is not here itself cannot be held against an answer.
      if (block && !isProof(answers[index], { ...possession, block })) lacking.push(digest)
    }
    return lacking
  }

  /**
   * Receipts of all stores that hold a block now.
   *
   * @throws {StorageError} `ERR_BLOCK_NOT_FOUND` if none does.
   */
  async receipts(id: BlockId, signal: AbortSignal): Promise<Receipt[]> {
    const { bytes } = await this.read(id, { signal, offline: false })
    const others = this.#ranking(id.digest).filter((member) => !this.#isSelf(member) && this.#isUp(member))
    const answers = await Promise.allSettled([
      this.ownReceipt(id),
      ...others.map((member) => this.#options.client.receipt(member, id, bytes.length)),
    ])
    return answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value ? [answer.value] : []))
  }

  /** A block's bytes if they are here, verified; undefined for one that was erased. */
  readHere(id: BlockId): Promise<Uint8Array | undefined> {
    return this.#options.backend.get(id.digest)
  }

  /**
   * A block's bytes.
   *
   * @param options.offline - true asks nobody else.
   * @throws {StorageError} `ERR_BLOCK_NOT_FOUND` if no reachable store has it.
   * @throws the signal's reason when it aborts.
   */
  async read(id: BlockId, options: { signal: AbortSignal; offline: boolean }): Promise<{ bytes: Uint8Array }> {
    const local = await this.readHere(id)
    if (local) return { bytes: local }
    const cid = encodeBlockId(id)
    if (this.#options.store.isErased(id.digest)) {
      throw new StorageError('the block was erased by its owner', { code: 'ERR_BLOCK_ERASED', cid })
    }
    if (!options.offline) {
      const found = await this.#readFromPeers(id, options.signal)
      if (found) {
        await this.#heal(id, found)
        return found
      }
    }
    throw new StorageError(`ipld: could not find ${cid}`, { code: 'ERR_BLOCK_NOT_FOUND', cid })
  }

  async #readFromPeers(id: BlockId, signal: AbortSignal): Promise<{ bytes: Uint8Array; peer: string } | undefined> {
    const { backend } = this.#options
    const peers = this.#ranking(id.digest)
      .map((member) => member.peerId)
      .filter((peer) => backend.isConnected(peer))
    for (const { peer } of backend.connections()) if (!peers.includes(peer)) peers.push(peer)
    const done = new AbortController()
    const limit = AbortSignal.any([signal, done.signal, AbortSignal.timeout(peerTimeoutMs)])
    const ask = async (peer: string): Promise<{ bytes: Uint8Array; peer: string }> => {
      const bytes = await backend.fetch(peer, id, limit)
      if (!bytes) throw new StorageError('absent', { code: 'ERR_BLOCK_NOT_FOUND', cid: '' })
      return { bytes, peer }
    }
    const asked: Promise<{ bytes: Uint8Array; peer: string }>[] = []
    try {
      for (const peer of peers) {
        const answer = ask(peer)
        answer.catch(() => {})
        asked.push(answer)
        const found = await firstWithin(asked, answer, hedgeDelayMs)
        if (found) return found
        signal.throwIfAborted()
      }
      return await Promise.any(asked).catch(() => undefined)
    } finally {
      done.abort()
      if (signal.aborted) signal.throwIfAborted()
    }
  }

  /** A block that accounts keep here but that is gone or damaged is put back. */
  async #heal(id: BlockId, found: { bytes: Uint8Array; peer: string }): Promise<void> {
    const { backend, members, account, events, now } = this.#options
    if (backend.references(id.digest).length === 0 || this.#options.store.tombstone(id.digest)) return
    const header = this.#options.readHeader(found.bytes)
    const servedBy = members.findPeer(found.peer)?.account
    const healed = { at: now(), kind: 'block-healed', digest: id.digest, node: account } as const
    const incident = { ...healed, ...(servedBy ? { servedBy } : {}) }
    const request = { ...id, bytes: found.bytes, references: [], enforceQuota: false, incident, ...header }
    try {
      if (await backend.put(request)) events.blockHealed(id, servedBy)
    } catch (error) {
      // Whoever reads gets the good bytes, whether or not there is room for them here; the next read tries again.
      if (!(error instanceof StorageError) || isStorageError(error, 'ERR_BLOCK_ERASED')) throw error
      events.healFailed(id.digest, error)
    }
  }

  /** Fetches what was found damaged here, so that it is healed. */
  async heal(id: BlockId): Promise<void> {
    await this.read(id, { signal: AbortSignal.timeout(peerTimeoutMs), offline: false })
  }

  /**
   * Gives up an account's reference everywhere; stores that cannot be reached are told later.
   *
   * @param by.token - the caller's. Of an account that signs its erasures the other stores want it, too, and since none keeps
   *   it, stores that cannot be reached must be asked again.
   * @throws {StorageError} `ERR_BLOCK_NOT_FOUND` if no reachable store has such a reference; `ERR_BLOCK_SEALED`,
   *   `ERR_BLOCK_PINNED`; `ERR_SIGNATURE_NEEDED` of an account that signs; `ERR_PEER_UNREACHABLE` if it has to be asked again;
   *   `ERR_QUOTA_EXCEEDED` for what the account keeps nowhere, as far as stores are reached, if too many of its removals are remembered.
   */
  async release(id: BlockId, by: { account: Uint8Array; force: boolean; token?: string }): Promise<void> {
    const { backend, client, store, now, onHandoff, authorizer } = this.#options
    const { account, force, token } = by
    // What this store knows was asked for before, whatever clock said when.
    const at = Math.max(now(), store.keptSince(id.digest, account) ?? 0)
    const cid = encodeBlockId(id)
    const isSigning = authorizer.signsErasures(account)
    if (isSigning) assertReleaser(authorizer, { account, token, cid })
    const notFound = new StorageError(`ipld: could not find ${cid}`, { code: 'ERR_BLOCK_NOT_FOUND', cid })
    if (!(await this.#mayBeKept(id))) throw notFound
    await this.assertRemovable([id.digest], account)
    const release = async (member: Member): Promise<boolean> => {
      if (this.#isSelf(member)) return (await backend.release(id.digest, account, { at, force })).changed
      return await client.release(member, id, { account, at, force, ...(isSigning ? { token } : {}) })
    }
    // Who signs is told which store has to be asked again: none is passed over.
    const answers = await (isSigning ? this.#everywhere(release) : this.#whereUp(release))
    const final = answers.find((answer) => answer.error !== undefined && isFinal(answer.error))
    if (final) throw final.error
    for (const { member, error } of answers) {
      if (error === undefined) continue
      if (isSigning) throw unreached(member, error)
      const target = member.account
      await store.enqueueHandoff({ handoffKind: handoffKinds.release, digest: id.digest, target, account, at })
      onHandoff()
    }
    if (!answers.some((answer) => answer.done)) throw notFound
  }

  /** As {@link release}, here, for another store: of the future nothing is believed that would bar what the account puts next. */
  async releaseHere(
    { digest }: BlockId,
    { account, at, force }: { account: Uint8Array; at: number; force: boolean },
  ): Promise<boolean> {
    const { backend, store, now } = this.#options
    const latest = Math.max(now() + referenceAheadMsMax, store.keptSince(digest, account) ?? 0)
    return (await backend.release(digest, account, { at: Math.min(at, latest), force })).changed
  }

  /**
   * To give up what one keeps takes no more room than that, here or at another store; anything else would be remembered for
   * nothing, and is as far as the account's removals reach.
   *
   * @throws {StorageError} `ERR_QUOTA_EXCEEDED`.
   */
  async assertRemovable(digests: readonly Uint8Array[], account: Uint8Array): Promise<void> {
    const { store } = this.#options
    const left = store.removalsLeft(account)
    const unkept = digests.filter((digest) => store.keptSince(digest, account) === undefined)
    for (let at = 0, count = unkept.length; count > left; at += digestsPerCheckMax) {
      const asked = unkept.slice(at, at + digestsPerCheckMax)
      if (asked.length === 0) throw tooManyRemovals()
      count -= await this.#keptElsewhere(asked, account)
    }
  }

  /** Of blocks that an account does not keep here, how many it keeps at other stores, as far as they are reached. */
  async #keptElsewhere(digests: readonly Uint8Array[], account: Uint8Array): Promise<number> {
    const { client } = this.#options
    const answers = await this.#everywhere(
      (member) => client.kept(member, account, digests),
      (member) => !this.#isSelf(member) && this.#isUp(member),
    )
    return digests.filter((_, index) => answers.some(({ done }) => done !== false && done[index] === true)).length
  }

  /**
   * Takes back a reference that a request made which has failed or broken off: what the account kept before, or another request
   * has put since, stays. Of an account that signs its erasures that is done here alone, unless the request's token is one with
   * which the account could ask each store itself. Stores that are not reached keep it; one to which a copy is under way takes
   * it back when that is over, which is not waited for. All are told twice: between the two, what one of them was handing
   * another has come.
   *
   * @param made.since - given of what has broken off: that is waited for.
   */
  async retract(id: BlockId, made: Retraction & { token: string }): Promise<void> {
    const { client, authorizer, lane, backend } = this.#options
    const { token, ...said } = made
    const isAnywhere = this.#mayRelease(made.account, token)
    const shown = authorizer.signsErasures(made.account) ? { token } : {}
    const tell = async (retraction: Retraction, isTold: (member: Member) => boolean): Promise<void> => {
      const act = async (member: Member): Promise<boolean> => {
        if (this.#isSelf(member)) return await backend.retract(id.digest, retraction)
        return await client.retract(member, id, { ...retraction, ...shown })
      }
      const isAsked = (member: Member): boolean => this.#isSelf(member) || (isAnywhere && this.#isUp(member))
      await this.#everywhere(act, (member) => isAsked(member) && isTold(member))
    }
    const end = this.#takenBack.begin(id.digest, made.account, made.at)
    // From then on nothing here hands it over.
    await tell(said, (member) => this.#isSelf(member))
    const targets = client.underWay.targets(id.digest)
    const isNow = (member: Member): boolean =>
      !this.#isSelf(member) && !targets.some((target) => equalBytes(target, member.account))
    // Each answers when it is handing nothing over any more.
    const awaited = { ...said, since: said.since ?? said.at }
    const tellTwice = async (isTold: (member: Member) => boolean): Promise<void> => {
      await tell(awaited, isTold)
      await tell(said, isTold)
    }
    if (made.since === undefined) await tell(said, isNow)
    else await tellTwice(isNow)
    if (made.since !== undefined && targets.length === 0) end()
    else lane.afterwards(id.digest, () => tellTwice(() => true).finally(end))
  }

  /** As {@link retract}, here, for another store: of what has broken off no copy is on its way from here any more then. */
  async retractHere({ digest }: BlockId, made: Retraction): Promise<boolean> {
    const { backend, client } = this.#options
    const isDone = await backend.retract(digest, made)
    if (made.since !== undefined) await client.underWay.settled(digest)
    return isDone
  }

  #mayRelease(account: Uint8Array, token: string): boolean {
    const { authorizer } = this.#options
    if (!authorizer.signsErasures(account)) return true
    try {
      assertReleaser(authorizer, { account, token, cid: '' })
      return true
    } catch {
      // It says less, or has run out since the request began.
      return false
    }
  }

  /**
   * False if every store says that it has no such block. A release is remembered, also where there is nothing to release
   * yet: of addresses that nobody has put, anybody could have any number remembered.
   */
  async #mayBeKept({ digest }: BlockId): Promise<boolean> {
    const { backend, client } = this.#options
    if (backend.has(digest) || backend.references(digest).length > 0) return true
    const answers = await this.#everywhere(async (member) => {
      if (this.#isSelf(member)) return false
      const [state] = await client.check(member, [digest])
      return state !== 0
    })
    return answers.some(({ done, error }) => done || error !== undefined)
  }

  /**
   * That nobody has a block, as every store says.
   *
   * @throws {StorageError} `ERR_PEER_UNREACHABLE` if a store has it which could not hand it over, or cannot be asked.
   */
  async assertNowhere({ digest }: BlockId): Promise<void> {
    const { backend, client } = this.#options
    const answers = await this.#everywhere(async (member) => {
      if (this.#isSelf(member)) return backend.has(digest)
      const [state] = await client.check(member, [digest])
      return state === 1
    })
    const found = answers.find(({ done, error }) => done || error !== undefined)
    if (found) throw unreached(found.member, found.error ?? new Error('it has the block'))
  }

  /**
   * Stores that are known to be away are passed over: one whose machine is gone would be waited for at each block. If no
   * other one has done it, they are asked all the same.
   */
  async #whereUp<T>(act: (member: Member) => Promise<T>): Promise<Told<T>[]> {
    const told = await this.#everywhere(act, (member) => this.#isUp(member))
    if (told.some(({ done }) => done)) return told
    const rest = await this.#everywhere(act, (member) => !this.#isUp(member))
    return told.map((one, at) => (this.#isUp(one.member) ? one : (rest[at] ?? one)))
  }

  async #everywhere<T>(
    act: (member: Member) => Promise<T>,
    isAsked: (member: Member) => boolean = () => true,
  ): Promise<Told<T>[]> {
    const { members, replicas, account } = this.#options
    const all = members.list().filter((member) => replicas > 1 || equalBytes(member.account, account))
    return await Promise.all(
      all.map(async (member) => {
        if (!isAsked(member)) return { member, done: false, error: unreached(member, new Error('it is away')) }
        try {
          return { member, done: await act(member) }
        } catch (error) {
          return { member, done: false, error }
        }
      }),
    )
  }
}

/** The first good answer among `asked`; undefined if `last` fails or `delayMs` pass before one comes. */
async function firstWithin<T>(asked: readonly Promise<T>[], last: Promise<T>, delayMs: number): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => resolve(undefined), delayMs)
  last.catch(() => resolve(undefined))
  try {
    return await Promise.race([Promise.any(asked).catch(() => undefined), promise])
  } finally {
    clearTimeout(timer)
  }
}
