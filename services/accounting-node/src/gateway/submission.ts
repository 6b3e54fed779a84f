/** Reads a submission: a CBOR sequence of transaction leaves, each judged by its form alone. */

import type { ChainName } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import {
  idOf,
  parseBody,
  parseTransactionLeaf,
  rulePrefix,
  type Transaction,
  transactionId,
  typeChains,
} from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor, skipCborAt } from '@healthblock/encoding/cbor'
import type { Owner } from '../core/owners.ts'
import { AccountingError } from '../errors.ts'

/** Most leaves of one submission. */
export const submissionTransactionsMax = 256
/** Most bytes of one submission. */
export const submissionSizeBytesMax = 1024 * 1024
/** Rule named in the refusal of a leaf that has no type to name. */
export const formatRule = 'transaction.format'

/** A leaf of the right form. */
export interface WellFormed {
  readonly id: Uint8Array
  /** The id in lower-case hex. */
  readonly key: string
  readonly transaction: Transaction
  /** Whose it is, for limits of ingress. */
  readonly owner: Owner
}

/**
 * A leaf that no node can accept. `id` is over its body if that is what is wrong, else over the whole item in the body's place: the id of a
 * good body is that of a transaction, and a refusal of its form would be false.
 */
export interface Malformed {
  readonly id: Uint8Array
  readonly rule: string
}

/** What a submission holds, in its order, each well-formed transaction once. */
export interface Submission {
  readonly transactions: readonly WellFormed[]
  readonly malformed: readonly Malformed[]
}

/** Who reads a submission. */
export interface SubmissionReader {
  ownerOf(transaction: Transaction, id: Uint8Array): Owner
  /** Told of each transaction of the right form before the next is read: what it throws ends the reading. */
  onRead(item: WellFormed): void
}

function sequenceInvalid(reason: string, options?: ErrorOptions): AccountingError {
  return new AccountingError(`the body ${reason}`, { code: 'ERR_SEQUENCE_INVALID', field: 'body', reason }, options)
}

/** Splits a CBOR sequence into its items, as views; whether they are canonical is seen when they are read. */
function splitSequence(body: Uint8Array): Uint8Array[] {
  const items: Uint8Array[] = []
  for (let offset = 0; offset < body.length; ) {
    let end: number
    try {
      end = skipCborAt(body, offset)
    } catch (cause) {
      throw sequenceInvalid(`is not a sequence of canonical CBOR items (item ${items.length})`, { cause })
    }
    items.push(body.subarray(offset, end))
    if (items.length > submissionTransactionsMax) {
      const detail = {
        code: 'ERR_SUBMISSION_TOO_LARGE',
        limit: 'transactions',
        max: submissionTransactionsMax,
      } as const
      throw new AccountingError(`a submission holds at most ${submissionTransactionsMax} transactions`, detail)
    }
    offset = end
  }
  return items
}

/** The bytes over which a malformed item's id goes. */
function bodyOf(item: Uint8Array, position: number): Uint8Array {
  let value: CborValue
  try {
    value = decodeCbor(item)
  } catch (cause) {
    throw sequenceInvalid(`is not a sequence of canonical CBOR items (item ${position})`, { cause })
  }
  const body = Array.isArray(value) ? value[1] : undefined
  const isMap = typeof body === 'object' && !Array.isArray(body) && !(body instanceof Uint8Array)
  if (!isMap) return item
  // What decodes has one form only, so encoding it again gives the bytes that lie in the item.
  const bodyBytes = encodeCbor(body)
  return isGoodBody(bodyBytes) ? item : bodyBytes
}

function isGoodBody(bodyBytes: Uint8Array): boolean {
  try {
    parseBody(bodyBytes)
    return true
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return false
  }
}

/**
 * Reads the body of `POST /v1/<chain>/transactions`.
 *
 * @throws {AccountingError} `ERR_SEQUENCE_INVALID` if it is not a CBOR sequence, or empty; `ERR_SUBMISSION_TOO_LARGE`.
 */
export function parseSubmission(
  body: Uint8Array,
  place: { readonly ledgerId: Uint8Array; readonly chain: ChainName },
  reader: SubmissionReader,
): Submission {
  if (body.length > submissionSizeBytesMax) {
    const detail = { code: 'ERR_SUBMISSION_TOO_LARGE', limit: 'bytes', max: submissionSizeBytesMax } as const
    throw new AccountingError(`a submission has at most ${submissionSizeBytesMax} bytes`, detail)
  }
  const items = splitSequence(body)
  if (items.length === 0) throw sequenceInvalid('is empty')
  const transactions = new Map<string, WellFormed>()
  const malformed: Malformed[] = []
  for (const [position, item] of items.entries()) {
    try {
      // A copy: the transaction may outlive the request's buffer.
      const transaction = parseTransactionLeaf(item.slice())
      const id = idOf(transaction, place.ledgerId, place.chain)
      const { t } = transaction.body
      const key = toHex(id)
      if (typeChains[t] !== 'both' && typeChains[t] !== place.chain) {
        malformed.push({ id, rule: `${rulePrefix(t)}.format` })
      } else if (!transactions.has(key)) {
        const wellFormed = { id, key, transaction, owner: reader.ownerOf(transaction, id) }
        reader.onRead(wellFormed)
        transactions.set(key, wellFormed)
      }
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      const rule = error.detail.code === 'ERR_TRANSACTION_FORMAT' ? error.detail.rule : formatRule
      malformed.push({ id: transactionId({ ...place, bodyBytes: bodyOf(item, position) }), rule })
    }
  }
  return { transactions: [...transactions.values()], malformed }
}
