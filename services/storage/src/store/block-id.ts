/**
 * Which block is meant. Blocks are kept under their SHA-256 digest alone, as the ledger names them; the codec only says
 * how a CID is written, so that raw and dag-pb CIDs of the same bytes are the same block.
 */
import { hash } from 'node:crypto'
import { base16, base16upper } from 'multiformats/bases/base16'
import { base32upper } from 'multiformats/bases/base32'
import { base64url } from 'multiformats/bases/base64'
import type { MultibaseDecoder } from 'multiformats/bases/interface'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { StorageError } from '../errors.ts'

/** The multicodec of raw bytes. */
export const codecRaw = 0x55
/** The multicodec of dag-pb, the nodes of UnixFS files. */
export const codecDagPb = 0x70
/** The multicodecs of the other structured nodes that IPFS clients store. */
export const codecDagCbor = 0x71
/** See {@link codecDagCbor}. */
export const codecDagJson = 0x0129
/** Every codec that a block may have, by the name that the RPC uses. */
export const codecs: Readonly<Record<string, number>> = {
  raw: codecRaw,
  'dag-pb': codecDagPb,
  protobuf: codecDagPb,
  'dag-cbor': codecDagCbor,
  cbor: codecDagCbor,
  'dag-json': codecDagJson,
}
const codecNumbers = new Set(Object.values(codecs))
const multihashSha256 = 0x12
/** Longest text that is looked at as a CID. */
const cidTextLengthMax = 128

/** A block's address. */
export interface BlockId {
  /** 32-byte SHA-256 of the block. */
  digest: Uint8Array
  /** One of {@link codecs}. */
  codec: number
}

/** Version, codec, multihash and length of the CIDs that nearly all are: version 1, SHA-256, a codec of one byte. */
const usualHeadBytes = 4
const usualBytes = usualHeadBytes + 32
/** Length of the text that {@link readUsualText} reads. */
export const usualTextLength = 1 + Math.ceil((usualBytes * 8) / 5)
const base32Letters = Buffer.from('abcdefghijklmnopqrstuvwxyz234567', 'latin1')
/** The value of each letter, by its code; 255 for what is none. */
const base32Values = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = base32Letters.indexOf(code)
  return value === -1 ? 255 : value
})
/** Each text is written here first: nothing waits in between. */
const usualText = Buffer.alloc(usualTextLength, 'b')

function invalid(reason: string, cause?: unknown): StorageError {
  return new StorageError(`invalid CID: ${reason}`, { code: 'ERR_CID_INVALID', reason }, { cause })
}

/** The block of a CID's bytes as nearly all are; undefined for others, which may be CIDs too. */
function readUsual(bytes: Uint8Array): BlockId | undefined {
  if (bytes.length !== usualBytes || bytes[0] !== 1 || bytes[2] !== multihashSha256 || bytes[3] !== 32) return undefined
  const codec = bytes[1] as number
  return codec < 128 && isCodec(codec) ? { digest: bytes.slice(usualHeadBytes), codec } : undefined
}

/** The block that a CID's text names if it is as nearly all are: version 1 in base32; undefined for others, which may be CIDs too. */
export function readUsualText(text: string): BlockId | undefined {
  if (text.length !== usualTextLength || text.charCodeAt(0) !== 0x62) return undefined
  const bytes = new Uint8Array(usualBytes)
  let [bits, waiting, at] = [0, 0, 0]
  for (let index = 1; index < usualTextLength; index++) {
    const value = base32Values[text.charCodeAt(index)] ?? 255
    if (value === 255) return undefined
    waiting = ((waiting << 5) | value) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes[at++] = waiting >> bits
  }
  // What is left of the last letter is zero, or two texts would be one CID.
  return (waiting & ((1 << bits) - 1)) === 0 ? readUsual(bytes) : undefined
}

function writeUsual({ digest, codec }: BlockId): Uint8Array {
  const bytes = new Uint8Array(usualBytes)
  bytes.set([1, codec, multihashSha256, 32])
  bytes.set(digest, usualHeadBytes)
  return bytes
}

function writeUsualText(id: BlockId): string {
  let [bits, waiting, at] = [0, 0, 1]
  for (const byte of writeUsual(id)) {
    waiting = ((waiting << 8) | byte) & 0xfff
    bits += 8
    for (; bits >= 5; bits -= 5) usualText[at++] = base32Letters[(waiting >> (bits - 5)) & 31] as number
  }
  usualText[at] = base32Letters[(waiting << (5 - bits)) & 31] as number
  return usualText.toString('latin1')
}

/** True if blocks may have this codec. */
export function isCodec(code: unknown): code is number {
  return typeof code === 'number' && codecNumbers.has(code)
}

/**
 * The block that a CID names.
 *
 * @throws {StorageError} `ERR_CID_INVALID` as {@link parseBlockId}.
 */
export function fromCid(cid: CID): BlockId {
  if (cid.multihash.code !== multihashSha256 || cid.multihash.digest.length !== 32) throw invalid('not SHA-256')
  if (!isCodec(cid.code)) throw invalid('codec is none of raw, dag-pb, dag-cbor, dag-json')
  return { digest: cid.multihash.digest.slice(), codec: cid.code }
}

/**
 * Reads a CID: v0, or v1 in base16, base32, base36, base58btc or base64url, bare, as `/ipfs/<cid>` or as `ipfs://<cid>`.
 *
 * @throws {StorageError} `ERR_CID_INVALID` for anything but SHA-256 over one of {@link codecs}.
 */
export function parseBlockId(text: string): BlockId {
  // The library takes several times as long over each, which a read of a block would feel.
  return readUsualText(text) ?? fromCid(parseCid(text))
}

/** Without the path forms that IPFS clients may send. */
function bareOf(text: string): string {
  return text.replace(/^(?:\/ipfs\/|ipfs:\/\/)/, '')
}

/** Multibases, by their prefixes, that are not among the decoders which CIDs bring along. */
const otherBases: Readonly<Record<string, MultibaseDecoder<string>>> = {
  u: base64url,
  f: base16,
  F: base16upper,
  B: base32upper,
}

/**
 * Reads a CID's text as {@link parseBlockId} does, version and all.
 *
 * @throws {StorageError} `ERR_CID_INVALID` for anything that is not a CID.
 */
export function parseCid(text: string): CID {
  if (text.length > cidTextLengthMax) throw invalid('too long')
  const bare = bareOf(text)
  try {
    const base = otherBases[bare.charAt(0)]
    return base === undefined ? CID.parse(bare) : CID.parse(bare, base)
  } catch (cause) {
    throw invalid(`"${text.replaceAll(/[^\x20-\x7e]/g, '?')}" cannot be read`, cause)
  }
}

/**
 * Reads the bytes of a CID, as Bitswap carries them.
 *
 * @throws {StorageError} `ERR_CID_INVALID` as {@link parseBlockId}.
 */
export function parseBlockIdBytes(bytes: Uint8Array): BlockId {
  const usual = readUsual(bytes)
  if (usual) return usual
  let cid: CID
  try {
    cid = CID.decode(bytes)
  } catch (cause) {
    throw invalid('cannot be read', cause)
  }
  return fromCid(cid)
}

/** The CID (v1) as multiformats has it. */
export function toCid(id: BlockId): CID {
  return CID.createV1(id.codec, createDigest(multihashSha256, id.digest))
}

/** The CID (v1) as text, base32. */
export function encodeBlockId(id: BlockId): string {
  return id.codec < 128 ? writeUsualText(id) : toCid(id).toString()
}

/** The block's CID in version 0, which only nodes of dag-pb have. */
export function encodeBlockIdV0({ digest }: Pick<BlockId, 'digest'>): string {
  return CID.createV0(createDigest(multihashSha256, digest)).toString()
}

/** The CID of a block in the version in which a caller wrote it; version 1 is in base32 whatever base he wrote. */
export function encodeLike(text: string, id: BlockId): string {
  return bareOf(text).startsWith('Qm') ? encodeBlockIdV0(id) : encodeBlockId(id)
}

/** The CID (v1) as bytes: version, codec, multihash. */
export function encodeBlockIdBytes(id: BlockId): Uint8Array {
  return id.codec < 128 ? writeUsual(id) : toCid(id).bytes
}

/** SHA-256 of a block: its address. */
export function hashBlock(bytes: Uint8Array): Uint8Array {
  const digest = hash('sha256', bytes, 'buffer')
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.length)
}
