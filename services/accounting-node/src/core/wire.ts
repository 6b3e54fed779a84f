/** Bytes that nodes exchange and store: blocks, the head register's value, stage-acks, peers' messages (SPEC.md §2, §3). */
import { type VerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { equalBytes } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { messageOf } from '@healthblock/runtime/errors'
import { AccountingError } from '../errors.ts'

function malformed(reason: string, cause?: unknown): AccountingError {
  return new AccountingError(`malformed: ${reason}`, { code: 'ERR_MESSAGE_INVALID', reason }, { cause })
}

/** Reads one CBOR map, with typed access to its fields; every failure is `ERR_MESSAGE_INVALID`. */
export class Fields {
  readonly #map: CborMap

  constructor(map: CborMap) {
    this.#map = map
  }

  /** The fields of a decoded value. */
  static of(value: CborValue): Fields {
    return new Fields(asMap(value, 'item'))
  }

  has(name: string): boolean {
    return this.#map[name] !== undefined
  }

  uint(name: string): number {
    const value = this.#map[name]
    if (typeof value !== 'number') throw malformed(name)
    return value
  }

  bytes(name: string, sizeBytes?: number): Uint8Array {
    const value = this.#map[name]
    if (!(value instanceof Uint8Array) || (sizeBytes !== undefined && value.length !== sizeBytes)) throw malformed(name)
    return value
  }

  text(name: string): string {
    const value = this.#map[name]
    if (typeof value !== 'string') throw malformed(name)
    return value
  }

  list(name: string): CborValue[] {
    const value = this.#map[name]
    if (!Array.isArray(value)) throw malformed(name)
    return value
  }

  map(name: string): Fields {
    return new Fields(asMap(this.#map[name], name))
  }
}

function asMap(value: CborValue | undefined, name: string): CborMap {
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) throw malformed(name)
  return value
}

/**
 * Reads a message: one canonical CBOR map.
 *
 * @throws {AccountingError} `ERR_MESSAGE_INVALID`.
 */
export function parseMessage(bytes: Uint8Array): Fields {
  let value: CborValue
  try {
    value = decodeCbor(bytes)
  } catch (cause) {
    throw malformed(messageOf(cause), cause)
  }
  return new Fields(asMap(value, 'message'))
}

/** Encodes a message. */
export function encodeMessage(map: CborMap): Uint8Array {
  return encodeCbor(map)
}

/** Block bytes: a CBOR array of the leaves, the SEAL last. */
export function encodeBlock(leaves: readonly Uint8Array[]): Uint8Array {
  return encodeCbor(leaves as Uint8Array[])
}

/**
 * Reads block bytes or a list of leaves; the leaves are views.
 *
 * @throws {AccountingError} `ERR_MESSAGE_INVALID`.
 */
export function parseBlock(bytes: Uint8Array): Uint8Array[] {
  let value: CborValue
  try {
    value = decodeCbor(bytes)
  } catch (cause) {
    throw malformed(messageOf(cause), cause)
  }
  return asLeaves(value)
}

/** A list of byte strings, from a decoded value. */
export function asLeaves(value: CborValue): Uint8Array[] {
  if (!Array.isArray(value)) throw malformed('leaves')
  for (const leaf of value) if (!(leaf instanceof Uint8Array)) throw malformed('leaves')
  return value as Uint8Array[]
}

/** A node's signed word that it stored a block on its disk after executing it. */
export interface Ack {
  readonly rank: number
  /** Term in which it staged the block. */
  readonly term: number
  /** 64 bytes, over the stage-ack statement of chain's SPEC.md §1. */
  readonly signature: Uint8Array
}

/** The head register's value. */
export interface HeadValue {
  /** Counts how often the register was lost and rebuilt. */
  readonly incarnation: number
  readonly term: number
  /** Rank of the leader of `term`. */
  readonly leader: number
  readonly height: number
  readonly size: number
  readonly root: Uint8Array
  /** q acks of distinct nodes and one term, ascending by rank; none at height 0. */
  readonly acks: readonly Ack[]
}

function acksToCbor(acks: readonly Ack[]): CborValue[] {
  return acks.map(({ rank, term, signature }) => [rank, term, signature])
}

/** Acks for a message. */
export function encodeAcks(acks: readonly Ack[]): CborValue[] {
  return acksToCbor(acks)
}

/** Acks of a message: shape only. */
export function parseAcks(values: readonly CborValue[]): Ack[] {
  return values.map((value) => {
    if (!Array.isArray(value) || value.length !== 3) throw malformed('acks')
    const [rank, term, signature] = value
    if (typeof rank !== 'number' || typeof term !== 'number') throw malformed('acks')
    if (!(signature instanceof Uint8Array) || signature.length !== 64) throw malformed('acks')
    return { rank, term, signature }
  })
}

/** Canonical bytes of the register's value. */
export function encodeHeadValue(value: HeadValue): Uint8Array {
  const { incarnation, term, leader, height, size, root, acks } = value
  return encodeCbor({ inc: incarnation, term, leader, height, size, root, acks: acksToCbor(acks) })
}

/**
 * Reads the register's value: shape only.
 *
 * @throws {AccountingError} `ERR_MESSAGE_INVALID`.
 */
export function parseHeadValue(bytes: Uint8Array): HeadValue {
  const fields = parseMessage(bytes)
  return {
    incarnation: fields.uint('inc'),
    term: fields.uint('term'),
    leader: fields.uint('leader'),
    height: fields.uint('height'),
    size: fields.uint('size'),
    root: fields.bytes('root', 32),
    acks: parseAcks(fields.list('acks')),
  }
}

/** Two heads are one block. */
export function isSameHead(
  a: { readonly size: number; readonly root: Uint8Array },
  b: { readonly size: number; readonly root: Uint8Array },
): boolean {
  return a.size === b.size && equalBytes(a.root, b.root)
}

/** False for any signature that is not valid. On the event loop: a job of the thread pool costs more than a signature. */
export function isSigned(key: VerifyingKey, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    verifySignature({ signature, message, key })
    return true
  } catch {
    return false
  }
}
