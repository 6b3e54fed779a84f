/** Structured nodes of any codec that is kept: what they link to, and how they are shown. */
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import * as dagPb from '@ipld/dag-pb'
import { CID } from 'multiformats/cid'
import { StorageError } from './errors.ts'
import { type BlockId, codecDagCbor, codecDagJson, codecDagPb, codecRaw, encodeBlockId } from './store/block-id.ts'

interface Codec {
  decode(bytes: Uint8Array): unknown
  encode(value: never): Uint8Array
}

const raw: Codec = { decode: (bytes) => bytes, encode: (value: Uint8Array) => value }
const byNumber = new Map<number, Codec>([
  [codecRaw, raw],
  [codecDagPb, dagPb],
  [codecDagCbor, dagCbor],
  [codecDagJson, dagJson],
])
/** Deepest value that is looked into. */
const depthMax = 64

function invalid(cid: string, cause: unknown): StorageError {
  return new StorageError(`${cid}: malformed`, { code: 'ERR_DAG_INVALID', cid, reason: 'malformed' }, { cause })
}

/**
 * A node as a value of the IPLD data model.
 *
 * @throws {StorageError} `ERR_DAG_INVALID`.
 */
export function decodeNode(bytes: Uint8Array, codec: number, name: string): unknown {
  try {
    return byNumber.get(codec)?.decode(bytes)
  } catch (cause) {
    throw invalid(name, cause)
  }
}

/**
 * A value's bytes in a codec.
 *
 * @throws {StorageError} `ERR_DAG_INVALID` if the codec cannot say it.
 */
export function encodeNode(value: unknown, codec: number): Uint8Array {
  try {
    const encoded = byNumber.get(codec)?.encode((codec === codecDagPb ? dagPb.prepare(value) : value) as never)
    if (encoded instanceof Uint8Array) return encoded
    throw new TypeError('no bytes')
  } catch (cause) {
    throw invalid('the node', cause)
  }
}

function* cidsIn(value: unknown, depth: number): Generator<CID> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return
  if (depth > depthMax) throw new TypeError('nested too deeply')
  const cid = CID.asCID(value)
  if (cid) yield cid
  else for (const inner of Object.values(value)) yield* cidsIn(inner, depth + 1)
}

/** A link of a node; the name is that of a dag-pb link. */
export interface NodeLink {
  readonly name: string
  readonly cid: CID
}

/**
 * What a node links to, in order.
 *
 * @throws {StorageError} `ERR_DAG_INVALID`.
 */
export function linksOf(id: BlockId, bytes: Uint8Array): NodeLink[] {
  if (id.codec === codecRaw) return []
  const name = encodeBlockId(id)
  const value = decodeNode(bytes, id.codec, name)
  if (id.codec === codecDagPb) {
    return (value as dagPb.PBNode).Links.map(({ Name, Hash }) => ({ name: Name ?? '', cid: Hash }))
  }
  try {
    return [...cidsIn(value, 0)].map((cid) => ({ name: '', cid }))
  } catch (cause) {
    throw invalid(name, cause)
  }
}

/**
 * One step of a path into a value.
 *
 * @returns undefined if there is no such step.
 */
export function stepInto(value: unknown, name: string, codec: number): unknown {
  if (codec === codecDagPb) {
    const { Links } = value as dagPb.PBNode
    const link = Links.find(({ Name }) => Name === name)
    if (link) return link.Hash
  }
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Record<string, unknown>)[name]
}
