/**
 * Files in chunks (SPEC.md §4a), for a provider and a salt given by the caller: the deterministic inside of
 * `sealFileHeader`, which alone may choose the salt.
 */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Bytes, Provider } from '../provider/provider.ts'
import { formatInvalid, openFailed } from './failures.ts'
import { headerSizeBytes, type PayloadFields, padmeLength, payloadKinds, recordSecret } from './payload.ts'

/** Plaintext bytes of every chunk but the last. */
export const chunkSizeBytes = 65_536
const tagSizeBytes = 16
const sealedChunkBytes = chunkSizeBytes + tagSizeBytes
/** Length of the data, before it. */
export const lengthSizeBytes = 8
const version = 2
const saltOffset = 144
const associatedSizeBytes = 176
/** Largest stored length: 1 TiB. */
export const storedSizeMax = 2 ** 40
const storedSizeMin = 1024
const noBytes = new Uint8Array(0)

/** A file's header: public, and not to be believed before a chunk opened. */
export interface FileHeader extends PayloadFields {
  /** Bytes of the whole stored file, header included. */
  readonly sizeBytes: number
  /** 32 bytes. */
  readonly salt: Uint8Array
  /** 32 bytes. */
  readonly commitment: Uint8Array
}

/** Number of chunks of a stored length, and the plaintext bytes of the last; undefined if no file has that length. */
export function geometryOf(sizeBytes: number): { count: number; lastBytes: number } | undefined {
  const isLength = Number.isSafeInteger(sizeBytes) && sizeBytes >= storedSizeMin && sizeBytes <= storedSizeMax
  if (!isLength || padmeLength(sizeBytes) !== sizeBytes) return undefined
  const body = sizeBytes - headerSizeBytes
  const count = Math.ceil(body / sealedChunkBytes)
  const lastBytes = body - (count - 1) * sealedChunkBytes - tagSizeBytes
  return lastBytes >= 1 ? { count, lastBytes } : undefined
}

/** Plaintext that a stored length holds, length field and padding included. */
export function plaintextOf(sizeBytes: number): number {
  const geometry = geometryOf(sizeBytes)
  return geometry === undefined ? 0 : (geometry.count - 1) * chunkSizeBytes + geometry.lastBytes
}

/** The smallest stored length that holds so much data. */
export function storedSizeOf(dataSizeBytes: number): number {
  const plaintext = dataSizeBytes + lengthSizeBytes
  const chunks = Math.max(1, Math.ceil(plaintext / chunkSizeBytes))
  let sizeBytes = padmeLength(Math.max(storedSizeMin, headerSizeBytes + plaintext + chunks * tagSizeBytes))
  while (plaintextOf(sizeBytes) < plaintext) sizeBytes = padmeLength(sizeBytes + 1)
  return sizeBytes
}

/** A header without its commitment. */
function encodeHeader(fields: Omit<PayloadFields, 'kind'>, sizeBytes: number, salt: Uint8Array): Bytes {
  const header = new Uint8Array(headerSizeBytes)
  const view = new DataView(header.buffer)
  header[0] = version
  header[1] = payloadKinds.file
  view.setUint32(4, chunkSizeBytes)
  header.set(fields.ledgerId, 8)
  header.set(fields.owner, 40)
  header.set(fields.writer, 72)
  header.set(fields.stream, 104)
  view.setBigUint64(112, BigInt(fields.generation))
  view.setBigUint64(120, BigInt(fields.epoch))
  view.setBigUint64(128, BigInt(fields.sequence))
  view.setBigUint64(136, BigInt(sizeBytes))
  header.set(salt, saltOffset)
  return header
}

/** A header under a salt that the caller drew. The arguments are already checked. */
export function sealFileHeaderWith(
  provider: Provider,
  options: { fields: Omit<PayloadFields, 'kind'>; sizeBytes: number; epochKey: Uint8Array; salt: Uint8Array },
): Bytes {
  const header = encodeHeader(options.fields, options.sizeBytes, options.salt)
  const secret = recordSecret(provider, options.epochKey, header)
  header.set(secret.subarray(32), associatedSizeBytes)
  secret.fill(0)
  return header
}

/** Reads the header at the start of a file; byte strings in the result are views. */
export function parseFileHeaderBytes(bytes: Uint8Array): FileHeader {
  if (bytes.length < headerSizeBytes) throw formatInvalid('file header')
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerSizeBytes)
  const isKind = bytes[0] === version && bytes[1] === payloadKinds.file && view.getUint16(2) === 0
  const numbers = [112, 120, 128, 136].map((offset) => view.getBigUint64(offset))
  const areSafe = numbers.every((number) => number <= BigInt(Number.MAX_SAFE_INTEGER))
  const [generation, epoch, sequence, sizeBytes] = numbers.map(Number) as [number, number, number, number]
  if (!isKind || view.getUint32(4) !== chunkSizeBytes || !areSafe || geometryOf(sizeBytes) === undefined) {
    throw formatInvalid('file header')
  }
  return {
    kind: payloadKinds.file,
    ledgerId: bytes.subarray(8, 40),
    owner: bytes.subarray(40, 72),
    writer: bytes.subarray(72, 104),
    stream: bytes.subarray(104, 112),
    generation,
    epoch,
    sequence,
    sizeBytes,
    salt: bytes.subarray(saltOffset, associatedSizeBytes),
    commitment: bytes.subarray(associatedSizeBytes, headerSizeBytes),
  }
}

/** Where a chunk lies in the stored file, and how long it is there. */
export function placeOf(index: number, count: number, lastBytes: number): { offset: number; sizeBytes: number } {
  const plaintext = index === count - 1 ? lastBytes : chunkSizeBytes
  return { offset: headerSizeBytes + index * sealedChunkBytes, sizeBytes: plaintext + tagSizeBytes }
}

/** The STREAM construction (Hoang et al. 2015): eleven bytes of counter, one that marks the last chunk. */
function nonceOf(index: number, count: number): Bytes {
  const nonce = new Uint8Array(12)
  new DataView(nonce.buffer).setBigUint64(3, BigInt(index))
  nonce[11] = index === count - 1 ? 1 : 0
  return nonce
}

/** Seals one chunk. */
export function sealChunkWith(
  provider: Provider,
  options: { key: Uint8Array; index: number; count: number; plaintext: Uint8Array },
): Bytes {
  const { key, index, count, plaintext } = options
  return provider.aesGcmSeal({ key, nonce: nonceOf(index, count), aad: noBytes, plaintext })
}

/** Opens one chunk; `ERR_OPEN_FAILED` whatever the cause. */
export function openChunkWith(
  provider: Provider,
  options: { key: Uint8Array; index: number; count: number; sealed: Uint8Array },
): Bytes {
  const { key, index, count, sealed } = options
  const plaintext = provider.aesGcmOpen({ key, nonce: nonceOf(index, count), aad: noBytes, sealed })
  if (plaintext === undefined) throw openFailed()
  return plaintext
}

/** The file's key, if the header is what was expected and commits to it; `ERR_OPEN_FAILED` otherwise. */
export function fileKeyWith(
  provider: Provider,
  options: { header: Uint8Array; epochKey: Uint8Array; expected: PayloadFields & { sizeBytes: number } },
): Bytes {
  const { epochKey, expected } = options
  let header: FileHeader
  try {
    header = parseFileHeaderBytes(options.header)
  } catch {
    throw openFailed()
  }
  const isExpected =
    expected.kind === payloadKinds.file &&
    (['ledgerId', 'owner', 'writer', 'stream'] as const).every((name) => equalBytes(header[name], expected[name])) &&
    (['generation', 'epoch', 'sequence', 'sizeBytes'] as const).every((name) => header[name] === expected[name])
  if (!isExpected) throw openFailed()
  const secret = recordSecret(provider, epochKey, options.header)
  try {
    if (!provider.equalConstantTime(secret.subarray(32), header.commitment)) throw openFailed()
    return secret.slice(0, 32)
  } finally {
    secret.fill(0)
  }
}
