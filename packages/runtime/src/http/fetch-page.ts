/** A storage node's signed word on who fetched an account's blocks (services/storage/SPEC.md §5a): what both ends make of it. */

import { CryptoError } from '@healthblock/crypto/errors'
import { sha256 } from '@healthblock/crypto/hash'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8, fromBase64Url, fromHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { RuntimeError } from '../errors.ts'
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

/** A page word for word, with who asked for it and from where on: whoever has it can check the store's signature. */
export interface FetchEvidence {
  /** 32-byte account that asked, whose blocks the fetches are of. */
  readonly account: Uint8Array
  readonly after: string
  /** The answer's bytes, at most {@link fetchPageBytesMax}. */
  readonly answer: Uint8Array
  /** 64 bytes. */
  readonly signature: Uint8Array
}

/** Most bytes of one answer. */
export const fetchPageBytesMax = 1024 * 1024

/** Canonical CBOR `[account b32, after in UTF-8, answer, signature b64]`, all bytes. */
export function encodeFetchEvidence({ account, after, answer, signature }: FetchEvidence): Uint8Array {
  return encodeCbor([account, encodeUtf8(after), answer, signature])
}

function invalid(reason: string, cause?: unknown): RuntimeError {
  return new RuntimeError(`evidence of fetches: ${reason}`, { code: 'ERR_EVIDENCE_INVALID', reason }, { cause })
}

/** Reads what {@link encodeFetchEvidence} wrote. @throws {RuntimeError} `ERR_EVIDENCE_INVALID` for anything else. */
export function parseFetchEvidence(bytes: Uint8Array): FetchEvidence {
  let value: CborValue
  try {
    value = decodeCbor(bytes)
  } catch (cause) {
    throw invalid('not canonical CBOR', cause)
  }
  if (!Array.isArray(value) || value.length !== 4) throw invalid('not a list of four')
  const [account, after, answer, signature] = value
  const isBytes = (item: unknown, least: number, most: number): item is Uint8Array =>
    item instanceof Uint8Array && item.length >= least && item.length <= most
  if (!isBytes(account, 32, 32) || !isBytes(after, 0, 64)) throw invalid('the question has the wrong form')
  if (!isBytes(answer, 2, fetchPageBytesMax) || !isBytes(signature, 64, 64))
    throw invalid('the answer has the wrong form')
  return { account, after: new TextDecoder().decode(after), answer, signature }
}

/** What a page says, signed or not. @throws {RuntimeError} `ERR_EVIDENCE_INVALID` if it is malformed or too long. */
export function parseFetchAnswer(answer: Uint8Array): FetchPage {
  try {
    const { store, fetches, next, isEnd } = JSON.parse(new TextDecoder().decode(answer)) as Record<string, unknown>
    if (!Array.isArray(fetches) || fetches.length > fetchPageSizeMax) throw new TypeError('fetches')
    if (typeof next !== 'string' || typeof isEnd !== 'boolean') throw new TypeError('next')
    return { store: parseAccount(store), fetches: fetches.map(parseFetch), next, isEnd }
  } catch (cause) {
    throw invalid('the answer is no page', cause)
  }
}

/**
 * Reads a page, and checks that a store signed it.
 *
 * @param storeKeysOf - the keys that an account has, or had, as a store; none for whoever is none.
 * @throws {RuntimeError} `ERR_EVIDENCE_INVALID` if it is malformed, too long, or signed by no store.
 */
export function readFetchEvidence(
  evidence: FetchEvidence,
  place: { ledgerId: Uint8Array; storeKeysOf: (account: Uint8Array) => readonly Uint8Array[] },
): FetchPage {
  const page = parseFetchAnswer(evidence.answer)
  const message = fetchPageMessage({ ...evidence, ledgerId: place.ledgerId })
  const isSignedWith = (publicKey: Uint8Array): boolean => {
    try {
      verifySignature({ signature: evidence.signature, message, key: parseVerifyingKey(publicKey) })
      return true
    } catch (error) {
      if (error instanceof CryptoError) return false
      throw error
    }
  }
  if (!place.storeKeysOf(page.store).some(isSignedWith)) throw invalid('no store signed it')
  return page
}

/**
 * Reads an answer to a question for fetches.
 *
 * @returns the page, and the evidence of it.
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
): FetchPage & { readonly evidence: FetchEvidence } {
  const { url, ledgerId, account, after } = asked
  const storeKeysOf = (store: Uint8Array): Uint8Array[] => {
    const key = asked.storeKeyOf(store)
    return key === undefined ? [] : [key]
  }
  try {
    const signature = fromBase64Url(answer.headers.get(fetchPageSignatureHeader) ?? '')
    const evidence = { account, after, answer: answer.bytes, signature }
    return { ...readFetchEvidence(evidence, { ledgerId, storeKeysOf }), evidence }
  } catch (cause) {
    throw misbehaved(url, 'a page of fetches that cannot be used', cause)
  }
}
