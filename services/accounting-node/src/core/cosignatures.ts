import type { Cosignature, CosignerPolicy } from '@healthblock/chain/checkpoint'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'

/** Sizes beyond the published one for which a key's cosignatures are kept: whoever signs more pushes out his own. */
const sizesKeptMax = 256

/** A verified cosignature over a head. */
export interface HeldCosignature extends Cosignature {
  readonly size: number
  readonly root: Uint8Array
  /** The cosigner key: a rank may have another one under another policy. */
  readonly key: Uint8Array
}

/** The cosignatures of one chain that this node knows, newest per node and size. */
export class Cosignatures {
  /** By key, then by size. */
  readonly #byKey = new Map<string, Map<number, HeldCosignature>>()
  /** By rank: the cosignature over the largest size. */
  readonly #largest = new Map<number, HeldCosignature>()

  add(held: HeldCosignature, publishedSize: number): void {
    const largest = this.#largest.get(held.rank)
    if (largest === undefined || largest.size <= held.size) this.#largest.set(held.rank, held)
    if (held.size < publishedSize) return
    const name = toHex(held.key)
    let sizes = this.#byKey.get(name)
    if (sizes === undefined) {
      sizes = new Map()
      this.#byKey.set(name, sizes)
    }
    const known = sizes.get(held.size)
    if (known === undefined || known.time <= held.time) sizes.set(held.size, held)
    for (const size of sizes.keys()) {
      if (size < publishedSize || sizes.size > sizesKeptMax) sizes.delete(size)
      else break
    }
  }

  /** True if this very line is held: it was verified then. */
  has({ size, root, line }: { size: number; root: Uint8Array; line: string }): boolean {
    for (const sizes of this.#byKey.values()) {
      const held = sizes.get(size)
      if (held?.line === line && equalBytes(held.root, root)) return true
    }
    return false
  }

  /** Those over this head that count under a policy, in order of rank. */
  over(head: { size: number; root: Uint8Array }, policy: CosignerPolicy): HeldCosignature[] {
    const lines = [...this.#byKey.values()].flatMap((sizes) => sizes.get(head.size) ?? [])
    const counts = ({ rank, key, root }: HeldCosignature): boolean => {
      const expected = policy.cosigners[rank]
      return expected !== undefined && equalBytes(expected, key) && equalBytes(root, head.root)
    }
    return lines.filter(counts).sort((a, b) => a.rank - b.rank)
  }

  /** What the same key signed for this size with another root, if it is known here. */
  contradicting(held: HeldCosignature): HeldCosignature | undefined {
    const known = this.#byKey.get(toHex(held.key))?.get(held.size)
    return known !== undefined && !equalBytes(known.root, held.root) ? known : undefined
  }

  /** The cosignature of a rank over the largest size. */
  largestOf(rank: number): HeldCosignature | undefined {
    return this.#largest.get(rank)
  }

  /** The largest size of which so many ranks have signed as much or more; 0 if fewer signed anything. */
  sizeSignedBy(count: number): number {
    const sizes = [...this.#largest.values()].map(({ size }) => size).sort((a, b) => b - a)
    return sizes[count - 1] ?? 0
  }
}
