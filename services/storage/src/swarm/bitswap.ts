/**
 * Bitswap 1.2.0 over libp2p streams: asks a peer for a block and serves blocks to peers. Each side sends its messages,
 * wants and answers alike, on one long-lived stream of its own per peer. Nothing is remembered of blocks that came, so
 * a block that was deleted can be fetched again. Only bytes that hash to a wanted address are handed on.
 */
import type { Libp2p, PeerId, Stream } from '@libp2p/interface'
import { StorageError } from '../errors.ts'
import {
  type BlockId,
  codecDagPb,
  encodeBlockId,
  encodeBlockIdBytes,
  hashBlock,
  parseBlockIdBytes,
} from '../store/block-id.ts'
import {
  type BitswapMessage,
  encodeBitswapMessage,
  encodeVarint,
  FrameDecoder,
  messageBytesMax,
  parseBitswapMessage,
  type WantEntry,
  wantTypes,
} from './bitswap-message.ts'

/** The protocol's name. */
export const bitswapProtocol = '/ipfs/bitswap/1.2.0'
/** Wants of one peer that are remembered until the block arrives or they are cancelled. */
const rememberedWantsMax = 1024
/** Answers to one peer that wait to be sent; its further wants are answered with DONT_HAVE or not at all. */
const answersWaitingMax = 4096
/** Block bytes after which a message is sent. */
const messageTargetBytes = 512 * 1024
/** Addresses of late answers that are no sign of bad faith. */
const recentMax = 1024
const streamInactivityMs = 24 * 3600 * 1000

/** Where blocks come from. */
export interface BlockSource {
  /** Verified bytes, or undefined. */
  get(digest: Uint8Array): Promise<Uint8Array | undefined>
  has(digest: Uint8Array): boolean
}

/** What {@link Bitswap} needs. */
export interface BitswapOptions {
  host: Libp2p
  blocks: BlockSource
  /** A peer sent bytes that nobody asked for in place of these blocks. */
  onMisbehaviour: (peer: string, digests: Uint8Array[]) => void
}

/** The answer to a want: the block's bytes, true for "I have it", or undefined for "I do not". */
type Answer = Uint8Array | true | undefined

interface Want {
  id: BlockId
  wantType: number
  waiters: Set<{ resolve: (answer: Answer) => void; reject: (error: Error) => void }>
}

interface Serving {
  entry: WantEntry
  id: BlockId
}

/** What one peer and this node have to say to each other. */
interface Conversation {
  peer: PeerId
  stream: Stream | undefined
  sending: boolean
  outgoingWants: Map<string, WantEntry>
  /** By kind of want and digest: who asks for the same again and again is answered once. */
  answers: Map<string, Serving>
  wants: Map<string, Want>
  recent: Set<string>
  remembered: Map<string, Serving>
}

/** What a block's CID is made of, as a want named it: its bytes up to the digest; a version 0 CID leaves them out. */
function prefixOf(cid: Uint8Array): Uint8Array {
  return cid[0] === 0x12 ? new Uint8Array([0, codecDagPb, 0x12, 32]) : cid.subarray(0, cid.length - 32)
}

function hexOf(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.length).toString('hex')
}

function unreachable(peer: string, cause?: unknown): StorageError {
  return new StorageError(`peer ${peer} cannot be reached`, { code: 'ERR_PEER_UNREACHABLE', peer }, { cause })
}

/** One node's Bitswap. */
export class Bitswap {
  readonly #options: BitswapOptions
  readonly #conversations = new Map<string, Conversation>()
  /** Blocks and bytes served and received since the start. */
  readonly counters = { blocksSent: 0, bytesSent: 0, blocksReceived: 0, bytesReceived: 0 }
  readonly #onDisconnect = (event: CustomEvent<PeerId>): void => this.#end(event.detail.toString())

  constructor(options: BitswapOptions) {
    this.#options = options
  }

  /** Begins to serve. */
  async start(): Promise<void> {
    const { host } = this.#options
    host.addEventListener('peer:disconnect', this.#onDisconnect)
    await host.handle(bitswapProtocol, (stream, connection) => this.#listen(stream, connection.remotePeer), {
      maxInboundStreams: 64,
    })
  }

  /** Ends all conversations; waiting wants are rejected. */
  async stop(): Promise<void> {
    const { host } = this.#options
    host.removeEventListener('peer:disconnect', this.#onDisconnect)
    await host.unhandle(bitswapProtocol)
    for (const peer of [...this.#conversations.keys()]) this.#end(peer)
  }

  /**
   * Asks one connected peer for a block.
   *
   * @returns its bytes, which hash to the address; undefined as soon as the peer says that it has none.
   * @throws {StorageError} `ERR_PEER_UNREACHABLE`, or `ERR_PEER_MISBEHAVED` if other bytes came.
   * @throws the signal's reason when it aborts.
   */
  async fetch(peer: PeerId, id: BlockId, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const answer = await this.#ask(peer, id, wantTypes.block, signal)
    return answer === true ? undefined : answer
  }

  /** Asks one connected peer whether it has a block. Throws as {@link fetch}. */
  async asksHave(peer: PeerId, id: BlockId, signal: AbortSignal): Promise<boolean> {
    return (await this.#ask(peer, id, wantTypes.have, signal)) !== undefined
  }

  /** Tells peers that still wait for a block that it has come. */
  announce(digest: Uint8Array): void {
    const hex = hexOf(digest)
    for (const conversation of this.#conversations.values()) {
      const serving = conversation.remembered.get(hex)
      if (!serving) continue
      conversation.remembered.delete(hex)
      conversation.answers.set(`${serving.entry.wantType}${hex}`, serving)
      this.#flush(conversation)
    }
  }

  #conversation(peer: PeerId): Conversation {
    const key = peer.toString()
    let conversation = this.#conversations.get(key)
    if (!conversation) {
      conversation = {
        peer,
        stream: undefined,
        sending: false,
        outgoingWants: new Map(),
        answers: new Map(),
        wants: new Map(),
        recent: new Set(),
        remembered: new Map(),
      }
      this.#conversations.set(key, conversation)
    }
    return conversation
  }

  #end(peer: string, cause?: unknown): void {
    const conversation = this.#conversations.get(peer)
    if (!conversation) return
    this.#conversations.delete(peer)
    conversation.stream?.abort(unreachable(peer, cause))
    for (const want of conversation.wants.values()) {
      for (const waiter of want.waiters) waiter.reject(unreachable(peer, cause))
    }
    conversation.wants.clear()
  }

  async #ask(peer: PeerId, id: BlockId, wantType: number, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted()
    const conversation = this.#conversation(peer)
    const hex = hexOf(id.digest)
    const key = `${wantType}${hex}`
    let want = conversation.wants.get(key)
    if (!want) {
      want = { id, wantType, waiters: new Set() }
      conversation.wants.set(key, want)
      this.#send(conversation, { cid: encodeBlockIdBytes(id), cancel: false, wantType, sendDontHave: true })
    }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const waiter = { resolve, reject }
    want.waiters.add(waiter)
    const onAbort = (): void => {
      want.waiters.delete(waiter)
      reject(signal.reason)
      if (want.waiters.size > 0 || conversation.wants.get(key) !== want) return
      this.#forget(conversation, key, hex)
      this.#send(conversation, { cid: encodeBlockIdBytes(id), cancel: true, wantType, sendDontHave: false })
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #forget(conversation: Conversation, key: string, hex: string): void {
    conversation.wants.delete(key)
    conversation.recent.add(hex)
    if (conversation.recent.size <= recentMax) return
    for (const oldest of conversation.recent) {
      conversation.recent.delete(oldest)
      break
    }
  }

  #send(conversation: Conversation, entry: WantEntry): void {
    conversation.outgoingWants.set(`${entry.wantType}${hexOf(entry.cid)}`, entry)
    this.#flush(conversation)
  }

  #flush(conversation: Conversation): void {
    if (conversation.sending) return
    conversation.sending = true
    // What is asked for in the same turn shares one message.
    queueMicrotask(() => {
      this.#pump(conversation).then(
        () => {
          conversation.sending = false
          if (conversation.outgoingWants.size + conversation.answers.size > 0) this.#flush(conversation)
        },
        (error: unknown) => {
          conversation.sending = false
          this.#end(conversation.peer.toString(), error)
        },
      )
    })
  }

  async #pump(conversation: Conversation): Promise<void> {
    while (conversation.outgoingWants.size + conversation.answers.size > 0) {
      const message = await this.#compose(conversation)
      if (message.wants.length + message.blocks.length + message.presences.length === 0) continue
      const stream = await this.#open(conversation)
      const bytes = encodeBitswapMessage(message)
      if (!stream.send(Buffer.concat([encodeVarint(bytes.length), bytes]))) await stream.onDrain()
    }
  }

  async #open(conversation: Conversation): Promise<Stream> {
    if (conversation.stream?.status === 'open' && conversation.stream.writeStatus === 'writable') {
      return conversation.stream
    }
    const connection = this.#options.host.getConnections(conversation.peer).find((one) => one.status === 'open')
    if (!connection) throw unreachable(conversation.peer.toString())
    const stream = await connection.newStream(bitswapProtocol, { signal: AbortSignal.timeout(10_000) })
    stream.inactivityTimeout = streamInactivityMs
    conversation.stream = stream
    return stream
  }

  async #compose(conversation: Conversation): Promise<BitswapMessage> {
    const message: BitswapMessage = { wants: [], full: false, blocks: [], presences: [] }
    message.wants = [...conversation.outgoingWants.values()].slice(0, rememberedWantsMax)
    for (const entry of message.wants) conversation.outgoingWants.delete(`${entry.wantType}${hexOf(entry.cid)}`)
    let bytes = 0
    for (const [key, { entry, id }] of conversation.answers) {
      if (bytes >= messageTargetBytes || message.presences.length >= 1024) break
      const block = entry.wantType === wantTypes.block ? await this.#options.blocks.get(id.digest) : undefined
      // A block that does not fit goes into the next message, which it begins.
      if (block && bytes > 0 && bytes + block.length > messageBytesMax - 65_536) break
      // Cancelled meanwhile, or not: it is answered by this.
      conversation.answers.delete(key)
      if (block) {
        message.blocks.push({ prefix: prefixOf(entry.cid), data: block })
        bytes += block.length
        this.counters.blocksSent++
        this.counters.bytesSent += block.length
      } else if (entry.wantType === wantTypes.have && this.#options.blocks.has(id.digest)) {
        message.presences.push({ cid: entry.cid, have: true })
      } else if (entry.sendDontHave) {
        message.presences.push({ cid: entry.cid, have: false })
      } else if (conversation.remembered.size < rememberedWantsMax) {
        conversation.remembered.set(hexOf(id.digest), { entry, id })
      }
    }
    return message
  }

  #listen(stream: Stream, peer: PeerId): void {
    const decoder = new FrameDecoder()
    stream.inactivityTimeout = streamInactivityMs
    stream.addEventListener('message', (event) => {
      try {
        for (const frame of decoder.push(event.data.subarray())) this.#receive(parseBitswapMessage(frame), peer)
      } catch (error) {
        stream.abort(error as Error)
      }
    })
    stream.addEventListener('remoteCloseWrite', () => {
      stream.close().catch((error: Error) => stream.abort(error))
    })
  }

  #receive(message: BitswapMessage, peer: PeerId): void {
    const conversation = this.#conversation(peer)
    if (message.full) conversation.remembered.clear()
    for (const entry of message.wants) this.#receiveWant(conversation, entry)
    for (const { data } of message.blocks) this.#receiveBlock(conversation, data)
    for (const { cid, have } of message.presences) this.#receivePresence(conversation, cid, have)
  }

  #receiveWant(conversation: Conversation, entry: WantEntry): void {
    let id: BlockId
    try {
      id = parseBlockIdBytes(entry.cid)
    } catch {
      // Another hash or codec: no such block can be here, and the answer needs no more than its bytes.
      return
    }
    const hex = hexOf(id.digest)
    if (entry.cancel) {
      conversation.remembered.delete(hex)
      for (const wantType of Object.values(wantTypes)) conversation.answers.delete(`${wantType}${hex}`)
      return
    }
    if (conversation.answers.size >= answersWaitingMax) return
    // The entry's bytes are a view into the message, which must not be kept.
    const wantType = entry.wantType === wantTypes.have ? wantTypes.have : wantTypes.block
    conversation.answers.set(`${wantType}${hex}`, { entry: { ...entry, wantType, cid: entry.cid.slice() }, id })
    this.#flush(conversation)
  }

  #receiveBlock(conversation: Conversation, data: Uint8Array): void {
    this.counters.blocksReceived++
    this.counters.bytesReceived += data.length
    const hex = hexOf(hashBlock(data))
    const keys = [`${wantTypes.block}${hex}`, `${wantTypes.have}${hex}`]
    const wanted = keys.filter((key) => conversation.wants.has(key))
    if (wanted.length === 0) {
      if (!conversation.recent.has(hex)) this.#misbehaved(conversation)
      return
    }
    const copy = data.slice()
    for (const key of wanted) {
      const want = conversation.wants.get(key)
      this.#forget(conversation, key, hex)
      for (const waiter of want?.waiters ?? []) waiter.resolve(copy)
    }
  }

  #receivePresence(conversation: Conversation, cid: Uint8Array, have: boolean): void {
    let hex: string
    try {
      hex = hexOf(parseBlockIdBytes(cid).digest)
    } catch {
      return
    }
    for (const wantType of [wantTypes.block, wantTypes.have]) {
      // "I have it" in answer to a want for the block itself: the block is still to come.
      if (have && wantType === wantTypes.block) continue
      const key = `${wantType}${hex}`
      const want = conversation.wants.get(key)
      if (!want) continue
      this.#forget(conversation, key, hex)
      for (const waiter of want.waiters) waiter.resolve(have ? true : undefined)
    }
  }

  /** Bytes came that answer none of our wants: what was asked of this peer is asked elsewhere. */
  #misbehaved(conversation: Conversation): void {
    const peer = conversation.peer.toString()
    const wants = [...conversation.wants].filter(([, want]) => want.wantType === wantTypes.block)
    if (wants.length === 0) return
    for (const [key, want] of wants) {
      this.#forget(conversation, key, hexOf(want.id.digest))
      const error = new StorageError(`peer ${peer} sent other bytes than ${encodeBlockId(want.id)}`, {
        code: 'ERR_PEER_MISBEHAVED',
        peer,
      })
      for (const waiter of want.waiters) waiter.reject(error)
    }
    this.#options.onMisbehaviour(
      peer,
      wants.map(([, want]) => want.id.digest),
    )
  }
}
