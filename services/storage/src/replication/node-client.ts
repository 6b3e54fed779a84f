/**
 * What one store asks of another over HTTP, with its own store token: keep a copy, sign a receipt, give up or pin for an
 * account. The routes are those of src/routes/replicas.ts.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { SigningKey } from '@healthblock/crypto/signature'
import { toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import type { Member, Members } from '../access/members.ts'
import { createStoreToken } from '../access/token.ts'
import { StorageError } from '../errors.ts'
import { type BlockId, encodeBlockId } from '../store/block-id.ts'
import type { PinEntry } from '../store/block-store.ts'
import type { Reference } from '../store/operations.ts'
import { parseReceipt, type Receipt, verifyReceipt } from './receipt.ts'

/** The header that tells a holder what belongs to a copy: base64url CBOR `{refs: [[account, at, pin]], handoff: [account], quota: 0|1}`. */
export const replicaHeader = 'healthblock-replica'
/** Most digests of one question to another node. */
export const digestsPerCheckMax = 256
const answerBytesMax = 1024 * 1024
const requestTimeoutMs = 5_000
const tokenLifeMs = 3600_000
const tokenRenewMs = 1800_000

/** Codes that a refusal keeps when another node gives it. */
const carriedCodes = new Set([
  'ERR_BLOCK_ERASED',
  'ERR_BLOCK_RELEASED',
  'ERR_BLOCK_SEALED',
  'ERR_BLOCK_PINNED',
  'ERR_QUOTA_EXCEEDED',
])

/** A copy as it is handed over. */
export interface ReplicaRequest {
  id: BlockId
  bytes: Uint8Array
  references: Reference[]
  handoff: Uint8Array[]
  enforceQuota: boolean
}

interface Answer {
  status: number
  body: Buffer
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > answerBytesMax) throw new TypeError('the answer is too long')
    chunks.push(chunk)
  }
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks) }
}

/** This node's voice towards the others. */
export class NodeClient {
  readonly #options: { members: Members; key: SigningKey; account: Uint8Array; now: () => number }
  readonly #tokens = new Map<string, { token: string; renewAt: number }>()
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
   * Hands a copy to a member.
   *
   * @returns its receipt, verified: the copy is durable there.
   * @throws {StorageError} the refusal's own code where another node would refuse too, else `ERR_NODE_REFUSED`.
   */
  async place(member: Member, request: ReplicaRequest): Promise<Receipt> {
    const { id, bytes, references, handoff, enforceQuota } = request
    const meta = {
      refs: references.map(({ account, at, pin }) => [account, at, pin]),
      handoff,
      quota: enforceQuota ? 1 : 0,
    }
    const answer = await this.#send(member, 'PUT', `/v1/replicas/${encodeBlockId(id)}`, bytes, {
      [replicaHeader]: toBase64Url(encodeCbor(meta)),
    })
    const expected = { members: this.#options.members, digest: id.digest, size: bytes.length }
    return verifyReceipt(parseReceipt(decodeCbor(answer)), expected)
  }

  /** Which of the blocks a member has: 0 absent, 1 present, 2 erased. */
  async check(member: Member, digests: readonly Uint8Array[]): Promise<number[]> {
    const answer = await this.#send(member, 'POST', '/v1/replicas/check', encodeCbor([...digests]))
    const states = decodeCbor(answer)
    if (!Array.isArray(states) || states.length !== digests.length) throw this.#refused(member, 0, 'malformed answer')
    return states.map(Number)
  }

  /** Has a member verify its copy and sign for it. */
  async receipt(member: Member, id: BlockId, size: number): Promise<Receipt> {
    const answer = await this.#send(member, 'POST', `/v1/replicas/${encodeBlockId(id)}/receipt`)
    const expected = { members: this.#options.members, digest: id.digest, size }
    return verifyReceipt(parseReceipt(decodeCbor(answer)), expected)
  }

  /** Gives up an account's reference at a member. @returns whether there was one. */
  async release(
    member: Member,
    id: BlockId,
    entry: { account: Uint8Array; at: number; force: boolean },
  ): Promise<boolean> {
    const { account, at, force } = entry
    const body = encodeCbor([account, at, force ? 1 : 0])
    return decodeCbor(await this.#send(member, 'POST', `/v1/replicas/${encodeBlockId(id)}/release`, body)) === 1
  }

  /** Pins (1, 2) or unpins (0) for an account at a member. @returns whether the member has the block, or had the pin. */
  async pin(member: Member, id: BlockId, reference: Reference): Promise<boolean> {
    const { account, at, pin } = reference
    const body = encodeCbor([account, at, pin])
    return decodeCbor(await this.#send(member, 'POST', `/v1/replicas/${encodeBlockId(id)}/pin`, body)) === 1
  }

  /** One page of an account's pins at a member. */
  async pins(member: Member, account: Uint8Array, after: Uint8Array): Promise<PinEntry[]> {
    const value = decodeCbor(await this.#send(member, 'POST', '/v1/replicas/pins', encodeCbor([account, after])))
    if (!Array.isArray(value)) throw this.#refused(member, 0, 'malformed answer')
    return value.map((entry) => {
      const [digest, codec, pin] = Array.isArray(entry) ? entry : []
      if (!(digest instanceof Uint8Array) || digest.length !== 32) throw this.#refused(member, 0, 'malformed answer')
      return { digest, codec: Number(codec), pin: Number(pin) }
    })
  }

  #refused(member: Member, status: number, reason: string, cause?: unknown): StorageError {
    const node = toHex(member.account)
    const detail = { code: 'ERR_NODE_REFUSED', node, status, reason } as const
    return new StorageError(`store ${node.slice(0, 8)} did not do it: ${reason}`, detail, { cause })
  }

  #token(member: Member): string {
    const { key, account, now, members } = this.#options
    const name = toHex(member.account)
    const known = this.#tokens.get(name)
    if (known && known.renewAt > now()) return known.token
    const { ledgerId } = members
    const token = createStoreToken(key, { ledgerId, account, audience: member.account, until: now() + tokenLifeMs })
    this.#tokens.set(name, { token, renewAt: now() + tokenRenewMs })
    return token
  }

  async #send(
    member: Member,
    method: string,
    path: string,
    body: Uint8Array = new Uint8Array(0),
    headers: Record<string, string> = {},
  ): Promise<Buffer> {
    if (member.url === '') throw this.#refused(member, 0, 'address unknown')
    let answer: Answer
    try {
      answer = await this.#exchange(member, method, path, body, headers)
    } catch (cause) {
      throw this.#refused(member, 0, 'unreachable', cause)
    }
    if (answer.status === 200) return answer.body
    let reason = ''
    let message = ''
    try {
      const problem = JSON.parse(answer.body.toString('utf8')) as { Message?: unknown; Reason?: unknown }
      reason = String(problem.Reason)
      message = String(problem.Message)
    } catch {
      reason = 'no reason given'
    }
    if (carriedCodes.has(reason)) {
      const detail = reason === 'ERR_QUOTA_EXCEEDED' ? { bytesMax: 0 } : { cid: '' }
      throw new StorageError(message, { code: reason, ...detail } as StorageError['detail'])
    }
    throw this.#refused(member, answer.status, reason)
  }

  #exchange(
    member: Member,
    method: string,
    path: string,
    body: Uint8Array,
    headers: Record<string, string>,
  ): Promise<Answer> {
    const url = new URL(member.url + path)
    const isSecure = url.protocol === 'https:'
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const options = {
      method,
      agent: isSecure ? this.#agents.https : this.#agents.http,
      signal: AbortSignal.timeout(requestTimeoutMs),
      headers: {
        authorization: `Bearer ${this.#token(member)}`,
        'content-type': 'application/octet-stream',
        'content-length': body.length,
        ...headers,
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
