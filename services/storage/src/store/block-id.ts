/**
 * Which block is meant. Blocks are kept under their SHA-256 digest alone, as the ledger names them; the codec only says
 * how a CID is written, so that raw and dag-pb CIDs of the same bytes are the same block.
 */
import { createHash } from 'node:crypto'
import { base64url } from 'multiformats/bases/base64'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { StorageError } from '../errors.ts'

/** The multicodec of raw bytes. */
export const codecRaw = 0x55
/** The multicodec of dag-pb, the nodes of UnixFS files. */
export const codecDagPb = 0x70
const multihashSha256 = 0x12
/** Longest text that is looked at as a CID. */
const cidTextLengthMax = 128

/** A block's address. */
export interface BlockId {
  /** 32-byte SHA-256 of the block. */
  digest: Uint8Array
  /** {@link codecRaw} or {@link codecDagPb}. */
  codec: number
}

function invalid(reason: string, cause?: unknown): StorageError {
  return new StorageError(`invalid CID: ${reason}`, { code: 'ERR_CID_INVALID', reason }, { cause })
}

function fromCid(cid: CID): BlockId {
  if (cid.multihash.code !== multihashSha256 || cid.multihash.digest.length !== 32) throw invalid('not SHA-256')
  if (cid.code !== codecRaw && cid.code !== codecDagPb) throw invalid('codec is neither raw nor dag-pb')
  return { digest: cid.multihash.digest.slice(), codec: cid.code }
}

/**
 * Reads a CID: v0, or v1 in base32, base36, base58btc or base64url, bare or as `/ipfs/<cid>`.
 *
 * @throws {StorageError} `ERR_CID_INVALID` for anything but SHA-256 over raw or dag-pb.
 */
export function parseBlockId(text: string): BlockId {
  if (text.length > cidTextLengthMax) throw invalid('too long')
  // The path form that IPFS clients may send.
  const bare = text.startsWith('/ipfs/') ? text.slice(6) : text
  let cid: CID
  try {
    // Multibase `u` is not among the decoders that CIDs bring along.
    cid = bare.startsWith('u') ? CID.parse(bare, base64url) : CID.parse(bare)
  } catch (cause) {
    throw invalid('cannot be read', cause)
  }
  return fromCid(cid)
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
  return new Uint8Array(createHash('sha256').update(bytes).digest())
}
