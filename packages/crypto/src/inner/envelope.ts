/** The envelope's bytes (SPEC.md §5): contents, info, padding. */
import { compareBytes, concatBytes, encodeU64, encodeUtf8 } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { CryptoError } from '../errors.ts'
import type { Bytes, Provider } from '../provider/provider.ts'
import { argumentInvalid, formatInvalid } from './failures.ts'
import { sealOverheadBytes } from './kem.ts'
import { isPosition, leavesUnder } from './key-tree.ts'

/** The only lengths of an envelope, in bytes. */
export const envelopeSizes = [1472, 1792, 2560, 4096, 8192, 16_384] as const
/** Most positions in a cover. */
export const coverMax = 255
/** Most streams, and most diagnosis streams, in one envelope. */
export const envelopeStreamsMax = 16

/** What a stream is: known inside envelopes only. */
export const streamKinds = { ecg: 1, vitals: 2, records: 3, profile: 4, live: 5, other: 255 } as const
/** One of `streamKinds`, or a later one that this version treats as `other`. */
export type StreamKind = number

/** One stream's keys in an envelope. */
export interface EnvelopeStream {
  /** 8 bytes. */
  readonly stream: Uint8Array
  readonly kind: StreamKind
  /** Bytes of each of its blocks; 0 while no record fixed it. */
  readonly class: number
  /** 32 bytes per position of the cover, joined; 32 zero bytes where the key was destroyed. */
  readonly keys: Uint8Array
}

/** A diagnosis stream's keys: the same cover, blocks of 16 KiB. */
export interface EnvelopeDiagnosis {
  readonly stream: Uint8Array
  readonly keys: Uint8Array
}

/** What an envelope hands over: keys of exactly one generation. */
export interface EnvelopeContents {
  /** Epoch of the generation's leaf 0. */
  readonly first: number
  readonly cover: readonly (readonly [depth: number, index: number])[]
  readonly streams: readonly EnvelopeStream[]
  readonly diagnosis: readonly EnvelopeDiagnosis[]
}

/** Where an envelope belongs; it opens nowhere else. Ids are 32 bytes, the grant's 16. */
export interface EnvelopeContext {
  readonly ledgerId: Uint8Array
  readonly patient: Uint8Array
  readonly grantId: Uint8Array
  readonly generation: number
  readonly recipient: Uint8Array
  /** 1,216 bytes: the recipient's registered key. */
  readonly recipientKemKey: Uint8Array
}

const label = encodeUtf8('healthblock/1 envelope')

/** HPKE's info. */
export function envelopeInfo(provider: Provider, context: EnvelopeContext): Bytes {
  for (const [name, length] of [
    ['ledgerId', 32],
    ['patient', 32],
    ['grantId', 16],
    ['recipient', 32],
  ] as const) {
    if (context[name].length !== length) throw argumentInvalid(name)
  }
  if (!Number.isSafeInteger(context.generation) || context.generation < 0) throw argumentInvalid('generation')
  return concatBytes(
    label,
    context.ledgerId,
    context.patient,
    context.grantId,
    encodeU64(context.generation),
    context.recipient,
    provider.sha256([context.recipientKemKey]),
  )
}

function isWellFormed(contents: EnvelopeContents): boolean {
  const { first, cover, streams, diagnosis } = contents
  if (!Number.isSafeInteger(first) || first < 0) return false
  if (cover.length < 1 || cover.length > coverMax) return false
  if (streams.length > envelopeStreamsMax || diagnosis.length > envelopeStreamsMax) return false
  let end = 0
  for (const [depth, index] of cover) {
    if (!isPosition({ depth, index })) return false
    const under = leavesUnder({ depth, index })
    if (under.from < end) return false
    end = under.until
  }
  for (const list of [streams, diagnosis]) {
    for (const [i, { stream, keys }] of list.entries()) {
      const previous = list[i - 1]
      if (stream.length !== 8 || keys.length !== 32 * cover.length) return false
      if (previous !== undefined && compareBytes(previous.stream, stream) >= 0) return false
    }
  }
  return streams.every(({ kind, class: size }) => Number.isInteger(kind) && kind >= 0 && kind < 256 && size <= 262_144)
}

/** Contents as canonical CBOR. */
export function encodeContents(contents: EnvelopeContents): Bytes {
  if (!isWellFormed(contents)) throw argumentInvalid('contents')
  return encodeCbor({
    v: 1,
    first: contents.first,
    cover: contents.cover.map(([depth, index]) => [depth, index]),
    streams: contents.streams.map(({ stream, kind, class: size, keys }) => [stream, kind, size, keys]),
    diagnosis: contents.diagnosis.map(({ stream, keys }) => [stream, keys]),
  })
}

const invalid = () => formatInvalid('envelope')

function numberIn(value: CborValue | undefined): number {
  if (typeof value !== 'number') throw invalid()
  return value
}

function bytesIn(value: CborValue | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw invalid()
  return value
}

function tuplesIn(value: CborValue | undefined, length: number): CborValue[][] {
  if (!Array.isArray(value)) throw invalid()
  return value.map((item) => {
    if (!Array.isArray(item) || item.length !== length) throw invalid()
    return item
  })
}

/** Reads contents; throws `ERR_FORMAT_INVALID` (or the decoder's error) for anything `encodeContents` would not write. */
export function parseContents(bytes: Uint8Array): EnvelopeContents {
  const map = decodeCbor(bytes) as CborMap
  if (typeof map !== 'object' || Object.keys(map).length !== 5 || map.v !== 1) throw invalid()
  const contents: EnvelopeContents = {
    first: numberIn(map.first),
    cover: tuplesIn(map.cover, 2).map(([depth, index]) => [numberIn(depth), numberIn(index)] as const),
    streams: tuplesIn(map.streams, 4).map(([stream, kind, size, keys]) => ({
      stream: bytesIn(stream),
      kind: numberIn(kind),
      class: numberIn(size),
      keys: bytesIn(keys),
    })),
    diagnosis: tuplesIn(map.diagnosis, 2).map(([stream, keys]) => ({ stream: bytesIn(stream), keys: bytesIn(keys) })),
  }
  if (!isWellFormed(contents)) throw invalid()
  return contents
}

/** u32 length || bytes || zeros, filling the smallest envelope that fits. */
export function padContents(bytes: Uint8Array): Bytes {
  const sizeMax = envelopeSizes[envelopeSizes.length - 1] as number
  const size = envelopeSizes.find((each) => bytes.length <= each - sealOverheadBytes - 4)
  if (size === undefined) {
    const detail = { code: 'ERR_SIZE_INVALID', size: bytes.length, sizeMax: sizeMax - sealOverheadBytes - 4 } as const
    throw new CryptoError('the contents do not fit into an envelope', detail)
  }
  const padded = new Uint8Array(size - sealOverheadBytes)
  new DataView(padded.buffer).setUint32(0, bytes.length)
  padded.set(bytes, 4)
  return padded
}

/** The inverse of `padContents`. */
export function unpadContents(padded: Uint8Array): Uint8Array {
  const length = new DataView(padded.buffer, padded.byteOffset, padded.length).getUint32(0)
  const bytes = padded.subarray(4, 4 + length)
  if (bytes.length !== length || padContents(bytes).length !== padded.length) throw invalid()
  if (padded.subarray(4 + length).some((byte) => byte !== 0)) throw invalid()
  return bytes
}
