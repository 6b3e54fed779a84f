/**
 * Sealed payloads: one fixed header in the clear, one padded body of a fixed size. The salt makes key and nonce unique
 * even when a sequence number is used twice (a crash, a restored backup); the commitment makes a block open under one
 * key only.
 *
 * @see SPEC.md §4
 */
import { provider } from '#provider'
import { CryptoError } from './errors.ts'
import { argumentInvalid } from './inner/failures.ts'
import {
  blockOverheadBytes,
  classSizeMax,
  classSizeMin,
  fileSizeMax,
  isBlockSize,
  openPayloadWith,
  type PayloadFields,
  type PayloadHeader,
  padmeLength,
  parseHeader,
  payloadKinds,
  recordSizeBytes,
  sealPayloadWith,
} from './inner/payload.ts'
import type { Bytes } from './provider/provider.ts'

export {
  blockOverheadBytes,
  headerSizeBytes,
  isBlockSize,
  type PayloadFields,
  type PayloadHeader,
  type PayloadKind,
  padmeLength,
  payloadKinds,
} from './inner/payload.ts'

/** The sizes of a block of data, in bytes: the powers of two from 1 KiB to 256 KiB. */
export const payloadClasses: readonly number[] = Array.from({ length: 9 }, (_, i) => classSizeMin * 2 ** i)
/** The one size of a block with a diagnosis, an amendment or a care record. */
export const recordBlockSizeBytes = recordSizeBytes
/** The most data that a block of a diagnosis holds: 16,156 bytes. */
export const recordDataSizeMax = recordSizeBytes - blockOverheadBytes

function tooLarge(size: number, sizeMax: number): CryptoError {
  return new CryptoError('the data does not fit into a block', { code: 'ERR_SIZE_INVALID', size, sizeMax })
}

/**
 * The smallest class whose block holds that much data.
 *
 * @throws {CryptoError} `ERR_SIZE_INVALID` beyond 261,916 bytes.
 */
export function smallestClass(dataSizeBytes: number): number {
  for (const sizeBytes of payloadClasses) if (dataSizeBytes <= sizeBytes - blockOverheadBytes) return sizeBytes
  throw tooLarge(dataSizeBytes, classSizeMax - blockOverheadBytes)
}

/**
 * The length of the one block that holds a file of that size: a Padmé length of at least 1 KiB.
 *
 * @throws {CryptoError} `ERR_SIZE_INVALID` for what does not fit into 1 MiB.
 */
export function fileBlockSize(dataSizeBytes: number): number {
  const sizeBytes = padmeLength(Math.max(classSizeMin, dataSizeBytes + blockOverheadBytes))
  if (sizeBytes > fileSizeMax) throw tooLarge(dataSizeBytes, fileSizeMax - blockOverheadBytes)
  return sizeBytes
}

function checkFields(fields: PayloadFields, sizeBytes: number): void {
  for (const [name, length] of [
    ['ledgerId', 32],
    ['owner', 32],
    ['writer', 32],
    ['stream', 8],
  ] as const) {
    if (fields[name].length !== length) throw argumentInvalid(name)
  }
  for (const name of ['generation', 'epoch', 'sequence'] as const) {
    if (!Number.isSafeInteger(fields[name]) || fields[name] < 0) throw argumentInvalid(name)
  }
  if (!isBlockSize(fields.kind, sizeBytes)) throw argumentInvalid('sizeBytes')
}

/**
 * Seals one record. The salt is drawn here: sealing the same twice gives two unrelated blocks.
 *
 * @param options - `sizeBytes`: the block's whole length (`smallestClass`, `fileBlockSize`, `recordBlockSizeBytes`); data
 *   of kind `empty` has no bytes; `epochKey` 32 bytes, of the epoch in the fields.
 * @returns The block, and its header as a view of it.
 * @throws {CryptoError} `ERR_SIZE_INVALID` if the data does not fit; `ERR_ARGUMENT_INVALID`.
 */
export function sealPayload(
  options: PayloadFields & { epochKey: Uint8Array; plaintext: Uint8Array; sizeBytes: number },
): { block: Bytes; header: PayloadHeader } {
  const { epochKey, plaintext, sizeBytes, ...fields } = options
  checkFields(fields, sizeBytes)
  if (epochKey.length !== 32) throw argumentInvalid('epochKey')
  if (fields.kind === payloadKinds.empty && plaintext.length > 0) throw argumentInvalid('plaintext')
  const salt = provider.randomBytes(32)
  const block = sealPayloadWith(provider, { fields, epochKey, plaintext, sizeBytes, salt })
  return { block, header: parseHeader(block) }
}

/**
 * Opens one record: the commitment first, then the tag, then the padding.
 *
 * @param options - `expected`: every field as the ledger's transaction has it.
 * @returns The data, a view of fresh memory.
 * @throws {CryptoError} `ERR_OPEN_FAILED`, whatever the cause.
 */
export function openPayload(options: { block: Uint8Array; epochKey: Uint8Array; expected: PayloadFields }): Bytes {
  return openPayloadWith(provider, options)
}

/**
 * Reads the header of a block without a key: what it claims, not what is so.
 *
 * @throws {CryptoError} `ERR_FORMAT_INVALID` for a wrong version, length or reserved byte.
 */
export function parsePayloadHeader(block: Uint8Array): PayloadHeader {
  return parseHeader(block)
}
