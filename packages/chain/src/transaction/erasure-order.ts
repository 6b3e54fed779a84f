/**
 * Erasure orders: an account's signed word that it gives up a block of the private IPFS (services/storage/SPEC.md §3a).
 * An order proves itself to each store, whoever brings it, and for as long as it is kept.
 */
import { type CborMap, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import type { LogIndex } from '../state/log-index.ts'
import type { StateReader } from '../state/state.ts'
import { userTables } from '../state/tables.ts'
import { bytes, tuple, uint } from './schema.ts'
import { encodeStatement, parseStatement, signStatement, verifyStatement } from './statement.ts'

/** An order taken apart; nothing of it is verified. */
export interface ErasureOrder {
  readonly account: Uint8Array
  /** 32-byte SHA-256 of the block, and the multicodec by which it is read. */
  readonly digest: Uint8Array
  readonly codec: number
  /** When it was signed, Unix ms by the signer's clock. */
  readonly ms: number
  /** The account's key that signed: 1 op, 2 node or store key. */
  readonly key: number
  readonly signature: Uint8Array
}

/** How far a signer's clock may be ahead of the ledger's. */
export const orderClockMs = 300_000

const isOrder = tuple<readonly [CborMap, number, Uint8Array]>([
  (value): value is CborMap => typeof value === 'object',
  uint(1, 2),
  bytes(64),
])

function formatError(cause?: unknown): ChainError {
  const detail = { code: 'ERR_STATEMENT_FORMAT', statement: 'erasure', field: 'order' } as const
  return new ChainError('not an erasure order', detail, { cause })
}

/** Makes an order: canonical CBOR `[statement, key, signature]`. */
export function createErasureOrder(
  order: Omit<ErasureOrder, 'signature'> & {
    readonly ledgerId: Uint8Array
    readonly signingKey: { sign(message: Uint8Array): Uint8Array }
  },
): Uint8Array<ArrayBuffer> {
  const { account: a, digest: cid, codec, ms, key, ledgerId, signingKey } = order
  const { statement, signature } = signStatement({
    name: 'erasure',
    ledgerId,
    signingKey,
    statement: { v: 1, a, cid, codec, ms },
  })
  return encodeCbor([decodeCbor(statement), key, signature])
}

/**
 * Takes an order apart. It verifies nothing.
 *
 * @throws {ChainError} `ERR_STATEMENT_FORMAT`.
 */
export function parseErasureOrder(order: Uint8Array): ErasureOrder {
  let decoded: ReturnType<typeof decodeCbor>
  try {
    decoded = decodeCbor(order)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError(cause)
  }
  if (!isOrder(decoded)) throw formatError()
  const [statement, key, signature] = decoded as unknown as [CborMap, number, Uint8Array]
  const { a: account, cid: digest, codec, ms } = parseStatement('erasure', encodeCbor(statement))
  return { account, digest, codec, ms, key, signature }
}

/**
 * Verifies that one of these keys has signed an order.
 *
 * @param request - `publicKeys`: as {@link erasureKeysAt} gives them.
 * @throws {ChainError} `ERR_STATEMENT_SIGNATURE`.
 */
export function verifyErasureOrder(request: {
  readonly order: ErasureOrder
  readonly ledgerId: Uint8Array
  readonly publicKeys: readonly Uint8Array[]
}): ErasureOrder {
  const { order, ledgerId } = request
  const { account: a, digest: cid, codec, ms, signature } = order
  const signed = { statement: encodeStatement('erasure', { v: 1, a, cid, codec, ms }), signature }
  for (const publicKey of request.publicKeys) {
    try {
      verifyStatement({ name: 'erasure', signed, ledgerId, publicKey })
      return order
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
    }
  }
  const detail = { code: 'ERR_STATEMENT_SIGNATURE', statement: 'erasure' } as const
  throw new ChainError('no key that was in force signed the erasure order', detail)
}

/**
 * The account's keys of a number (1 op, 2 node or store key) that were in force at a time, by Userchain: from the SEAL
 * that opened a key, less {@link orderClockMs}, to before the one that closed it.
 *
 * @returns undefined if this state knows no such key of the account at all: it may yet come to.
 */
export function erasureKeysAt(
  ledger: { readonly state: StateReader; readonly index: Pick<LogIndex, 'boundaryAfter'> },
  signer: { readonly account: Uint8Array; readonly key: number },
  ms: number,
): Uint8Array[] | undefined {
  const { state, index } = ledger
  const newest = userTables.keyHead.get(state, signer.account, signer.key)
  if (newest === undefined) return undefined
  const timeOf = (at: number): number => index.boundaryAfter(at)?.ms ?? Number.POSITIVE_INFINITY
  const keys: Uint8Array[] = []
  for (let k = newest; k >= 0; k--) {
    const record = userTables.key.get(state, signer.account, signer.key, k)
    if (record === undefined || timeOf(record.o) - orderClockMs > ms) continue
    if (record.c === undefined || ms < timeOf(record.c)) keys.push(record.key)
  }
  return keys
}
