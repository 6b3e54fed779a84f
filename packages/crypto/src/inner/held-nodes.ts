/** The CBOR form of keys at rest, shared by the vault, the hot store and roots on their way from one to the other. */
import { compareBytes } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import type { Bytes } from '../provider/provider.ts'
import { argumentInvalid, formatInvalid } from './failures.ts'
import { isPosition, leavesUnder, type TreeNode } from './key-tree.ts'

/** The nodes that somebody holds of one stream in one generation. */
export interface HeldNodes {
  /** 8 bytes. */
  readonly stream: Uint8Array
  readonly generation: number
  /** Epoch of the generation's leaf 0. */
  readonly first: number
  /** Ascending by leaves, disjoint. */
  readonly nodes: readonly TreeNode[]
}

/** Most entries of a list of held nodes. */
export const heldNodesMax = 65_536
/** Most nodes of one stream in one generation; each shredding leaves at most 38 more. */
const nodesMax = 4096

const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0

/** Reads values of one format out of decoded CBOR; every miss is the same `ERR_FORMAT_INVALID`. */
export class FormatReader {
  readonly format: string
  constructor(format: string) {
    this.format = format
  }

  /** Throws unless `good`. */
  demand(good: boolean): void {
    if (!good) throw formatInvalid(this.format)
  }

  /** Decodes a map with exactly these keys and `v` = 1. */
  map(bytes: Uint8Array, keys: readonly string[]): CborMap {
    let value: CborValue
    try {
      value = decodeCbor(bytes)
    } catch (cause) {
      throw formatInvalid(this.format, { cause })
    }
    this.demand(typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array))
    const map = value as CborMap
    this.demand(Object.keys(map).length === keys.length && keys.every((key) => map[key] !== undefined) && map.v === 1)
    return map
  }

  number(value: CborValue | undefined): number {
    this.demand(typeof value === 'number')
    return value as number
  }

  /** A copy, so that wiping the source does not reach it. */
  bytes(value: CborValue | undefined, length?: number): Bytes {
    this.demand(value instanceof Uint8Array && (length === undefined || value.length === length))
    return Uint8Array.from(value as Uint8Array)
  }

  list(value: CborValue | undefined, countMax: number): CborValue[] {
    this.demand(Array.isArray(value) && value.length <= countMax)
    return value as CborValue[]
  }

  tuple(value: CborValue | undefined, length: number): CborValue[] {
    this.demand(Array.isArray(value) && value.length === length)
    return value as CborValue[]
  }

  heldNodes(value: CborValue | undefined): HeldNodes[] {
    const held = this.list(value, heldNodesMax).map((item): HeldNodes => {
      const [stream, generation, first, nodes] = this.tuple(item, 4)
      return {
        stream: this.bytes(stream, 8),
        generation: this.number(generation),
        first: this.number(first),
        nodes: this.list(nodes, nodesMax).map((node): TreeNode => {
          const [depth, index, key] = this.tuple(node, 3)
          return { depth: this.number(depth), index: this.number(index), key: this.bytes(key, 32) }
        }),
      }
    })
    this.demand(isOrdered(held))
    return held
  }
}

function compareHeld(a: HeldNodes, b: HeldNodes): number {
  return compareBytes(a.stream, b.stream) || a.generation - b.generation
}

function isOrdered(held: readonly HeldNodes[]): boolean {
  for (const [i, each] of held.entries()) {
    const previous = held[i - 1]
    if (previous !== undefined && compareHeld(previous, each) >= 0) return false
    if (each.stream.length !== 8 || !isCount(each.generation) || !isCount(each.first)) return false
    if (each.nodes.length > nodesMax) return false
    let end = 0
    for (const node of each.nodes) {
      if (!isPosition(node) || node.key.length !== 32 || leavesUnder(node).from < end) return false
      end = leavesUnder(node).until
    }
  }
  return true
}

/** Held nodes as a CBOR value, ascending by (stream, generation). */
export function heldNodesValue(held: readonly HeldNodes[]): CborValue {
  const sorted = [...held].sort(compareHeld)
  if (!isOrdered(sorted) || sorted.length > heldNodesMax) throw argumentInvalid('nodes')
  return sorted.map(({ stream, generation, first, nodes }) => [
    stream,
    generation,
    first,
    nodes.map(({ depth, index, key }) => [depth, index, key]),
  ])
}

/** Held nodes by themselves: `{v: 1, nodes}`. */
export function encodeHeldNodes(held: readonly HeldNodes[]): Bytes {
  return encodeCbor({ v: 1, nodes: heldNodesValue(held) })
}

/** The inverse of `encodeHeldNodes`. */
export function parseHeldNodes(bytes: Uint8Array): HeldNodes[] {
  const reader = new FormatReader('roots')
  return reader.heldNodes(reader.map(bytes, ['v', 'nodes']).nodes)
}
