/**
 * Sealed payloads (SPEC.md §4), for a provider and a salt given by the caller: the deterministic inside of
 * `sealPayload`, which alone may choose the salt.
 */
import { equalBytes } from '@healthblock/encoding/bytes'
import { CryptoError } from '../errors.ts'
import type { Bytes, Provider } from '../provider/provider.ts'
import { formatInvalid, openFailed } from './failures.ts'

/** Bytes of the header. */
export const headerSizeBytes = 208
/** Bytes of a block that are not data: header, length prefix, tag. */
export const blockOverheadBytes = headerSizeBytes + 4 + 16
const associatedSizeBytes = 176
const saltOffset = 144
const version = 1
const zeroNonce = new Uint8Array(12)

/**
 * What a sealed record is; `gap` (2) marks a lost reading on the ledger and has no block; `live` is a frame
 * of a live view and is never stored.
 */
export const payloadKinds = { data: 0, empty: 1, gap: 2, file: 3, diagnosis: 4, amend: 5, care: 6, live: 7 } as const
/** One of `payloadKinds`. */
export type PayloadKind = (typeof payloadKinds)[keyof typeof payloadKinds]

/** The header's fields that the writer chooses and the ledger repeats. Ids are 32 bytes, the stream 8. */
export interface PayloadFields {
  readonly kind: PayloadKind
  readonly ledgerId: Uint8Array
  readonly owner: Uint8Array
  readonly writer: Uint8Array
  readonly stream: Uint8Array
  readonly generation: number
  readonly epoch: number
  readonly sequence: number
}

/** A header as found in a block: public, and not to be believed before the block opened. */
export interface PayloadHeader extends PayloadFields {
  /** Bytes of the whole block. */
  readonly sizeBytes: number
  /** 32 bytes. */
  readonly salt: Uint8Array
  /** 32 bytes. */
  readonly commitment: Uint8Array
}

/** Padmé (Nikitin et al. 2019): the length with its lower bits rounded up, so that it tells at most O(log log) bits. */
export function padmeLength(length: number): number {
  if (length < 2) return length
  const exponent = Math.floor(Math.log2(length))
  const bits = Math.floor(Math.log2(exponent)) + 1
  const unit = 2 ** Math.max(0, exponent - bits)
  return Math.ceil(length / unit) * unit
}

/** Smallest and largest size class, and the largest block of a file. */
export const classSizeMin = 1024
/** Largest size of a block of data. */
export const classSizeMax = 262_144
/** The one size of a block with a diagnosis, an amendment or a care record. */
export const recordSizeBytes = 16_384
/** Largest size of a file in one block. */
export const fileSizeMax = 1_048_576

/** True if a block of that kind may have that length. */
export function isBlockSize(kind: PayloadKind, sizeBytes: number): boolean {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < classSizeMin) return false
  switch (kind) {
    case payloadKinds.data:
    case payloadKinds.empty:
    case payloadKinds.live:
      return sizeBytes <= classSizeMax && Number.isInteger(Math.log2(sizeBytes))
    case payloadKinds.file:
      return sizeBytes <= fileSizeMax && padmeLength(sizeBytes) === sizeBytes
    case payloadKinds.diagnosis:
    case payloadKinds.amend:
    case payloadKinds.care:
      return sizeBytes === recordSizeBytes
    case payloadKinds.gap:
      return false
    default:
      return false
  }
}

function writeU64(view: DataView, offset: number, value: number): void {
  view.setBigUint64(offset, BigInt(value))
}

function readU64(view: DataView, offset: number): number {
  const value = view.getBigUint64(offset)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw formatInvalid('payload header')
  return Number(value)
}

function encodeHeader(fields: PayloadFields, sizeBytes: number, salt: Uint8Array): Bytes {
  const header = new Uint8Array(headerSizeBytes)
  const view = new DataView(header.buffer)
  header[0] = version
  header[1] = fields.kind
  view.setUint32(4, sizeBytes - headerSizeBytes - 16)
  header.set(fields.ledgerId, 8)
  header.set(fields.owner, 40)
  header.set(fields.writer, 72)
  header.set(fields.stream, 104)
  writeU64(view, 112, fields.generation)
  writeU64(view, 120, fields.epoch)
  writeU64(view, 128, fields.sequence)
  header.set(salt, saltOffset)
  return header
}

/** Reads a block's header; byte strings in the result are views into the block. */
export function parseHeader(block: Uint8Array): PayloadHeader {
  if (block.length < classSizeMin) throw formatInvalid('payload header')
  const view = new DataView(block.buffer, block.byteOffset, block.length)
  const kind = block[1] as PayloadKind
  const reserved = view.getUint16(2) === 0 && view.getBigUint64(136) === 0n
  const exact = view.getUint32(4) === block.length - headerSizeBytes - 16
  if (block[0] !== version || !reserved || !exact || !isBlockSize(kind, block.length)) {
    throw formatInvalid('payload header')
  }
  return {
    kind,
    ledgerId: block.subarray(8, 40),
    owner: block.subarray(40, 72),
    writer: block.subarray(72, 104),
    stream: block.subarray(104, 112),
    generation: readU64(view, 112),
    epoch: readU64(view, 120),
    sequence: readU64(view, 128),
    sizeBytes: block.length,
    salt: block.subarray(saltOffset, associatedSizeBytes),
    commitment: block.subarray(associatedSizeBytes, headerSizeBytes),
  }
}

/** The record key (32 bytes) and its commitment (32 bytes), in one array. */
export function recordSecret(provider: Provider, epochKey: Uint8Array, header: Uint8Array): Bytes {
  return provider.hkdfSha256({
    ikm: epochKey,
    salt: header.subarray(saltOffset, associatedSizeBytes),
    info: header.subarray(0, associatedSizeBytes),
    length: 64,
  })
}

/** Seals under a salt that the caller drew. The arguments are already checked. */
export function sealPayloadWith(
  provider: Provider,
  options: {
    fields: PayloadFields
    epochKey: Uint8Array
    plaintext: Uint8Array
    sizeBytes: number
    salt: Uint8Array
  },
): Bytes {
  const { plaintext, sizeBytes } = options
  if (plaintext.length > sizeBytes - blockOverheadBytes) {
    const detail = {
      code: 'ERR_SIZE_INVALID',
      size: plaintext.length,
      sizeMax: sizeBytes - blockOverheadBytes,
    } as const
    throw new CryptoError('the data does not fit into the block', detail)
  }
  const header = encodeHeader(options.fields, sizeBytes, options.salt)
  const secret = recordSecret(provider, options.epochKey, header)
  header.set(secret.subarray(32), associatedSizeBytes)
  const padded = new Uint8Array(sizeBytes - headerSizeBytes - 16)
  new DataView(padded.buffer).setUint32(0, plaintext.length)
  padded.set(plaintext, 4)
  const body = provider.aesGcmSeal({ key: secret.subarray(0, 32), nonce: zeroNonce, aad: header, plaintext: padded })
  secret.fill(0)
  padded.fill(0)
  const block = new Uint8Array(sizeBytes)
  block.set(header)
  block.set(body, headerSizeBytes)
  return block
}

function sameFields(header: PayloadHeader, expected: PayloadFields): boolean {
  return (
    header.kind === expected.kind &&
    equalBytes(header.ledgerId, expected.ledgerId) &&
    equalBytes(header.owner, expected.owner) &&
    equalBytes(header.writer, expected.writer) &&
    equalBytes(header.stream, expected.stream) &&
    header.generation === expected.generation &&
    header.epoch === expected.epoch &&
    header.sequence === expected.sequence
  )
}

function unpad(padded: Bytes): Bytes | undefined {
  const length = new DataView(padded.buffer, padded.byteOffset).getUint32(0)
  if (length > padded.length - 4) return undefined
  let rest = 0
  for (let i = 4 + length; i < padded.length; i++) rest |= padded[i] as number
  return rest === 0 ? padded.subarray(4, 4 + length) : undefined
}

/** `openPayload` of a provider. */
export function openPayloadWith(
  provider: Provider,
  options: { block: Uint8Array; epochKey: Uint8Array; expected: PayloadFields },
): Bytes {
  const { block, epochKey, expected } = options
  let header: PayloadHeader
  try {
    header = parseHeader(block)
  } catch {
    throw openFailed()
  }
  if (!sameFields(header, expected)) throw openFailed()
  const headerBytes = block.subarray(0, headerSizeBytes)
  const secret = recordSecret(provider, epochKey, headerBytes)
  try {
    if (!provider.equalConstantTime(secret.subarray(32), header.commitment)) throw openFailed()
    const key = secret.subarray(0, 32)
    const padded = provider.aesGcmOpen({
      key,
      nonce: zeroNonce,
      aad: headerBytes,
      sealed: block.subarray(headerSizeBytes),
    })
    const data = padded && unpad(padded)
    if (data === undefined) throw openFailed()
    return data
  } finally {
    secret.fill(0)
  }
}
