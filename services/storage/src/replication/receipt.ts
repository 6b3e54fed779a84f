/**
 * Storage receipts: a store's word that it holds a block durably. A receipt is canonical CBOR `[statement, signature]`,
 * statement = `{v: 1, cid, size, ms, store}`, signed with the store key under "healthblock/1 storage"
 * (packages/chain/SPEC.md §1). `cid` is the block's SHA-256.
 */
import {
  encodeStatement,
  parseStatement,
  type StorageReceipt,
  signStatement,
  statementMessage,
} from '@healthblock/chain/statement'
import { parseVerifyingKey, type SigningKey, verifySignatureAsync } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8, equalBytes, fromBase64Url } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import type { Members } from '../access/members.ts'
import { StorageError } from '../errors.ts'
import { hashBlock } from '../store/block-id.ts'

/** The header of an answer that carries receipts. */
export const receiptsHeader = 'healthblock-receipts'

/** One receipt. */
export interface Receipt {
  /** 32-byte SHA-256 of the block. */
  digest: Uint8Array
  /** Bytes of the block. */
  size: number
  /** When the store signed, Unix ms. */
  ms: number
  /** 32-byte store account. */
  store: Uint8Array
  /** 64 bytes. */
  signature: Uint8Array
}

function invalid(reason: string, cause?: unknown): StorageError {
  return new StorageError(`invalid storage receipt: ${reason}`, { code: 'ERR_RECEIPT_INVALID', reason }, { cause })
}

function statementOf({ digest, size, ms, store }: Omit<Receipt, 'signature'>): StorageReceipt {
  // In the order of the encoding, which then sorts nothing.
  return { v: 1, ms, cid: digest, size, store }
}

/** Signs a receipt. The block must be durable before. */
export function signReceipt(key: SigningKey, ledgerId: Uint8Array, receipt: Omit<Receipt, 'signature'>): Receipt {
  const statement = statementOf(receipt)
  const { signature } = signStatement({ name: 'storage', statement, ledgerId, signingKey: key })
  return { ...receipt, signature }
}

/** The header of an answer about copies that its store has signed. */
export const answerSignatureHeader = 'healthblock-signature'

/** What a store signs of an answer: that these bytes are its word on that request. */
export function answerMessage(exchange: { ledgerId: Uint8Array; request: Uint8Array; answer: Uint8Array }): Uint8Array {
  const { ledgerId, request, answer } = exchange
  return concatBytes(encodeUtf8('healthblock/1 storage-answer\0'), ledgerId, hashBlock(request), hashBlock(answer))
}

/**
 * Checks that a member signed an answer.
 *
 * @throws {StorageError} `ERR_RECEIPT_INVALID`.
 */
export async function verifyAnswer(
  exchange: { ledgerId: Uint8Array; request: Uint8Array; answer: Uint8Array; signature: Uint8Array },
  storeKey: Uint8Array,
): Promise<void> {
  try {
    const { signature } = exchange
    // In the thread pool: the copies wait for it, but other requests do not.
    await verifySignatureAsync({ signature, message: answerMessage(exchange), key: parseVerifyingKey(storeKey) })
  } catch (cause) {
    throw invalid('signature of the answer', cause)
  }
}

/** One receipt as CBOR. */
export function receiptToCbor(receipt: Receipt): CborValue {
  return [{ ...statementOf(receipt) }, receipt.signature]
}

/**
 * Reads one receipt; its signature is not checked.
 *
 * @throws {StorageError} `ERR_RECEIPT_INVALID`.
 */
export function parseReceipt(value: CborValue | undefined): Receipt {
  if (!Array.isArray(value) || value.length !== 2) throw invalid('not a pair')
  const [statement, signature] = value
  if (!(signature instanceof Uint8Array) || signature.length !== 64) throw invalid('signature')
  try {
    const { cid, size, ms, store } = parseStatement('storage', encodeCbor(statement as CborValue))
    return { digest: cid.slice(), size, ms, store: store.slice(), signature: signature.slice() }
  } catch (cause) {
    throw invalid('statement', cause)
  }
}

/**
 * Checks that a receipt is a store's for a block; its signature is not checked.
 *
 * @throws {StorageError} `ERR_RECEIPT_INVALID`.
 */
export function matchReceipt(
  receipt: Receipt,
  expected: { digest: Uint8Array; size: number; store: Uint8Array },
): Receipt {
  const { digest, size, store } = expected
  if (!equalBytes(receipt.digest, digest) || receipt.size !== size) throw invalid('another block')
  if (!equalBytes(receipt.store, store)) throw invalid('of another store')
  return receipt
}

/**
 * Checks a receipt: its store is a member and signed it, for this block.
 *
 * @returns the receipt.
 * @throws {StorageError} `ERR_RECEIPT_INVALID`.
 */
export async function verifyReceipt(
  receipt: Receipt,
  expected: { members: Members; digest: Uint8Array; size: number },
): Promise<Receipt> {
  const { members, digest, size } = expected
  const member = members.find(receipt.store)
  if (!member) throw invalid('not a member')
  matchReceipt(receipt, { digest, size, store: member.account })
  try {
    const key = parseVerifyingKey(member.storeKey)
    const statement = encodeStatement('storage', statementOf(receipt))
    const message = statementMessage({ label: 'storage', ledgerId: members.ledgerId, statement })
    // In the thread pool: a put waits for it, but other puts do not.
    await verifySignatureAsync({ signature: receipt.signature, message, key })
  } catch (cause) {
    throw invalid('signature', cause)
  }
  return receipt
}

/** Receipts as the header carries them: base64url of a CBOR array. */
export function encodeReceipts(receipts: readonly Receipt[]): string {
  return Buffer.from(encodeCbor(receipts.map(receiptToCbor))).toString('base64url')
}

/**
 * Reads what {@link encodeReceipts} wrote; signatures are not checked.
 *
 * @throws {StorageError} `ERR_RECEIPT_INVALID`.
 */
export function parseReceipts(text: string): Receipt[] {
  let value: CborValue
  try {
    value = decodeCbor(fromBase64Url(text))
  } catch (cause) {
    throw invalid('cannot be read', cause)
  }
  if (!Array.isArray(value)) throw invalid('not an array')
  return value.map(parseReceipt)
}
