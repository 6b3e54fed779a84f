/**
 * Files of any size, sealed in chunks of 64 KiB: truncation, reordering and appending fail, and any chunk opens by
 * itself. The key comes from the record's epoch key and the header, which commits to it, as for a sealed payload.
 *
 * @see SPEC.md §4a
 */
import { provider } from '#provider'
import { CryptoError } from './errors.ts'
import {
  chunkSizeBytes,
  type FileHeader,
  fileKeyWith,
  geometryOf,
  lengthSizeBytes,
  openChunkWith,
  parseFileHeaderBytes,
  placeOf,
  plaintextOf,
  sealChunkWith,
  sealFileHeaderWith,
  storedSizeMax,
  storedSizeOf,
} from './inner/chunked-file.ts'
import { argumentInvalid, openFailed } from './inner/failures.ts'
import type { PayloadFields } from './inner/payload.ts'
import type { Bytes } from './provider/provider.ts'

export { chunkSizeBytes, type FileHeader, lengthSizeBytes } from './inner/chunked-file.ts'

/** Where the chunks of a file lie. */
export interface FileGeometry {
  readonly count: number
  /** Plaintext bytes of all chunks: length field, data and padding. */
  readonly plaintextBytes: number
  /** Place of a chunk in the stored file. */
  place(index: number): { offset: number; sizeBytes: number }
  /** Plaintext bytes of a chunk. */
  bytesOf(index: number): number
}

/**
 * Stored bytes of a file: a Padmé length, header included.
 *
 * @throws {CryptoError} `ERR_SIZE_INVALID` past 1 TiB.
 */
export function fileSizeOf(dataSizeBytes: number): number {
  if (!Number.isSafeInteger(dataSizeBytes) || dataSizeBytes < 0 || dataSizeBytes > storedSizeMax / 2) {
    const detail = { code: 'ERR_SIZE_INVALID', size: dataSizeBytes, sizeMax: storedSizeMax / 2 } as const
    throw new CryptoError('a file of that size is not sealed', detail)
  }
  return storedSizeOf(dataSizeBytes)
}

/**
 * The geometry of a stored length.
 *
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID` if no file has it.
 */
export function fileGeometry(sizeBytes: number): FileGeometry {
  const geometry = geometryOf(sizeBytes)
  if (geometry === undefined) throw argumentInvalid('sizeBytes')
  const { count, lastBytes } = geometry
  return {
    count,
    plaintextBytes: plaintextOf(sizeBytes),
    place: (index) => placeOf(index, count, lastBytes),
    bytesOf: (index) => (index === count - 1 ? lastBytes : chunkSizeBytes),
  }
}

/**
 * The header of a new file; the salt is drawn here. Every chunk under it is sealed once: whoever goes on after a crash
 * does so with the sealed chunks that he kept.
 *
 * @param options - `sizeBytes` by {@link fileSizeOf}.
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID`.
 */
export function sealFileHeader(
  options: Omit<PayloadFields, 'kind'> & { sizeBytes: number; epochKey: Uint8Array },
): Bytes {
  const { sizeBytes, epochKey, ...fields } = options
  if (geometryOf(sizeBytes) === undefined) throw argumentInvalid('sizeBytes')
  if (epochKey.length !== 32) throw argumentInvalid('epochKey')
  for (const name of ['ledgerId', 'owner', 'writer'] as const) {
    if (fields[name].length !== 32) throw argumentInvalid(name)
  }
  if (fields.stream.length !== 8) throw argumentInvalid('stream')
  for (const name of ['generation', 'epoch', 'sequence'] as const) {
    if (!Number.isSafeInteger(fields[name]) || fields[name] < 0) throw argumentInvalid(name)
  }
  return sealFileHeaderWith(provider, { fields, sizeBytes, epochKey, salt: provider.randomBytes(32) })
}

/** Reads a file's header without a key. @throws {CryptoError} `ERR_FORMAT_INVALID`. */
export function parseFileHeader(bytes: Uint8Array): FileHeader {
  return parseFileHeaderBytes(bytes)
}

/** A file's chunks under its key. */
export interface FileCipher {
  readonly geometry: FileGeometry
  /** Seals chunk `index`, whose plaintext has exactly its length. @throws {CryptoError} `ERR_ARGUMENT_INVALID`. */
  seal(index: number, plaintext: Uint8Array): Bytes
  /** Opens chunk `index`. @throws {CryptoError} `ERR_OPEN_FAILED`. */
  open(index: number, sealed: Uint8Array): Bytes
  /** Overwrites the key. */
  close(): void
}

/**
 * The cipher of a file.
 *
 * @param options - `expected`: every field as the ledger's transaction has it.
 * @throws {CryptoError} `ERR_OPEN_FAILED` if the header is another, or commits to another key.
 */
export function openFileCipher(options: {
  header: Uint8Array
  epochKey: Uint8Array
  expected: PayloadFields & { sizeBytes: number }
}): FileCipher {
  const key = fileKeyWith(provider, options)
  const geometry = fileGeometry(options.expected.sizeBytes)
  const { count } = geometry
  const check = (index: number): void => {
    if (!Number.isSafeInteger(index) || index < 0 || index >= count) throw argumentInvalid('index')
  }
  return {
    geometry,
    seal(index, plaintext) {
      check(index)
      if (plaintext.length !== geometry.bytesOf(index)) throw argumentInvalid('plaintext')
      return sealChunkWith(provider, { key, index, count, plaintext })
    },
    open(index, sealed) {
      check(index)
      return openChunkWith(provider, { key, index, count, sealed })
    },
    close() {
      key.fill(0)
    },
  }
}

/** The bytes that go before the data: its length. */
export function encodeFileLength(dataSizeBytes: number): Bytes {
  const bytes = new Uint8Array(lengthSizeBytes)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(dataSizeBytes))
  return bytes
}

/**
 * The data's length, from the first chunk's plaintext.
 *
 * @throws {CryptoError} `ERR_OPEN_FAILED` if the file cannot hold so much.
 */
export function parseFileLength(firstChunk: Uint8Array, geometry: FileGeometry): number {
  const view = new DataView(firstChunk.buffer, firstChunk.byteOffset, firstChunk.length)
  const length = firstChunk.length < lengthSizeBytes ? -1n : view.getBigUint64(0)
  if (length < 0n || length > BigInt(geometry.plaintextBytes - lengthSizeBytes)) {
    throw openFailed()
  }
  return Number(length)
}
