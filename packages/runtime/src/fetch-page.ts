/** A storage node's signed word on who fetched an account's blocks (services/storage/SPEC.md §5a): what both ends make of it. */
import { sha256 } from '@healthblock/crypto/hash'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8, fromBase64Url, fromHex } from '@healthblock/encoding/bytes'
import { type HttpAnswer, misbehaved } from './http-client.ts'

/** The header of a page that its store has signed. */
export const fetchPageSignatureHeader = 'healthblock-signature'
/** Most fetches of one page. */
export const fetchPageSizeMax = 1000

/** One fetch of a block. */
export interface BlockFetch {
  /** When, Unix ms by the store's clock. */
  readonly ms: number
  /** 32-byte account that fetched. */
  readonly account: Uint8Array
  /** 32-byte SHA-256 of the block that was asked for: of a file, its root. */
  readonly digest: Uint8Array
  readonly cid: string
}

/** Some of a store's fetches, oldest first. */
export interface FetchPage {
  /** 32-byte account of the store that signed. */
  readonly store: Uint8Array
  readonly fetches: readonly BlockFetch[]
  /** Where the next page begins. */
  readonly next: string
  /** False if there may be more now. */
  readonly isEnd: boolean
}

/** What a store signs: that this answer is its word to this account about its log from `after` on. */
export function fetchPageMessage(page: {
  ledgerId: Uint8Array
  account: Uint8Array
  after: string
  answer: Uint8Array
}): Uint8Array {
  const asked = sha256(concatBytes(page.account, encodeUtf8(page.after)))
  return concatBytes(encodeUtf8('healthblock/1 storage-fetches\0'), page.ledgerId, asked, sha256(page.answer))
}

/** The cursor that begins with fetches at a time or up to an hour before it. */
export function fetchCursorAt(ms: number): string {
  return `${Math.floor(ms / 3_600_000)}.0`
}

function parseAccount(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? fromHex(value) : undefined
  if (bytes?.length !== 32) throw new TypeError('not 32 bytes')
  return bytes
}

function parseFetch(value: unknown): BlockFetch {
  const { at, account, digest, cid } = value as Record<string, unknown>
  const ms = Date.parse(String(at))
  if (!Number.isSafeInteger(ms) || typeof cid !== 'string') throw new TypeError('a fetch')
  return { ms, account: parseAccount(account), digest: parseAccount(digest), cid }
}

/**
 * Reads a page that a store has signed.
 *
 * @throws {RuntimeError} `ERR_SOURCE_MISBEHAVED` if it is malformed, too long, or signed by no store.
 */
export function parseFetchPage(
  answer: HttpAnswer,
  asked: {
    url: string
    ledgerId: Uint8Array
    account: Uint8Array
    after: string
    storeKeyOf: (account: Uint8Array) => Uint8Array | undefined
  },
): FetchPage {
  try {
    const { store, fetches, next, isEnd } = JSON.parse(new TextDecoder().decode(answer.bytes)) as Record<
      string,
      unknown
    >
    if (!Array.isArray(fetches) || fetches.length > fetchPageSizeMax) throw new TypeError('fetches')
    if (typeof next !== 'string' || typeof isEnd !== 'boolean') throw new TypeError('next')
    const page = { store: parseAccount(store), fetches: fetches.map(parseFetch), next, isEnd }
    const publicKey = asked.storeKeyOf(page.store)
    if (publicKey === undefined) throw new TypeError('signed by no store')
    const signature = fromBase64Url(answer.headers.get(fetchPageSignatureHeader) ?? '')
    const message = fetchPageMessage({ ...asked, answer: answer.bytes })
    verifySignature({ signature, message, key: parseVerifyingKey(publicKey) })
    return page
  } catch (cause) {
    throw misbehaved(asked.url, 'a page of fetches that cannot be used', cause)
  }
}
