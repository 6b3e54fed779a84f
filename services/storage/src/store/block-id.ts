/**
 * Which block is meant. Blocks are kept under their SHA-256 digest alone, as the ledger names them; the codec only says
 * how a CID is written, so that raw and dag-pb CIDs of the same bytes are the same block.
 */
import { hash } from 'node:crypto'
import { base64url } from 'multiformats/bases/base64'
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

function invalid(reason: string, cause?: unknown): StorageError {
  return new StorageError(`invalid CID: ${reason}`, { code: 'ERR_CID_INVALID', reason }, { cause })
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
 * Reads a CID: v0, or v1 in base32, base36, base58btc or base64url, bare or as `/ipfs/<cid>`.
 *
 * @throws {StorageError} `ERR_CID_INVALID` for anything but SHA-256 over one of {@link codecs}.
 */
export function parseBlockId(text: string): BlockId {
  return fromCid(parseCid(text))
}

/**
 * Reads a CID's text as {@link parseBlockId} does, version and all.
 *
 * @throws {StorageError} `ERR_CID_INVALID` for anything that is not a CID.
 */
export function parseCid(text: string): CID {
  if (text.length > cidTextLengthMax) throw invalid('too long')
  // The path form that IPFS clients may send.
  const bare = text.startsWith('/ipfs/') ? text.slice(6) : text
  try {
    // Multibase `u` is not among the decoders that CIDs bring along.
    return bare.startsWith('u') ? CID.parse(bare, base64url) : CID.parse(bare)
  } catch (cause) {
    throw invalid('cannot be read', cause)
  }
}

/**
 * Reads the bytes of a CID, as Bitswap carries them.
 *
 * @throws {StorageError} `ERR_CID_INVALID` as {@link parseBlockId}.
 */
export function parseBlockIdBytes(bytes: Uint8Array): BlockId {
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
  return toCid(id).toString()
}

/** The CID (v1) as bytes: version, codec, multihash. */
export function encodeBlockIdBytes(id: BlockId): Uint8Array {
  return toCid(id).bytes
}

/** SHA-256 of a block: its address. */
export function hashBlock(bytes: Uint8Array): Uint8Array {
  const digest = hash('sha256', bytes, 'buffer')
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.length)
}
