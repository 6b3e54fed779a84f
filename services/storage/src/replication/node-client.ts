/**
 * What one store asks of another over HTTP, with its own store token: keep a copy, sign a receipt, give up or pin for an
 * account. The routes are those of src/routes/replicas.ts.
 */
import type { IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { SigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import { storeKeyNumber } from '../access/authorizer.ts'
import type { Member, Members } from '../access/members.ts'
import { isStorageError, StorageError } from '../errors.ts'
import { HttpAgent, httpRequest } from '../http.ts'
import type { PayloadHeader } from '../ownership.ts'
import type { BelowList } from '../store/below-list.ts'
import { type BlockId, encodeBlockId, isCodec } from '../store/block-id.ts'
import type { PinEntry, PinsListed } from '../store/entries.ts'
import type { BelowEntry, Reference, Retraction } from '../store/operations.ts'
import { stampsOf } from '../store/pin-stamps.ts'
import { Batcher } from './batcher.ts'
import {
  answerSignatureHeader,
  matchReceipt,
  parseReceipt,
  type Receipt,
  verifyAnswer,
  verifyReceipt,
} from './receipt.ts'
import { UnderWay } from './under-way.ts'

/** Largest request that carries copies: one block more than a batch aims at, and what surrounds them. */
export const replicasBodyBytesMax = 7 * 1024 * 1024
/** Each word has two of a store's files walked, at worst: fewer than it takes. */
const wordLimits = { requests: 2, items: 32, bytes: 32_768, bytesBeside: 1, restMsMax: 0 }
/** Copies: a request costs two stores about half a ms, a signature and its check among it, so that small ones share it. */
const copyLimits = { requests: 2, items: 256, bytes: 4 * 1024 * 1024, bytesBeside: 512 * 1024, restMsMax: 4 }
/** Most references that one copy brings. */
export const referencesPerCopyMax = 256
/** Most digests of one question to another node. */
export const digestsPerCheckMax = 256
const answerBytesMax = 1024 * 1024
const requestTimeoutMs = 5_000
/** In place of whether a release is forced: it takes nothing but what was made at that very time. */
export const retractForce = 4

/** Codes that a refusal keeps when another node gives it. */
const carriedCodes = new Set([
  'ERR_BLOCK_ERASED',
  'ERR_BLOCK_RELEASED',
  'ERR_BLOCK_SEALED',
  'ERR_BLOCK_PINNED',
  'ERR_QUOTA_EXCEEDED',
  'ERR_STORE_FULL',
  'ERR_SIGNATURE_NEEDED',
  'ERR_ORDER_INVALID',
  'ERR_NOT_OWNER',
])

/** A copy as it is handed over. */
export interface ReplicaRequest {
  id: BlockId
  bytes: Uint8Array
  references: Reference[]
  handoff: Uint8Array[]
  /** Whose it is, for a node of a file. */
  header?: PayloadHeader
}

/** A copy on its way; with `isPut` an account's quota must allow it, and a receipt is wanted. */
interface CopyItem {
  member: Member
  request: ReplicaRequest
  isPut: boolean
}

interface Answer {
  status: number
  body: Buffer
  /** {@link answerSignatureHeader}, as it came. */
  signature: string
  /** When it was given by the other store's clock, as HTTP has it. */
  date: string
}

/** Clocks that differ by more than this are named where a token was refused: such a token seems to be of another time. */
const clockDifferenceMsMax = 30_000
/** Longest reason of another store's that is kept. */
const reasonLengthMax = 100

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > answerBytesMax) throw new TypeError('the answer is too long')
    chunks.push(chunk)
  }
  const signature = String(response.headers[answerSignatureHeader] ?? '')
  const { date = '' } = response.headers
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks), signature, date }
}

/** A reference as it travels with a copy. */
function referenceToCbor(reference: Reference): CborValue {
  const { account, at, pin, pins, again } = reference
  if (pins === undefined && again === undefined) return [account, at, pin]
  const { direct, recursive, removed } = stampsOf(reference)
  return [account, at, pin, direct, recursive, removed, ...(again === undefined ? [] : [again])]
}

/** This node's voice towards the others. */
export class NodeClient {
  /** What is handed over of references that are kept here. */
  readonly underWay = new UnderWay()
  readonly #options: { members: Members; key: SigningKey; account: Uint8Array; now: () => number }
  /** Gives the token for a member, by its account. */
  readonly #tokens = new Map<string, () => string>()
  readonly #batchers = new Map<string, Batcher<CopyItem, Receipt | true>>()
  readonly #words = new Map<string, Batcher<{ member: Member; word: Uint8Array }, true>>()
  readonly #agents = {
    http: new HttpAgent({ keepAlive: true, maxSockets: 64 }),
    https: new HttpsAgent({ keepAlive: true, maxSockets: 64 }),
  }

  constructor(options: { members: Members; key: SigningKey; account: Uint8Array; now: () => number }) {
    this.#options = options
  }

  /** Closes idle connections. */
  close(): void {
    this.#agents.http.destroy()
    this.#agents.https.destroy()
  }

  /**
   * Has a member keep a block that an account puts.
   *
   * @returns its receipt: the copy is durable there. The member has signed the answer in which it came, and that is
   *   checked; the receipt's own signature is for whoever relies on it to check.
   * @throws {StorageError} the refusal's own code where another node would refuse too, else `ERR_NODE_REFUSED`.
   */
  async place(member: Member, request: ReplicaRequest): Promise<Receipt> {
    const receipt = await this.#hand({ member, request, isPut: true })
    if (receipt === true) throw this.#refused(member, 0, 'no receipt')
    return matchReceipt(receipt, {
      digest: request.id.digest,
      size: request.bytes.length,
      store: member.account,
    })
  }

  /**
   * Hands a member a copy that it lacks. When it resolves the copy is durable there. Throws as {@link place};
   * `ERR_BLOCK_RELEASED` if all accounts that it names have given the block up.
   */
  async copy(member: Member, request: ReplicaRequest): Promise<void> {
    const { references } = request
    const pages: Reference[][] = [references.slice(0, referencesPerCopyMax)]
    for (let at = referencesPerCopyMax; at < references.length; at += referencesPerCopyMax) {
      pages.push(references.slice(at, at + referencesPerCopyMax))
    }
    // All at once: what is not on its way yet may be taken back meanwhile.
    const copies = pages.map((page) => this.#hand({ member, request: { ...request, references: page }, isPut: false }))
    const handed = await this.#fly(member, request.id, () => Promise.allSettled(copies))
    const refused = handed.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
    const failed = refused.find((error) => !isStorageError(error, 'ERR_BLOCK_RELEASED'))
    if (failed !== undefined || refused.length === pages.length) throw failed ?? refused[0]
  }

  /** Something is handed over that was read in the tables here in this turn. */
  async #fly<T>(member: Member, { digest }: BlockId, act: () => Promise<T>): Promise<T> {
    const flight = this.underWay.begin(digest, member.account)
    try {
      return await act()
    } finally {
      this.underWay.end(flight)
    }
  }

  #hand(item: CopyItem): Promise<Receipt | true> {
    const name = toHex(item.member.account)
    let batcher = this.#batchers.get(name)
    if (!batcher) {
      batcher = new Batcher((items) => this.#placeAll(items), copyLimits)
      this.#batchers.set(name, batcher)
    }
    return batcher.add(item, item.request.bytes.length, item.isPut)
  }

  /** One request with the copies for one member, whose address may have changed since the first was asked for. */
  async #placeAll(items: CopyItem[]): Promise<(Receipt | true | Error)[]> {
    const member = items.at(-1)?.member as Member
    const copies = items.map(({ isPut, request: { id, bytes, references, handoff, header } }) => [
      id.digest,
      id.codec,
      references.map(referenceToCbor),
      handoff,
      isPut ? 1 : 0,
      bytes,
      header ? [header.owner, header.writer, header.stream, header.sequence] : [],
    ])
    const answer = await this.#askSigned(member, '/v1/replicas', encodeCbor(copies))
    if (!Array.isArray(answer) || answer.length !== items.length) throw this.#refused(member, 0, 'malformed answer')
    return answer.map((one) => {
      if (one === 1) return true
      return typeof one === 'string' ? this.#refusal(member, one.toUpperCase(), one) : parseReceipt(one)
    })
  }

  /** Which of the blocks a member has: 0 absent, 1 present, 2 erased. */
  async check(member: Member, digests: readonly Uint8Array[]): Promise<number[]> {
    const answer = await this.#send(member, '/v1/replicas/check', encodeCbor([...digests]))
    const states = decodeCbor(answer)
    if (!Array.isArray(states) || states.length !== digests.length) throw this.#refused(member, 0, 'malformed answer')
    return states.map(Number)
  }

  /** Of blocks, at most {@link digestsPerCheckMax}: whether an account keeps them at a member. */
  async kept(member: Member, account: Uint8Array, digests: readonly Uint8Array[]): Promise<boolean[]> {
    const answer = decodeCbor(await this.#send(member, '/v1/replicas/kept', encodeCbor([account, [...digests]])))
    if (!Array.isArray(answer) || answer.length !== digests.length) throw this.#refused(member, 0, 'malformed answer')
    return answer.map((one) => one === 1)
  }

  /** Has a member prove that it has blocks: its answers, in their order, to be held against the blocks here. */
  async prove(member: Member, nonce: Uint8Array, digests: readonly Uint8Array[]): Promise<CborValue[]> {
    const answers = decodeCbor(await this.#send(member, '/v1/replicas/prove', encodeCbor([nonce, [...digests]])))
    if (!Array.isArray(answers) || answers.length !== digests.length) throw this.#refused(member, 0, 'malformed answer')
    return answers
  }

  /** Has a member verify its copy and sign for it. */
  async receipt(member: Member, id: BlockId, size: number): Promise<Receipt> {
    const answer = await this.#send(member, `/v1/replicas/${encodeBlockId(id)}/receipt`)
    const expected = { members: this.#options.members, digest: id.digest, size }
    return await verifyReceipt(parseReceipt(decodeCbor(answer)), expected)
  }

  /** Gives up an account's reference at a member. @returns whether there was one. */
  async release(
    member: Member,
    id: BlockId,
    entry: { account: Uint8Array; at: number; force: boolean; token?: string | undefined },
  ): Promise<boolean> {
    const { account, at, force, token } = entry
    const body = encodeCbor([account, at, force ? 1 : 0, ...(token === undefined ? [] : [encodeUtf8(token)])])
    return decodeCbor(await this.#send(member, `/v1/replicas/${encodeBlockId(id)}/release`, body)) === 1
  }

  /** Takes back a reference that one request made, as {@link BlockStore.retract}. */
  async retract(member: Member, id: BlockId, entry: Retraction & { token?: string | undefined }): Promise<boolean> {
    const { account, at, token, since, pinnedAt = 0 } = entry
    const shown = token === undefined ? 0 : encodeUtf8(token)
    const body = encodeCbor([account, at, retractForce, shown, ...(since === undefined ? [] : [since, pinnedAt])])
    return decodeCbor(await this.#send(member, `/v1/replicas/${encodeBlockId(id)}/release`, body)) === 1
  }

  /**
   * Pins (1, 2), unpins (0) or keeps without a pin (3) for an account at a member.
   *
   * @param enforceQuota - false where it was done elsewhere already.
   * @returns as `Pins.setHere`.
   */
  async pin(member: Member, id: BlockId, reference: Reference, enforceQuota = true): Promise<number> {
    const { account, at, pin } = reference
    const body = encodeCbor([account, at, pin, enforceQuota ? 1 : 0])
    const ask = (): Promise<Uint8Array> => this.#send(member, `/v1/replicas/${encodeBlockId(id)}/pin`, body)
    const answer = decodeCbor(await (enforceQuota ? ask() : this.#fly(member, id, ask)))
    if (typeof answer !== 'number') throw this.#refused(member, 0, 'malformed answer')
    return answer
  }

  /** Tells a member of pins that were set or taken away; of blocks that it does not have it takes no notice. */
  async tellPins(member: Member, pins: readonly { id: BlockId; reference: Reference }[]): Promise<void> {
    const body = pins.map(({ id, reference }) => [id.digest, id.codec, referenceToCbor(reference)])
    await this.#send(member, '/v1/replicas/pins/tell', encodeCbor(body))
  }

  /**
   * Tells a member of an erasure; what is told at the same time shares a request. When it resolves the member has carried
   * it out. Throws its refusal as {@link place}.
   */
  async tell(member: Member, word: Uint8Array): Promise<void> {
    const name = toHex(member.account)
    let batcher = this.#words.get(name)
    if (!batcher) {
      batcher = new Batcher((items) => this.#tellAll(items), wordLimits)
      this.#words.set(name, batcher)
    }
    await batcher.add({ member, word }, word.length)
  }

  async #tellAll(items: { member: Member; word: Uint8Array }[]): Promise<(true | Error)[]> {
    const member = items.at(-1)?.member as Member
    const body = encodeCbor(items.map(({ word }) => word))
    const answer = decodeCbor(await this.#send(member, '/v1/replicas/words', body))
    if (!Array.isArray(answer) || answer.length !== items.length) throw this.#refused(member, 0, 'malformed answer')
    return answer.map((one) => (one === 1 ? true : this.#refusal(member, String(one).toUpperCase(), String(one))))
  }

  /**
   * What a member gave up by a word: digests after `after` in their order; none are left after an empty page. Undefined if
   * it has not carried it out, or laid tombstones by it.
   */
  async givenUp(
    member: Member,
    word: { digest: Uint8Array; account: Uint8Array; at: number },
    after: Uint8Array,
  ): Promise<Uint8Array[] | undefined> {
    const { digest, account, at } = word
    const value = await this.#askSigned(member, '/v1/replicas/given-up', encodeCbor([digest, account, at, after]))
    if (value === 0) return undefined
    const digests = Array.isArray(value) ? value.filter((one) => one instanceof Uint8Array) : []
    const isOrdered = digests.every((one, index) => Buffer.compare(one, digests[index - 1] ?? after) > 0)
    const isMalformed = !Array.isArray(value) || digests.length !== value.length
    if (isMalformed || !isOrdered || digests.some((one) => one.length !== 32))
      throw this.#refused(member, 0, 'malformed answer')
    return digests.map((one) => one.slice())
  }

  /** A member's words after number `after`, oldest first; none are left after an empty page. */
  async words(member: Member, after: number): Promise<{ id: number; bytes: Uint8Array }[]> {
    const value = decodeCbor(await this.#send(member, '/v1/replicas/words/list', encodeCbor([after])))
    if (!Array.isArray(value)) throw this.#refused(member, 0, 'malformed answer')
    let last = after
    return value.map((item) => {
      const [id, bytes] = Array.isArray(item) ? item : []
      const isNext = typeof id === 'number' && id > last
      if (!isNext || !(bytes instanceof Uint8Array)) throw this.#refused(member, 0, 'malformed answer')
      last = id
      return { id, bytes }
    })
  }

  /**
   * What a member says lies below roots that are erased, as {@link words}.
   *
   * @param list - `tombstones` of what is erased there, `below` of what the member does not keep.
   */
  async below(member: Member, list: BelowList, after: number): Promise<(BelowEntry & { id: number })[]> {
    const value = decodeCbor(await this.#send(member, `/v1/replicas/${list}/list`, encodeCbor([after, 1])))
    if (!Array.isArray(value)) throw this.#refused(member, 0, 'malformed answer')
    let previous = after
    return value.map((item) => {
      const [id, ...rest] = Array.isArray(item) ? item : []
      const last = rest.at(-1)
      const at = typeof last === 'number' ? { at: last } : {}
      const named = typeof last === 'number' ? rest.slice(0, -1) : rest
      const [digest, root, owner, writer] = parseDigests(named).map((one) => one.slice())
      const isNext = typeof id === 'number' && id > previous
      if (!isNext || !digest || !root || (list === 'below' && !(owner && writer))) {
        throw this.#refused(member, 0, 'malformed answer')
      }
      previous = id
      return { id, digest, root, ...(owner ? { owner } : {}), ...(list === 'below' && writer ? { writer } : {}), ...at }
    })
  }

  /** One page of an account's pins at a member, as {@link BlockStore.pins}. */
  async pins(member: Member, account: Uint8Array, after: Uint8Array, kind: PinsListed): Promise<PinEntry[]> {
    const question = encodeCbor([account, after, kind === 'recursive' ? 2 : 0])
    const value = decodeCbor(await this.#send(member, '/v1/replicas/pins', question))
    if (!Array.isArray(value)) throw this.#refused(member, 0, 'malformed answer')
    let last = after
    return value.map((entry) => {
      const [digest, codec, pin] = Array.isArray(entry) ? entry : []
      if (!(digest instanceof Uint8Array) || digest.length !== 32 || !isCodec(codec) || (pin !== 1 && pin !== 2)) {
        throw this.#refused(member, 0, 'malformed answer')
      }
      // Whoever reads on after the last one comes to an end.
      if (Buffer.compare(digest, last) <= 0) throw this.#refused(member, 0, 'pins that are not in their order')
      last = digest
      return { digest, codec, pin }
    })
  }

  #refused(member: Member, status: number, reason: string, cause?: unknown): StorageError {
    const node = toHex(member.account)
    const detail = { code: 'ERR_NODE_REFUSED', node, status, reason } as const
    return new StorageError(`store ${node.slice(0, 8)} did not do it: ${reason}`, detail, { cause })
  }

  #token(member: Member): string {
    const name = toHex(member.account)
    let source = this.#tokens.get(name)
    if (!source) {
      const { key: signingKey, account, now, members } = this.#options
      source = createTokenSource({
        ledgerId: members.ledgerId,
        account,
        keyNumber: storeKeyNumber,
        signingKey,
        scope: 'storage',
        audience: member.account,
        now,
      })
      this.#tokens.set(name, source)
    }
    return source()
  }

  /** An answer that the member has signed. @throws {StorageError} `ERR_RECEIPT_INVALID` if it has not. */
  async #askSigned(member: Member, path: string, request: Uint8Array): Promise<CborValue> {
    const { body, signature: text } = await this.#ask(member, path, request)
    const { ledgerId } = this.#options.members
    const signature = Buffer.from(text, 'base64url')
    await verifyAnswer({ ledgerId, request, answer: body, signature }, member.storeKey)
    return decodeCbor(body)
  }

  async #send(member: Member, path: string, body: Uint8Array = new Uint8Array(0)): Promise<Buffer> {
    return (await this.#ask(member, path, body)).body
  }

  async #ask(member: Member, path: string, body: Uint8Array): Promise<Answer> {
    if (member.url === '') throw this.#refused(member, 0, 'address unknown')
    let answer: Answer
    try {
      answer = await this.#exchange(member, path, body)
    } catch (cause) {
      throw this.#refused(member, 0, 'unreachable', cause)
    }
    if (answer.status === 200) return answer
    let reason = ''
    let message = ''
    try {
      const problem = JSON.parse(answer.body.toString('utf8')) as { Message?: unknown; Reason?: unknown }
      reason = String(problem.Reason)
      message = String(problem.Message)
    } catch {
      reason = 'no reason given'
    }
    if (reason === 'ERR_TOKEN_INVALID') reason += this.#clockDifference(answer)
    throw this.#refusal(member, reason.slice(0, reasonLengthMax), message, answer.status)
  }

  /** What may be why a store refuses this one's tokens. */
  #clockDifference({ date }: Answer): string {
    const aheadMs = Date.parse(date) - this.#options.now()
    if (!(Math.abs(aheadMs) > clockDifferenceMsMax)) return ''
    return ` (its clock is ${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} this one's)`
  }

  /** A refusal as another node gave it: under its own code where every node would refuse. */
  #refusal(member: Member, reason: string, message: string, status = 0): StorageError {
    if (!carriedCodes.has(reason)) return this.#refused(member, status, reason)
    const isNoRoom = reason === 'ERR_QUOTA_EXCEEDED' || reason === 'ERR_STORE_FULL'
    const detail = isNoRoom ? { bytesMax: 0 } : { cid: '' }
    return new StorageError(message, { code: reason, ...detail } as StorageError['detail'])
  }

  #exchange(member: Member, path: string, body: Uint8Array): Promise<Answer> {
    const url = new URL(member.url + path)
    const isSecure = url.protocol === 'https:'
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const options = {
      method: 'POST',
      agent: isSecure ? this.#agents.https : this.#agents.http,
      signal: AbortSignal.timeout(requestTimeoutMs),
      headers: {
        authorization: `Bearer ${this.#token(member)}`,
        'content-type': 'application/octet-stream',
        'content-length': body.length,
      },
    }
    const request = isSecure ? httpsRequest(url, options) : httpRequest(url, options)
    request.on('response', (response) => {
      readAnswer(response).then(resolve, reject)
    })
    request.on('error', reject)
    request.end(body)
    return promise
  }
}

/** Digest lists as they travel in {@link NodeClient.check}. @throws {StorageError} `ERR_ARGUMENT_INVALID`. */
export function parseDigests(value: CborValue): Uint8Array[] {
  if (Array.isArray(value) && value.length <= digestsPerCheckMax) {
    const digests = value.filter((one) => one instanceof Uint8Array).filter((one) => one.length === 32)
    if (digests.length === value.length) return digests
  }
  const detail = { code: 'ERR_ARGUMENT_INVALID', field: 'body', reason: 'not a list of digests' } as const
  throw new StorageError('not a list of digests', detail)
}
