/** The genesis file: a ledger's first parties, keys and parameters (SPEC.md §2). Its hash is the ledger's name. */
import { sha256 } from '@healthblock/crypto/hash'
import { parseVerifyingKey } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { ChainError } from '../errors.ts'
import { RecentMap } from '../state/recent-map.ts'
import { isKemKey } from '../transaction/kem-key.ts'
import {
  encodeBody,
  encodeTransactionLeaf,
  type GenesisBody,
  parseBody,
  type TransactionBody,
} from '../transaction/transaction.ts'

/** A checked genesis file. */
export interface Genesis {
  /** The file, byte for byte. */
  readonly bytes: Uint8Array
  /** SHA-256 of the file: 32 bytes. */
  readonly ledgerId: Uint8Array
  readonly body: GenesisBody
}

/** Accounts that exist from block 0, each in the order of genesis. */
export interface GenesisAccounts {
  readonly organisations: readonly Uint8Array[]
  readonly nodes: readonly Uint8Array[]
  readonly stores: readonly Uint8Array[]
}

/** The newest version of the rules that this code executes; it executes every released one, from 1 on. */
export const rulesVersionNewest = 4

function genesisError(field: string, cause?: unknown): ChainError {
  return new ChainError(`not a genesis file: ${field}`, { code: 'ERR_GENESIS_INVALID', field }, { cause })
}

function checkKeys(body: GenesisBody): void {
  const seen = new Set<string>()
  const fresh = (key: Uint8Array, field: string) => {
    const hex = toHex(key)
    if (seen.has(hex)) throw genesisError(field)
    seen.add(hex)
  }
  const signing = (key: Uint8Array, field: string) => {
    fresh(key, field)
    try {
      parseVerifyingKey(key)
    } catch (cause) {
      throw genesisError(field, cause)
    }
  }
  for (const [root, op, kem, suite] of body.orgs) {
    signing(root, 'orgs')
    signing(op, 'orgs')
    fresh(kem, 'orgs')
    if (!isKemKey({ suite, bytes: kem })) throw genesisError('orgs')
  }
  for (const [org, ...keys] of body.nodes) {
    if (org >= body.orgs.length) throw genesisError('nodes')
    for (const key of keys) signing(key, 'nodes')
  }
  for (const [org, key] of body.stores) {
    if (org >= body.orgs.length) throw genesisError('stores')
    signing(key, 'stores')
  }
}

/** Files that held, by ledger id: every receipt and bundle brings one along, and it is nearly always the same. Made from copies of the bytes. */
const held = new RecentMap<string, GenesisBody>(8)

/**
 * Reads a genesis file: canonical, every key valid under the one rule and distinct, 2q > nodes >= q.
 *
 * @throws {ChainError} `ERR_GENESIS_INVALID`.
 * @see SPEC.md §2
 */
export function parseGenesis(bytes: Uint8Array): Genesis {
  const ledgerId = ledgerIdOf(bytes)
  const name = toHex(ledgerId)
  const body = held.get(name) ?? checkedBody(new Uint8Array(bytes))
  held.set(name, body)
  return { bytes, ledgerId, body }
}

function checkedBody(bytes: Uint8Array): GenesisBody {
  let body: TransactionBody
  try {
    body = parseBody(bytes)
  } catch (cause) {
    if (!(cause instanceof ChainError)) throw cause
    throw genesisError(cause.detail.code === 'ERR_TRANSACTION_FORMAT' ? cause.detail.field : 'body', cause)
  }
  if (body.t !== 'genesis') throw genesisError('t')
  const { seals } = body.params
  if (seals < 1 || seals > rulesVersionNewest) throw genesisError('params')
  if (2 * body.q <= body.nodes.length || body.q > body.nodes.length) throw genesisError('q')
  checkKeys(body)
  return body
}

/**
 * Encodes a genesis file, after the checks that reading makes.
 *
 * @throws {ChainError} `ERR_GENESIS_INVALID`, or `ERR_TRANSACTION_FORMAT` for a body of another shape.
 */
export function encodeGenesis(body: GenesisBody): Uint8Array<ArrayBuffer> {
  const bytes = encodeBody(body)
  parseGenesis(bytes)
  return bytes
}

/** The ledger id of a genesis file: 32 bytes. */
export function ledgerIdOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return sha256(bytes)
}

const accountLabel = encodeUtf8('healthblock/1 account\0')

/** The account of what genesis lists. `firstKey`: an organisation's root key, a node's node key, a store's store key. */
export function genesisAccount(ledgerId: Uint8Array, firstKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return sha256(concatBytes(accountLabel, ledgerId, firstKey))
}

/** All accounts of genesis. */
export function genesisAccounts(genesis: Genesis): GenesisAccounts {
  const account = (key: Uint8Array) => genesisAccount(genesis.ledgerId, key)
  return {
    organisations: genesis.body.orgs.map(([root]) => account(root)),
    nodes: genesis.body.nodes.map(([, node]) => account(node)),
    stores: genesis.body.stores.map(([, key]) => account(key)),
  }
}

/** The leaf at index 0 of both chains. */
export function genesisLeaf(genesis: Genesis): Uint8Array<ArrayBuffer> {
  return encodeTransactionLeaf({ bodyBytes: genesis.bytes, signatures: [] })
}
