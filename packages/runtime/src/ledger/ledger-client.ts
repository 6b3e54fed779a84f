/**
 * Client of the accounting nodes (services/accounting-node/SPEC.md §1). Several nodes serve the same; none is believed:
 * promises and refusals must be signed by a node of the policy, checkpoints by a quorum, receipts and states must prove
 * themselves. A node whose answer fails is left alone for ten minutes; one that does not answer is tried last for a while.
 */

import { type ChainName, chains } from '@healthblock/chain/chains'
import { chainOrigin, type VerifiedCheckpoint } from '@healthblock/chain/checkpoint'
import type { Genesis } from '@healthblock/chain/genesis'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { parseProof, verifyProof } from '@healthblock/chain/proof'
import { parseTrail, verifyReceipt } from '@healthblock/chain/receipt'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { verifyStateProof } from '@healthblock/chain/state-tree'
import {
  parseStatement,
  ruleOfText,
  type SignedStatement,
  type Statements,
  verifyStatement,
} from '@healthblock/chain/statement'
import { concatBytes, equalBytes, fromBase64, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { isRuntimeError, messageOf, RuntimeError } from '../errors.ts'
import { type HttpAnswer, misbehaved, openStream, sendRequest } from '../http/http-client.ts'
import { evidenceOf, signedOf } from '../http/signed-form.ts'
import { type QuarantineEvent, Sources } from '../http/sources.ts'
import type {
  Answer,
  BlockPage,
  ProvedState,
  SignedRefusal,
  Submission,
  Submitted,
  VerifiedState,
} from './ledger-answers.ts'
import { type BlockFrame, blocksSizeBytesMax, parseFrame, parseFrames, readEvents } from './ledger-frames.ts'
import { readPiece } from './piece-reads.ts'

export type { BlockFrame } from './ledger-frames.ts'

/** Most transactions of one submission, and most ids of one question. */
export const submissionCountMax = 256
/** Most bytes of one submission. */
export const submissionSizeBytesMax = 1024 * 1024
/** The longest that a gateway's promise is waited for; it names 30 s. */
export const promiseMsMax = 60_000
const smallSizeBytesMax = 1024 * 1024
const tileSizeBytesMax = 32 * 1024 * 1024
/** A stream says something every 5 s, one of an older node every 15: a node that lost its power says nothing and closes nothing. */
const streamSilenceMsMax = 20_000
/** A node that has not answered for so long what any of them can prove: the next one is asked beside it. */
const hedgeMs = 2_000
/** A gateway that has not answered a submission for so long; later, since two that are only slow get twice as much then. */
const submissionHedgeMs = 4_000

/** Whose word counts: a follower's verified state, or genesis alone (`genesisTrust`). Read for each answer. */
export interface LedgerTrust {
  readonly genesis: Genesis
  /** What checkpoints are checked against; it grows as nodes show further steps. */
  readonly trail: PolicyTrail
  /** The node key of an account of the policy in force. */
  nodeKeyOf(account: Uint8Array): Uint8Array | undefined
}

/** Genesis, and the policy trail from there on as nodes prove it. */
export function genesisTrust(genesis: Genesis): LedgerTrust {
  const trail = new PolicyTrail(genesis)
  return { genesis, trail, nodeKeyOf: (account) => trail.nodeKeyOf(account) }
}

/** How to make a {@link LedgerClient}. */
export interface LedgerClientOptions {
  /** Base URLs of accounting nodes. */
  readonly urls: readonly string[]
  readonly trust: LedgerTrust
  /** A bearer token of scope `ledger` (`createTokenSource` of `../http/token-guard`). Without it only public routes can be used. */
  readonly token?: () => string | Promise<string>
  /** Time for one exchange, default 10 s; a question that waits adds its waiting. */
  readonly timeoutMs?: number
  /** A stream that says nothing for so long has ended, default 20 s. */
  readonly streamSilenceMs?: number
  readonly now?: () => number
  readonly onQuarantine?: (event: QuarantineEvent) => void
}

interface CallOptions {
  readonly body?: Uint8Array
  readonly headers?: Record<string, string>
  readonly timeoutMs?: number
  readonly sizeBytesMax?: number
  readonly token?: boolean
  readonly signal?: AbortSignal | undefined
  readonly accepted?: readonly number[]
}

type Awaitable = { readonly signal?: AbortSignal }

/** Asks accounting nodes, and checks what they say. */
export class LedgerClient {
  readonly sources: Sources
  readonly #options: LedgerClientOptions
  readonly #now: () => number

  constructor(options: LedgerClientOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.sources = new Sources({
      urls: options.urls,
      now: this.#now,
      ...(options.onQuarantine === undefined ? {} : { onQuarantine: options.onQuarantine }),
    })
  }

  /** Accounting nodes that it may ask. */
  get urls(): readonly string[] {
    return this.#options.urls
  }

  /** The origin of a chain's log on this ledger. */
  origin(chain: ChainName): string {
    return chainOrigin({ ledgerId: this.#options.trust.genesis.ledgerId, chain })
  }

  /**
   * Hands transactions to one gateway, in order; to another one as well if it is silent for 4 s (an id is committed at most once).
   *
   * @param transactions - 1 to 256, at most 1 MiB together.
   * @param options - `avoid`: gateways to be asked last (one let a promise pass, refuses or defers).
   * @throws {RuntimeError} `ERR_NO_SOURCE`; `ERR_SOURCE_REFUSED`.
   */
  async submit(
    chain: ChainName,
    transactions: readonly Submitted[],
    options: Awaitable & { avoid?: readonly string[] } = {},
  ): Promise<Submission> {
    const body = concatBytes(...transactions.map(({ leaf }) => leaf))
    const work = async (url: string): Promise<Submission> => {
      const answer = await this.#call(url, `/v1/${chain}/transactions`, {
        body,
        headers: { 'content-type': 'application/cbor-seq' },
        accepted: [422],
        signal: options.signal,
      })
      return this.#onTrail(url, () => this.#submissionOf(url, chain, transactions, answer), options)
    }
    return this.sources.attempt(work, { last: options.avoid, hedgeMs: submissionHedgeMs })
  }

  /**
   * Asks a gateway about transactions; it answers when all are decided, or after `waitMs`.
   *
   * @param ids - 1 to 256, 32 bytes each.
   * @param options - `url`: the gateway that promised; `waitMs` at most 30,000.
   * @returns Answers in the order of `ids`.
   */
  async answers(
    chain: ChainName,
    ids: readonly Uint8Array[],
    options: Awaitable & { url?: string; waitMs: number },
  ): Promise<readonly Answer[]> {
    const body = encodeCbor({ txs: [...ids], waitms: Math.min(30_000, Math.max(0, Math.trunc(options.waitMs))) })
    const timeoutMs = this.#timeoutMs + options.waitMs
    const work = async (url: string): Promise<readonly Answer[]> => {
      const headers = { 'content-type': 'application/cbor' }
      const answer = await this.#call(url, `/v1/${chain}/answers`, { body, headers, timeoutMs, signal: options.signal })
      return this.#onTrail(url, () => this.#answersOf(chain, ids, answer.bytes), options)
    }
    return options.url === undefined ? this.sources.attempt(work) : this.#only(options.url, work)
  }

  /**
   * The verified receipt of a committed transaction (chain SPEC §7), as far as its parts exist.
   *
   * @param options - `isOfAny`: of any node, in place of the first: one alone may leave a part out.
   * @throws {RuntimeError} `ERR_SOURCE_REFUSED` with status 404 while none is published.
   */
  async receipt(
    chain: ChainName,
    id: Uint8Array,
    options: Awaitable & { url?: string; isOfAny?: boolean } = {},
  ): Promise<Uint8Array> {
    const work = async (url: string): Promise<Uint8Array> => {
      const path = `/v1/${chain}/transactions/${toHex(id)}/receipt`
      const { bytes } = await this.#call(url, path, {
        token: this.#options.token !== undefined,
        signal: options.signal,
      })
      return this.#checked(url, () => {
        this.#verifyReceipt(bytes, id)
        return bytes
      })
    }
    if (options.url !== undefined) return this.#only(options.url, work)
    const urls = options.isOfAny === true ? this.sources.candidates() : []
    return this.sources.attempt(work, { hedgeMs, first: urls[Math.floor(Math.random() * urls.length)] })
  }

  /** A page of published blocks that hold or follow leaf `from`: whole blocks, not verified. An empty page = nothing newer. */
  async blocks(
    chain: ChainName,
    from: number,
    options: Awaitable & { limit?: number; url?: string } = {},
  ): Promise<BlockPage> {
    const limit = options.limit === undefined ? '' : `&limit=${options.limit}`
    const work = async (url: string): Promise<BlockPage> => {
      const { bytes } = await this.#call(url, `/v1/${chain}/blocks?from=${from}${limit}`, {
        token: true,
        sizeBytesMax: blocksSizeBytesMax,
        signal: options.signal,
      })
      return this.#checked(url, () => ({ url, frames: parseFrames(bytes) }))
    }
    return options.url === undefined ? this.sources.attempt(work) : this.#only(options.url, work)
  }

  /**
   * Blocks as one node publishes them, for ever: frames are not verified. It ends by throwing when the node goes away,
   * or says nothing for 20 s, or the signal aborts.
   *
   * @param options - `url`: the node to listen to; the best candidate if absent.
   */
  async *stream(
    chain: ChainName,
    from: number,
    options: Awaitable & { url?: string | undefined } = {},
  ): AsyncGenerator<{ url: string; frame: BlockFrame }> {
    const url = options.url ?? this.sources.candidates()[0]
    if (url === undefined) throw new RuntimeError('no source could be used', { code: 'ERR_NO_SOURCE', attempts: [] })
    const silenceMs = this.#options.streamSilenceMs ?? streamSilenceMsMax
    const silence = new AbortController()
    const signal = options.signal === undefined ? silence.signal : AbortSignal.any([options.signal, silence.signal])
    let isListening = true
    // While the consumer is busy nobody listens, and what the node says waits.
    const timer = setTimeout(() => (isListening ? silence.abort() : timer.refresh()), silenceMs)
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    // An abort is passed on by hand: a signal made of others may be collected before it hears of theirs.
    const cancel = (): void => void reader?.cancel().catch(() => {})
    silence.signal.addEventListener('abort', cancel, { once: true })
    options.signal?.addEventListener('abort', cancel, { once: true })
    try {
      const body = await openStream({
        url: `${url}/v1/${chain}/blocks?from=${from}`,
        headers: { accept: 'text/event-stream', ...(await this.#authorization()) },
        timeoutMs: this.#timeoutMs,
        sizeBytesMax: smallSizeBytesMax,
        signal,
      })
      reader = body.getReader()
      options.signal?.throwIfAborted()
      for await (const data of readEvents(reader, () => timer.refresh())) {
        const frame = this.#checked(url, () => parseFrame(decodeCbor(fromBase64(data))))
        isListening = false
        yield { url, frame }
        isListening = true
        timer.refresh()
      }
      throw new RuntimeError(`${url} ended the stream`, {
        code: 'ERR_SOURCE_UNREACHABLE',
        url,
        reason: 'the stream ended',
      })
    } catch (error) {
      options.signal?.throwIfAborted()
      const reason = silence.signal.aborted ? 'silent' : messageOf(error)
      const typed =
        error instanceof RuntimeError
          ? error
          : new RuntimeError(`${url}: ${reason}`, { code: 'ERR_SOURCE_UNREACHABLE', url, reason }, { cause: error })
      this.sources.note(url, typed, silence.signal.aborted ? silenceMs : 0)
      throw typed
    } finally {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', cancel)
      silence.abort()
    }
  }

  /** The note that one node serves as its newest checkpoint; not verified, for whoever looks at each of its lines. */
  async checkpointNote(chain: ChainName, options: Awaitable & { url: string }): Promise<string> {
    const { url, signal } = options
    return this.#only(url, async () => {
      const { bytes } = await this.#call(url, `/${chain}/checkpoint`, { signal })
      return this.#checked(url, () => new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    })
  }

  /** The newest published checkpoint of one node, verified against the policy. */
  async checkpoint(
    chain: ChainName,
    options: Awaitable & { url?: string } = {},
  ): Promise<VerifiedCheckpoint & { url: string; note: string }> {
    const work = (url: string) => this.#checkpointAt(chain, 'checkpoint', url, options)
    return options.url === undefined ? this.sources.attempt(work) : this.#only(options.url, work)
  }

  async #checkpointAt(
    chain: ChainName,
    what: 'checkpoint' | 'witnessed',
    url: string,
    options: Awaitable,
  ): Promise<VerifiedCheckpoint & { url: string; note: string }> {
    const { bytes } = await this.#call(url, `/${chain}/${what}`, { signal: options.signal })
    const note = new TextDecoder().decode(bytes)
    return { ...(await this.verifyCheckpoint(chain, note, url, options)), url, note }
  }

  /** The newest published checkpoint of one node that a witness cosigned, verified as to the quorum alone; undefined while it has none. */
  async witnessed(
    chain: ChainName,
    options: Awaitable = {},
  ): Promise<(VerifiedCheckpoint & { url: string; note: string }) | undefined> {
    try {
      return await this.sources.attempt((url) => this.#checkpointAt(chain, 'witnessed', url, options))
    } catch (error) {
      if (isRuntimeError(error, 'ERR_SOURCE_REFUSED') && error.detail.status === 404) return undefined
      throw error
    }
  }

  /**
   * Verifies a checkpoint that a node served, under the policy that the trail gives its size.
   *
   * @throws {RuntimeError} `ERR_SOURCE_MISBEHAVED`.
   */
  verifyCheckpoint(chain: ChainName, note: string, url: string, options: Awaitable = {}): Promise<VerifiedCheckpoint> {
    return this.#onTrail(url, () => this.trail.verify(chain, note), options)
  }

  /** A tile's bytes, or an entry bundle's; not verified. `path` as chain's `log/tile` writes it (`tile/0/000`). */
  async tile(chain: ChainName, path: string, options: Awaitable & { url?: string } = {}): Promise<Uint8Array> {
    const work = async (url: string): Promise<Uint8Array> => {
      const headers = path.startsWith('tile/entries/') ? await this.#authorization() : {}
      const bounds = { timeoutMs: this.#timeoutMs, sizeBytesMax: tileSizeBytesMax }
      const { signal } = options
      return readPiece({
        url: `${url}/${chain}/${path}`,
        headers,
        ...bounds,
        ...(signal === undefined ? {} : { signal }),
      })
    }
    return options.url === undefined ? this.sources.attempt(work) : this.#only(options.url, work)
  }

  /** A record of the state with its proof, verified: presence or absence under a cosigned checkpoint. */
  async state(chain: ChainName, key: Uint8Array, options: Awaitable & { url?: string } = {}): Promise<VerifiedState> {
    const work = async (url: string): Promise<VerifiedState> => {
      const path = `/v1/${chain}/state?key=${toBase64Url(key)}`
      const { bytes } = await this.#call(url, path, { token: true, signal: options.signal })
      return this.#onTrail(url, () => this.#stateOf(chain, key, parseJson(bytes)), options)
    }
    return options.url === undefined ? this.sources.attempt(work, { hedgeMs }) : this.#only(options.url, work)
  }

  /**
   * As `state`, with what proves it to others: the SEAL at `index` under whose state root `proof` holds.
   *
   * @returns `value` absent: the key is proved to have none.
   */
  async provedState(
    chain: ChainName,
    key: Uint8Array,
    options: Awaitable & { url?: string } = {},
  ): Promise<ProvedState> {
    const work = async (url: string): Promise<ProvedState> => {
      const path = `/v1/${chain}/state?key=${toBase64Url(key)}`
      const { bytes } = await this.#call(url, path, { token: true, signal: options.signal })
      return this.#onTrail(url, () => this.#provedStateOf(chain, key, parseJson(bytes)), options)
    }
    return options.url === undefined ? this.sources.attempt(work, { hedgeMs }) : this.#only(options.url, work)
  }

  /** What a node says of its head (SPEC §1): for people and for status, not verified. */
  async head(
    chain: ChainName,
    options: Awaitable & { url?: string } = {},
  ): Promise<Record<string, unknown> & { url: string }> {
    const work = async (url: string): Promise<Record<string, unknown> & { url: string }> => {
      const { bytes } = await this.#call(url, `/v1/${chain}/head`, { signal: options.signal })
      return this.#checked(url, () => ({ ...parseJson(bytes), url }))
    }
    return options.url === undefined ? this.sources.attempt(work) : this.#only(options.url, work)
  }

  /** A node's list of incidents, directory cards, successions or witnesses: JSON, not verified. */
  async list(
    what: 'incidents' | 'directory' | 'successions' | 'witnesses',
    options: Awaitable & { url?: string } = {},
  ): Promise<readonly unknown[]> {
    const work = async (url: string): Promise<readonly unknown[]> => {
      const { bytes } = await this.#call(url, `/v1/${what}`, {
        token: true,
        sizeBytesMax: blocksSizeBytesMax,
        signal: options.signal,
      })
      return this.#checked(url, () => {
        const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
        if (!Array.isArray(value)) throw new TypeError('no array')
        return value
      })
    }
    return options.url === undefined ? this.sources.attempt(work) : this.#only(options.url, work)
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? 10_000
  }

  async #authorization(): Promise<Record<string, string>> {
    const token = await this.#options.token?.()
    return token === undefined ? {} : { authorization: `Bearer ${token}` }
  }

  async #call(url: string, path: string, options: CallOptions): Promise<HttpAnswer> {
    const headers = { ...options.headers, ...(options.token === true ? await this.#authorization() : {}) }
    return sendRequest({
      url: `${url}${path}`,
      method: options.body === undefined ? 'GET' : 'POST',
      headers,
      timeoutMs: options.timeoutMs ?? this.#timeoutMs,
      sizeBytesMax: options.sizeBytesMax ?? smallSizeBytesMax,
      ...(options.body === undefined ? {} : { body: options.body }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.accepted === undefined ? {} : { accepted: options.accepted }),
    })
  }

  /** One source alone, with its conduct noted. */
  async #only<T>(url: string, work: (url: string) => Promise<T>): Promise<T> {
    const sinceMs = this.#now()
    try {
      return await work(url)
    } catch (error) {
      this.sources.note(url, error, Math.max(0, this.#now() - sinceMs))
      throw error
    }
  }

  /** The policy trail that this client goes by. */
  get trail(): PolicyTrail {
    return this.#options.trust.trail
  }

  /**
   * Takes the steps of the policy trail that a node has and this client lacks.
   *
   * @throws {RuntimeError} `ERR_SOURCE_MISBEHAVED` for a trail that does not hold.
   */
  async refreshTrail(url: string, options: Awaitable = {}): Promise<void> {
    const { trail } = this
    const { bytes } = await this.#call(url, '/v1/trail', {
      signal: options.signal,
      sizeBytesMax: blocksSizeBytesMax,
    })
    this.#checked(url, () => {
      for (const step of parseTrail(bytes)) if (!trail.knows(step)) trail.extend(step)
    })
  }

  /** As `#checked`, once more if the node shows that the policy has changed since this client looked. */
  async #onTrail<T>(url: string, read: () => T, { signal }: Awaitable): Promise<T> {
    const known = this.trail.steps.length
    try {
      return this.#checked(url, read)
    } catch (error) {
      await this.refreshTrail(url, signal === undefined ? {} : { signal }).catch(() => {})
      signal?.throwIfAborted()
      // Another question may have brought the steps meanwhile.
      if (this.trail.steps.length === known) throw error
      return this.#checked(url, read)
    }
  }

  /** Whatever fails while an answer is read or verified is the source's fault. */
  #checked<T>(url: string, read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (isRuntimeError(error, 'ERR_SOURCE_MISBEHAVED')) throw error
      throw misbehaved(url, messageOf(error), error)
    }
  }

  #verifyReceipt(bytes: Uint8Array, id: Uint8Array): void {
    const { transactionId } = verifyReceipt({ bytes, ledgerId: this.#options.trust.genesis.ledgerId })
    if (!equalBytes(transactionId, id)) throw new TypeError('a receipt of another transaction')
  }

  /** Reads `[statement, signature]` of a gateway, and checks the signature with its node key. */
  #signed<N extends 'accepted' | 'refused' | 'deferred'>(
    name: N,
    value: CborValue | undefined,
    chain: ChainName,
  ): { says: Statements[N]; evidence: Uint8Array } {
    const signed = signedOf(value)
    const { gateway, chain: number } = parseStatement(name, signed.statement) as { gateway: Uint8Array; chain: number }
    if (number !== chains[chain]) throw new TypeError('a statement about another chain')
    const publicKey = this.#options.trust.nodeKeyOf(gateway)
    if (publicKey === undefined) throw new TypeError('signed by no node of the policy')
    const says = verifyStatement({ name, signed, ledgerId: this.#options.trust.genesis.ledgerId, publicKey })
    return { says, evidence: evidenceOf(signed) }
  }

  #refusal(value: CborValue | undefined, chain: ChainName): SignedRefusal & { id: Uint8Array } {
    const { says, evidence } = this.#signed('refused', value, chain)
    return { id: says.tx, rule: ruleOfText(says.rule), height: says.height, stateRoot: says.st, evidence }
  }

  #submissionOf(url: string, chain: ChainName, transactions: readonly Submitted[], answer: HttpAnswer): Submission {
    const value = decodeCbor(answer.bytes)
    if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) throw new TypeError('no map')
    const refused = new Map<string, SignedRefusal>()
    if (!Array.isArray(value.refused)) throw new TypeError('no list of refusals')
    for (const item of value.refused) {
      const { id, ...refusal } = this.#refusal(item, chain)
      refused.set(toHex(id), refusal)
    }
    const promised = new Set<string>()
    let deadlineMs = this.#now()
    let evidence: Uint8Array | undefined
    if (value.promise !== undefined) {
      const promise = this.#signed('accepted', value.promise, chain)
      for (const id of promise.says.txs) promised.add(toHex(id))
      // A gateway cannot keep its client waiting by naming a distant day.
      deadlineMs = Math.min(promise.says.deadline, this.#now() + promiseMsMax)
      evidence = promise.evidence
    }
    for (const { id } of transactions) {
      if (!promised.has(toHex(id)) && !refused.has(toHex(id))) throw new TypeError('neither promised nor refused')
    }
    return { url, deadlineMs, refused, ...(evidence === undefined ? {} : { promise: evidence }) }
  }

  #answersOf(chain: ChainName, ids: readonly Uint8Array[], bytes: Uint8Array): readonly Answer[] {
    const value = decodeCbor(bytes)
    if (!Array.isArray(value) || value.length !== ids.length) throw new TypeError('another number of answers')
    return value.map((item, i) => this.#answerOf(chain, ids[i] as Uint8Array, item))
  }

  #answerOf(chain: ChainName, id: Uint8Array, item: CborValue): Answer {
    if (!Array.isArray(item)) throw new TypeError('not an answer')
    const [kind, first, second, third] = item
    if (kind === 0) return { status: 'unknown' }
    if (kind === 1) return { status: 'pending' }
    if (kind === 2 && typeof first === 'number' && typeof second === 'number' && typeof third === 'number') {
      return { status: 'committed', index: first, height: second, size: third }
    }
    if (kind === 3) {
      const { id: refusedId, ...refusal } = this.#refusal([first as CborValue, second as CborValue], chain)
      if (!equalBytes(refusedId, id)) throw new TypeError('a refusal of another transaction')
      return { status: 'refused', ...refusal }
    }
    if (kind === 4) {
      const { says, evidence } = this.#signed('deferred', [first as CborValue, second as CborValue], chain)
      if (!equalBytes(says.tx, id)) throw new TypeError('a deferral of another transaction')
      return { status: 'deferred', missing: says.missing, height: says.height, evidence }
    }
    throw new TypeError('not an answer')
  }

  #stateOf(chain: ChainName, key: Uint8Array, json: Record<string, unknown>): VerifiedState {
    const { height, index, value, checkpoint } = this.#provedStateOf(chain, key, json)
    return { height, size: index + 1, checkpoint, ...(value === undefined ? {} : { value }) }
  }

  #provedStateOf(chain: ChainName, key: Uint8Array, json: Record<string, unknown>): ProvedState {
    const seal = fromBase64(textOf(json.seal))
    const { policy } = this.trail.verify(chain, parseProof(textOf(json.inclusion)).checkpoint)
    const proved = verifyProof({ proof: textOf(json.inclusion), leaf: seal, origin: this.origin(chain), policy })
    const { h: height, st: root } = parseSealLeaf(seal)
    const given = json.proof as { siblings?: unknown; leaf?: unknown } | undefined
    if (given === undefined || !Array.isArray(given.siblings)) throw new TypeError('no proof')
    const siblings = given.siblings.map((text) => fromBase64(textOf(text)))
    const pair = Array.isArray(given.leaf) ? given.leaf.map((text) => fromBase64(textOf(text))) : []
    const [pathHash, valueHash] = pair
    const proof =
      pathHash === undefined || valueHash === undefined ? { siblings } : { siblings, leaf: { pathHash, valueHash } }
    const value = json.value === null || json.value === undefined ? undefined : fromBase64(textOf(json.value))
    verifyStateProof({ key, value, proof, root })
    const { index, ...checkpoint } = proved
    return { height, index, seal, proof, checkpoint, ...(value === undefined ? {} : { value }) }
  }
}

/**
 * A kept statement (`Submission.promise`, `SignedRefusal.evidence`), not verified.
 *
 * @throws {EncodingError}, {TypeError} for anything else.
 */
export function readStatement(evidence: Uint8Array): SignedStatement {
  return signedOf(decodeCbor(evidence))
}

/** A kept refusal (`SignedRefusal.evidence`) for people and for JSON; its signature was verified when it came. */
export function readRefusal(evidence: Uint8Array): {
  rule: string
  height: number
  stateRoot: Uint8Array
  signature: Uint8Array
} {
  const { statement, signature } = readStatement(evidence)
  const { rule, height, st } = parseStatement('refused', statement)
  return { rule: ruleOfText(rule), height, stateRoot: st, signature }
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('no text')
  return value
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  if (typeof value !== 'object' || value === null) throw new TypeError('no object')
  return value as Record<string, unknown>
}
