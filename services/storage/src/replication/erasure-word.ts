/** What stores tell each other of erasures: words that each store checks by itself, whoever brings them (SPEC.md §3a). */
import {
  type ErasureOrder,
  orderClockMs,
  parseErasureOrder,
  verifyErasureOrder,
} from '@healthblock/chain/erasure-order'
import { ChainError } from '@healthblock/chain/errors'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import type { Authorizer } from '../access/authorizer.ts'
import { StorageError } from '../errors.ts'
import { type BlockId, isCodec } from '../store/block-id.ts'

/** Longest word. */
export const wordBytesMax = 512
const forms = { order: 1, stated: 2, ledger: 3 } as const

/** A word, taken apart. `bytes` is how it travels and is kept. */
export type ErasureWord = { readonly id: BlockId; readonly bytes: Uint8Array } & (
  | { readonly form: 'order'; readonly order: ErasureOrder }
  | { readonly form: 'stated'; readonly account: Uint8Array; readonly at: number }
  | { readonly form: 'ledger' }
)

function invalid(reason: string, cause?: unknown): StorageError {
  return new StorageError(`the erasure order is not valid: ${reason}`, { code: 'ERR_ORDER_INVALID', reason }, { cause })
}

/** The word that an account's order is. @throws {StorageError} `ERR_ORDER_INVALID` if it cannot be read. */
export function wordOfOrder(bytes: Uint8Array): ErasureWord & { readonly form: 'order' } {
  try {
    const order = parseErasureOrder(bytes)
    if (!isCodec(order.codec)) throw invalid('codec')
    const id = { digest: order.digest.slice(), codec: order.codec }
    return { form: 'order', id, order, bytes: encodeCbor([forms.order, bytes]) }
  } catch (cause) {
    if (!(cause instanceof ChainError)) throw cause
    throw invalid('format', cause)
  }
}

/** A store's own word for an account that has no key. */
export function statedWord(id: BlockId, account: Uint8Array, at: number): ErasureWord {
  return { form: 'stated', id, account, at, bytes: encodeCbor([forms.stated, account, id.digest, id.codec, at]) }
}

/** The word that a file's record was erased by Userchain. */
export function ledgerWord(id: BlockId): ErasureWord {
  return { form: 'ledger', id, bytes: encodeCbor([forms.ledger, id.digest, id.codec]) }
}

function isB32(value: CborValue | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32
}

/** Reads a word as it travels. It verifies nothing. @throws {StorageError} `ERR_ORDER_INVALID`. */
export function parseWord(bytes: Uint8Array): ErasureWord {
  if (bytes.length > wordBytesMax) throw invalid('too long')
  let parts: CborValue[]
  try {
    const decoded = decodeCbor(bytes)
    if (!Array.isArray(decoded)) throw new TypeError('no array')
    parts = decoded as CborValue[]
  } catch (cause) {
    throw invalid('format', cause)
  }
  const [form, ...rest] = parts
  if (form === forms.order && rest.length === 1 && rest[0] instanceof Uint8Array) return wordOfOrder(rest[0])
  if (form === forms.stated && rest.length === 4) {
    const [account, digest, codec, at] = rest
    if (isB32(account) && isB32(digest) && isCodec(codec) && typeof at === 'number') {
      return statedWord({ digest: digest.slice(), codec }, account.slice(), at)
    }
  }
  if (form === forms.ledger && rest.length === 2) {
    const [digest, codec] = rest
    if (isB32(digest) && isCodec(codec)) return ledgerWord({ digest: digest.slice(), codec })
  }
  throw invalid('format')
}

/** A word that this store's state cannot judge yet: it is to be told again. */
export function notYet(): StorageError {
  return new StorageError('this store does not know enough yet', { code: 'ERR_STORE_BUSY', operationsMax: 0 })
}

/**
 * Whose word it is, and of when, if it proves itself; a word by Userchain is checked where its block is.
 *
 * @throws {StorageError} `ERR_ORDER_INVALID`; `ERR_SIGNATURE_NEEDED` for a store's word about an account that has a key;
 *   `ERR_STORE_BUSY` for an account that is not known yet.
 */
export function verifyWord(
  word: Exclude<ErasureWord, { form: 'ledger' }>,
  by: { authorizer: Authorizer; ledgerId: Uint8Array; nowMs: number },
): { account: Uint8Array; at: number } {
  if (word.form === 'stated') {
    const { account, at } = word
    if (at > by.nowMs + orderClockMs) throw invalid('time')
    if (!by.authorizer.signsErasures(account)) return { account, at }
    throw new StorageError("the account's own order is needed", { code: 'ERR_SIGNATURE_NEEDED', cid: '' })
  }
  const { order } = word
  const { account, ms } = order
  if (ms > by.nowMs + orderClockMs) throw invalid('time')
  const publicKeys = by.authorizer.erasureKeys(order, ms)
  if (publicKeys === undefined) throw notYet()
  try {
    verifyErasureOrder({ order, ledgerId: by.ledgerId, publicKeys })
  } catch (cause) {
    if (!(cause instanceof ChainError)) throw cause
    throw invalid('signature', cause)
  }
  return { account, at: ms }
}
