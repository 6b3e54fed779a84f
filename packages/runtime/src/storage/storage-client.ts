/**
 * Client of the private IPFS (`services/storage`, Kubo RPC). It believes no node: a block is what hashes to its digest,
 * and it is stored when enough different stores have signed that they hold it.
 */
import { createErasureOrder, type ErasureOrder } from '@healthblock/chain/erasure-order'
import { parseStatement, type SignedStatement, verifyStatement } from '@healthblock/chain/statement'
import { sha256 } from '@healthblock/crypto/hash'
import { randomBytes } from '@healthblock/crypto/random'
import { encodeUtf8, equalBytes, fromBase64Url, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor } from '@healthblock/encoding/cbor'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { isRuntimeError, messageOf, RuntimeError } from '../errors.ts'
import {
  type FetchEvidence,
  type FetchPage,
  fetchPageBytesMax,
  fetchPageSizeMax,
  parseFetchPage,
} from '../http/fetch-page.ts'
import { type HttpAnswer, misbehaved, sendRequest } from '../http/http-client.ts'
import { evidenceOf, signedOf } from '../http/signed-form.ts'
import { type QuarantineEvent, Sources } from '../http/sources.ts'

/** Header of `block/put` that carries receipts: base64url of a CBOR array of `[statement, signature]`. */
export const receiptsHeader = 'healthblock-receipts'
/** Most blocks of one {@link StorageClient.erase}. */
export const erasedAtOnceMax = 256
/** Largest block that is stored or fetched. */
export const blockSizeBytesMax = 2 * 1024 * 1024

const codecs = { raw: 0x55, 'dag-pb': 0x70 } as const
const sha256Code = 0x12
const receiptsMax = 64
/** A node that has not answered for so long: the next one is asked beside it. */
const hedgeMs = 2_000
/** Each block is given up at every store. */
const erasureTimeoutMs = 60_000
/** Reasons for which nothing of a block is kept for the account any more. */
const goneReasons: readonly unknown[] = ['ERR_BLOCK_NOT_FOUND', 'ERR_BLOCK_ERASED', 'ERR_NOT_OWNER']
/** Drawn once: nobody who makes blocks can know it. */
const boundary = toHex(randomBytes(24))
const partHead = encodeUtf8(
  `--${boundary}\r\nContent-Disposition: form-data; name="data"; filename="block"\r\nContent-Type: application/octet-stream\r\n\r\n`,
)
const partEnd = encodeUtf8(`\r\n--${boundary}--\r\n`)

/** How the bytes of a block are meant: `raw` for sealed batches and leaves of files, `dag-pb` for roots of files. */
export type BlockCodec = keyof typeof codecs

/** A store's verified word that it holds a block durably. */
export interface VerifiedStorageReceipt {
  /** 32-byte account of the store. */
  readonly store: Uint8Array
  /** 32-byte SHA-256 of the block. */
  readonly digest: Uint8Array
  readonly sizeBytes: number
  /** When the store signed, Unix ms by its clock. */
  readonly ms: number
  /** Canonical CBOR `[statement, signature]`, for dispute bundles. */
  readonly bytes: Uint8Array
}

/** A stored block. */
export interface StoredBlock {
  readonly digest: Uint8Array
  readonly cid: string
  /** At least `receiptsNeeded`, of different stores. */
  readonly receipts: readonly VerifiedStorageReceipt[]
}

/** What one store says of its own copy of a block. */
export type ErasureStanding =
  | { readonly state: 'kept' }
  /** It is served until then, Unix ms, and on the disk until it is removed, which may be later. */
  | { readonly state: 'erasing'; readonly removeAtMs: number }
  | { readonly state: 'gone' }

/** How to make a {@link StorageClient}. */
export interface StorageClientOptions {
  /** Base URLs of storage nodes. */
  readonly urls: readonly string[]
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  /** A bearer token of scope `storage`: `createTokenSource` of `../http/token-guard`. */
  readonly token: () => string | Promise<string>
  /** The key with which a store account signs, in verified state; undefined if it is no store of the policy in force. */
  readonly storeKeyOf: (account: Uint8Array) => Uint8Array | undefined
  /** Signs for what the token's account erases, with its key of that number; `erase` needs it on a ledger. */
  readonly erasing?: Pick<ErasureOrder, 'account' | 'key'> & {
    readonly signingKey: { sign(message: Uint8Array): Uint8Array }
  }
  /** Stores that must have a block before `put` returns, default 2. */
  readonly receiptsNeeded?: number
  /** Time for one exchange, default 10 s. */
  readonly timeoutMs?: number
  readonly now?: () => number
  readonly onQuarantine?: (event: QuarantineEvent) => void
}

/** The CIDv1 text of a SHA-256 digest. */
export function cidOf(digest: Uint8Array, codec: BlockCodec = 'raw'): string {
  return CID.createV1(codecs[codec], createDigest(sha256Code, digest)).toString()
}

/** The block that a CID's text names; undefined if it is not one of SHA-256. */
export function parseCidText(text: string): { digest: Uint8Array; codec: number } | undefined {
  try {
    const { code: codec, multihash } = CID.parse(text)
    return multihash.code === sha256Code ? { digest: multihash.digest, codec } : undefined
  } catch {
    return undefined
  }
}

/** Puts, gets and checks blocks at several storage nodes. */
export class StorageClient {
  readonly sources: Sources
  readonly #options: StorageClientOptions
  readonly #timeoutMs: number
  readonly #receiptsNeeded: number

  constructor(options: StorageClientOptions) {
    this.#options = options
    this.#timeoutMs = options.timeoutMs ?? 10_000
    this.#receiptsNeeded = options.receiptsNeeded ?? 2
    this.sources = new Sources({
      urls: options.urls,
      ...(options.now === undefined ? {} : { now: options.now }),
      ...(options.onQuarantine === undefined ? {} : { onQuarantine: options.onQuarantine }),
    })
  }

  /**
   * Stores a block, at one node after the other until enough stores have signed for it; a node that is silent for 2 s is not waited for alone.
   *
   * @param bytes - 1 to `blockSizeBytesMax` bytes; unchanged until the promise settles.
   * @throws {RuntimeError} `ERR_RECEIPTS_MISSING` if all nodes together gave too few receipts; `ERR_NO_SOURCE`; `ERR_SOURCE_REFUSED` if the block itself was refused.
   */
  async put(bytes: Uint8Array, options: { codec?: BlockCodec; signal?: AbortSignal } = {}): Promise<StoredBlock> {
    if (bytes.length > blockSizeBytesMax) {
      const max = blockSizeBytesMax
      throw new RuntimeError(`a block has at most ${max} bytes`, { code: 'ERR_LIMIT_EXCEEDED', limit: 'block', max })
    }
    const codec = options.codec ?? 'raw'
    const digest = sha256(bytes)
    const cid = cidOf(digest, codec)
    const receipts = new Map<string, VerifiedStorageReceipt>()
    const attempts = async (url: string): Promise<void> => {
      const answer = await this.#putAt(url, { bytes, codec, signal: options.signal })
      if (answeredKey(url, answer) !== cid) throw misbehaved(url, 'another key than the hash of the block')
      for (const receipt of this.#receiptsOf(url, answer, { digest, sizeBytes: bytes.length })) {
        receipts.set(toHex(receipt.store), receipt)
      }
      if (receipts.size < this.#receiptsNeeded) throw tooFew(toHex(digest), receipts.size, this.#receiptsNeeded)
    }
    await this.#attemptAll(attempts)
    return { digest, cid, receipts: [...receipts.values()] }
  }

  /**
   * Fetches a block and checks that it is the one; a node that is silent for 2 s is not waited for alone.
   *
   * @throws {RuntimeError} `ERR_BLOCK_NOT_FOUND` if every node that answered has none; `ERR_NO_SOURCE`.
   */
  async get(digest: Uint8Array, options: { codec?: BlockCodec; signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const cid = cidOf(digest, options.codec)
    const ask = async (url: string): Promise<Uint8Array> => {
      const answer = await this.#call(url, `block/get?arg=${cid}`, { signal: options.signal })
      if (!equalBytes(sha256(answer.bytes), digest)) throw misbehaved(url, `bytes that do not hash to ${cid}`)
      return answer.bytes
    }
    return this.#seek(digest, ask)
  }

  /** @throws {RuntimeError} `ERR_BLOCK_NOT_FOUND` if that is what every node says: of one whose disk fails, say, it is not known. */
  async #seek<T>(digest: Uint8Array, ask: (url: string) => Promise<T>): Promise<T> {
    let isUnknown = false
    const work = (url: string): Promise<T> =>
      ask(url).catch((error: unknown) => {
        isUnknown ||= !isNotFound(error)
        throw error
      })
    return this.sources.attempt(work, { hedgeMs }).catch((error: unknown) => {
      throw isUnknown ? error : asNotFound(error, digest)
    })
  }

  /**
   * Size of a block as one node has it. `url` asks that node alone, `offline` its own disk alone.
   *
   * @returns undefined if it has none.
   */
  async stat(
    digest: Uint8Array,
    options: { codec?: BlockCodec; url?: string; offline?: boolean; signal?: AbortSignal } = {},
  ): Promise<{ sizeBytes: number } | undefined> {
    const cid = cidOf(digest, options.codec)
    const path = `block/stat?arg=${cid}${options.offline === true ? '&offline=true' : ''}`
    const ask = async (url: string): Promise<{ sizeBytes: number }> => {
      const answer = await this.#call(url, path, { signal: options.signal })
      if (answeredKey(url, answer) !== cid) throw misbehaved(url, 'the size of another block')
      const { Size: sizeBytes } = JSON.parse(new TextDecoder().decode(answer.bytes)) as { Size?: unknown }
      if (typeof sizeBytes !== 'number') throw misbehaved(url, 'no size')
      return { sizeBytes }
    }
    try {
      if (options.url === undefined) return await this.#seek(digest, ask)
      return await ask(options.url.replace(/\/$/, ''))
    } catch (error) {
      const isAbsent = options.url === undefined ? isRuntimeError(error, 'ERR_BLOCK_NOT_FOUND') : isNotFound(error)
      if (isAbsent) return undefined
      throw error
    }
  }

  /**
   * What the stores sign now of having a block, as one of them gathers it from all. Nothing is verified here: whoever judges a bundle does.
   *
   * @returns empty if no store that could be asked has it.
   * @throws {RuntimeError} `ERR_NO_SOURCE`.
   */
  async statements(digest: Uint8Array, options: { codec?: BlockCodec } = {}): Promise<SignedStatement[]> {
    const cid = cidOf(digest, options.codec)
    try {
      return await this.#seek(digest, async (url) => {
        const answer = await sendRequest({
          url: `${url}/v1/receipts/${cid}`,
          method: 'POST',
          headers: { authorization: `Bearer ${await this.#options.token()}` },
          timeoutMs: this.#timeoutMs,
          sizeBytesMax: blockSizeBytesMax,
        })
        return receiptItems(url, answer, signedOf)
      })
    } catch (error) {
      if (isRuntimeError(error, 'ERR_BLOCK_NOT_FOUND')) return []
      throw error
    }
  }

  /**
   * Has the storage network erase blocks of the account whose token this client has, or give up its references to them.
   *
   * @param digests - at most {@link erasedAtOnceMax}, of raw blocks.
   * @returns those that are still kept for the account, as far as the node that was asked knows.
   * @throws {RuntimeError} `ERR_NO_SOURCE`.
   */
  async erase(digests: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const byCid = new Map(digests.map((digest) => [cidOf(digest), digest]))
    const orders = [...byCid.values()].flatMap((digest) => this.#ordersFor(digest))
    const body = JSON.stringify({ cids: [...byCid.keys()], ...(orders.length > 0 ? { orders } : {}) })
    return await this.sources.attempt(async (url) => {
      const answer = await sendRequest({
        url: `${url}/v1/erasures`,
        method: 'POST',
        headers: { authorization: `Bearer ${await this.#options.token()}`, 'content-type': 'application/json' },
        body,
        timeoutMs: erasureTimeoutMs,
        sizeBytesMax: blockSizeBytesMax,
      })
      for (const cid of erasedOf(url, answer)) byCid.delete(cid)
      return [...byCid.values()]
    })
  }

  /**
   * How the erasure of blocks stands at one store, of its own copies. @param options.url - that store. @param digests - at most {@link erasedAtOnceMax}.
   *
   * @returns in the order of `digests`. `kept`: under no erasure that this store knows of. `erasing`: served until `removeAtMs`, and removed after it. `gone`: not here any more.
   * @throws {RuntimeError} `ERR_SOURCE_UNREACHABLE`, `ERR_SOURCE_REFUSED`, `ERR_SOURCE_MISBEHAVED`.
   */
  async erasureStanding(
    digests: readonly Uint8Array[],
    options: { url: string; signal?: AbortSignal },
  ): Promise<ErasureStanding[]> {
    const url = options.url.replace(/\/$/, '')
    const cids = digests.map((digest) => cidOf(digest))
    const answer = await sendRequest({
      url: `${url}/v1/erasures/standing`,
      method: 'POST',
      headers: { authorization: `Bearer ${await this.#options.token()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ cids }),
      timeoutMs: this.#timeoutMs,
      sizeBytesMax: blockSizeBytesMax,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    })
    return standingsOf(url, answer, cids)
  }

  /** The order for one raw block, if this client signs. */
  #ordersFor(digest: Uint8Array): string[] {
    const { erasing, ledgerId, now = Date.now } = this.#options
    if (erasing === undefined) return []
    return [toBase64Url(createErasureOrder({ ...erasing, ledgerId, digest, codec: codecs.raw, ms: now() }))]
  }

  /**
   * Who fetched the blocks of the account whose token this client has, as one store has it: ask each store, since each
   * knows of its own fetches alone.
   *
   * @param options.url - that store. @param options.account - the token's account.
   * @param options.after - where to begin: `next` of an earlier page, or `fetchCursorAt`; default with the log.
   * @throws {RuntimeError} `ERR_SOURCE_UNREACHABLE`, `ERR_SOURCE_REFUSED`, `ERR_SOURCE_MISBEHAVED`.
   */
  async fetches(options: {
    url: string
    account: Uint8Array
    after?: string
    limit?: number
    signal?: AbortSignal
  }): Promise<FetchPage & { readonly evidence: FetchEvidence }> {
    const { account, after = '', limit = fetchPageSizeMax, signal } = options
    const { ledgerId, storeKeyOf } = this.#options
    const url = options.url.replace(/\/$/, '')
    const from = after === '' ? '' : `&after=${encodeURIComponent(after)}`
    const answer = await sendRequest({
      url: `${url}/v1/fetches?limit=${limit}${from}`,
      headers: { authorization: `Bearer ${await this.#options.token()}` },
      timeoutMs: this.#timeoutMs,
      sizeBytesMax: fetchPageBytesMax,
      ...(signal === undefined ? {} : { signal }),
    })
    return parseFetchPage(answer, { url, ledgerId, account, after, storeKeyOf })
  }

  async #attemptAll(work: (url: string) => Promise<void>): Promise<void> {
    let missing: RuntimeError | undefined
    const ask = async (url: string): Promise<void> => {
      try {
        await work(url)
      } catch (error) {
        if (!isRuntimeError(error, 'ERR_RECEIPTS_MISSING')) throw error
        missing = error
        const detail = { code: 'ERR_SOURCE_UNREACHABLE', url, reason: error.message } as const
        throw new RuntimeError(error.message, detail, { cause: error })
      }
    }
    try {
      await this.sources.attempt(ask, { hedgeMs })
    } catch (error) {
      if (missing !== undefined && isRuntimeError(error, 'ERR_NO_SOURCE')) throw missing
      throw error
    }
  }

  async #putAt(
    url: string,
    block: { bytes: Uint8Array; codec: BlockCodec; signal?: AbortSignal | undefined },
  ): Promise<HttpAnswer> {
    const path = `block/put?cid-codec=${block.codec}&mhtype=sha2-256`
    return this.#call(url, path, { file: block.bytes, signal: block.signal })
  }

  async #call(
    url: string,
    path: string,
    options: { file?: Uint8Array; signal?: AbortSignal | undefined },
  ): Promise<HttpAnswer> {
    return sendRequest({
      url: `${url}/api/v0/${path}`,
      method: 'POST',
      headers: {
        authorization: `Bearer ${await this.#options.token()}`,
        ...(options.file === undefined ? {} : { 'content-type': `multipart/form-data; boundary=${boundary}` }),
      },
      timeoutMs: this.#timeoutMs,
      sizeBytesMax: blockSizeBytesMax,
      ...(options.file === undefined ? {} : { body: multipartOf(options.file) }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    })
  }

  #receiptsOf(
    url: string,
    answer: HttpAnswer,
    block: { digest: Uint8Array; sizeBytes: number },
  ): VerifiedStorageReceipt[] {
    return receiptItems(url, answer, (item) => this.#verifyReceipt(item, block))
  }

  #verifyReceipt(item: CborValue, block: { digest: Uint8Array; sizeBytes: number }): VerifiedStorageReceipt {
    const signed = signedOf(item)
    const { cid: digest, size: sizeBytes, ms, store } = parseStatement('storage', signed.statement)
    if (!equalBytes(digest, block.digest) || sizeBytes !== block.sizeBytes) throw new TypeError('another block')
    const publicKey = this.#options.storeKeyOf(store)
    if (publicKey === undefined) throw new TypeError('signed by no store')
    verifyStatement({ name: 'storage', signed, ledgerId: this.#options.ledgerId, publicKey })
    return { store, digest, sizeBytes, ms, bytes: evidenceOf(signed) }
  }
}

/** The receipts in the header of an answer, each as `read` takes it. */
function receiptItems<T>(url: string, answer: HttpAnswer, read: (item: CborValue) => T): T[] {
  const header = answer.headers.get(receiptsHeader)
  if (header === null) return []
  try {
    const list = decodeCbor(fromBase64Url(header))
    if (!Array.isArray(list) || list.length > receiptsMax) throw new TypeError('not a short array')
    return list.map(read)
  } catch (error) {
    throw misbehaved(url, `a storage receipt that is not valid (${messageOf(error)})`, error)
  }
}

/** One file as a body, in one piece: a form of blobs would be copied, streamed and collected later. */
function multipartOf(file: Uint8Array): Uint8Array {
  const body = new Uint8Array(partHead.length + file.length + partEnd.length)
  body.set(partHead)
  body.set(file, partHead.length)
  body.set(partEnd, partHead.length + file.length)
  return body
}

function answeredKey(url: string, answer: HttpAnswer): string {
  try {
    const { Key: key } = JSON.parse(new TextDecoder().decode(answer.bytes)) as { Key?: unknown }
    if (typeof key === 'string') return key
  } catch (error) {
    throw misbehaved(url, 'something that is not JSON', error)
  }
  throw misbehaved(url, 'no key')
}

/** What a store said of each block that it was asked about, in that order. */
function standingsOf(url: string, answer: HttpAnswer, cids: readonly string[]): ErasureStanding[] {
  try {
    const { results } = JSON.parse(new TextDecoder().decode(answer.bytes)) as {
      results: { cid: string; state: string; removeAt?: string }[]
    }
    return cids.map((cid, i) => {
      const { cid: told, state, removeAt } = results[i] ?? { cid: '', state: '' }
      if (told !== cid) throw new TypeError('another block')
      if (state === 'kept') return { state }
      if (state === 'erased' || state === 'absent') return { state: 'gone' }
      const removeAtMs = Date.parse(removeAt ?? '')
      if (state !== 'erasing' || Number.isNaN(removeAtMs)) throw new TypeError('no state')
      return { state, removeAtMs }
    })
  } catch (error) {
    throw misbehaved(url, 'something else than how erasures stand', error)
  }
}

/** The CIDs that are not kept for the account any more. */
function erasedOf(url: string, answer: HttpAnswer): string[] {
  try {
    const { results } = JSON.parse(new TextDecoder().decode(answer.bytes)) as {
      results: { cid: string; state: string; Reason?: string }[]
    }
    return results
      .filter(({ state, Reason }) => state !== 'refused' || goneReasons.includes(Reason))
      .map(({ cid }) => cid)
  } catch (error) {
    throw misbehaved(url, 'no results', error)
  }
}

function tooFew(digest: string, verified: number, needed: number): RuntimeError {
  const message = `only ${verified} of ${needed} stores have signed that they hold the block`
  return new RuntimeError(message, { code: 'ERR_RECEIPTS_MISSING', digest, verified, needed })
}

/** Kubo answers 500 with a sentence for a block that it has not; `services/storage` the same with a code, and 410 for one that its owner erased. */
function isNotFound(error: unknown): boolean {
  if (!isRuntimeError(error, 'ERR_SOURCE_REFUSED')) return false
  const { status, sourceCode } = error.detail
  if (sourceCode === 'ERR_BLOCK_ERASED') return true
  const isKubos = status === 500 && /not found/i.test(error.message)
  return status === 404 || sourceCode === 'ERR_BLOCK_NOT_FOUND' || isKubos
}

function asNotFound(error: unknown, digest: Uint8Array): unknown {
  if (!isNotFound(error)) return error
  const detail = { code: 'ERR_BLOCK_NOT_FOUND', digest: toHex(digest) } as const
  return new RuntimeError(`no storage node has the block ${cidOf(digest)}`, detail, { cause: error })
}
