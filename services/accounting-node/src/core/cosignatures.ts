import type { Cosignature, CosignerPolicy } from '@healthblock/chain/checkpoint'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'

/** Sizes for which cosignatures are kept, beyond the published one. */
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
  readonly #bySize = new Map<number, Map<string, HeldCosignature>>()
  /** By rank: the cosignature over the largest size. */
  readonly #largest = new Map<number, HeldCosignature>()

  add(held: HeldCosignature, publishedSize: number): void {
    const largest = this.#largest.get(held.rank)
    if (largest === undefined || largest.size <= held.size) this.#largest.set(held.rank, held)
    if (held.size < publishedSize) return
    let lines = this.#bySize.get(held.size)
    if (lines === undefined) {
      lines = new Map()
      this.#bySize.set(held.size, lines)
    }
    const name = toHex(held.key)
    const known = lines.get(name)
    if (known === undefined || known.time <= held.time) lines.set(name, held)
    for (const size of this.#bySize.keys()) {
      if (size < publishedSize || this.#bySize.size > sizesKeptMax) this.#bySize.delete(size)
      else break
    }
  }

  /** True if this very line is held: it was verified then. */
  has({ size, root, line }: { size: number; root: Uint8Array; line: string }): boolean {
    for (const held of this.#bySize.get(size)?.values() ?? []) {
      if (held.line === line && equalBytes(held.root, root)) return true
    }
    return false
  }

  /** Those over this head that count under a policy, in order of rank. */
  over(head: { size: number; root: Uint8Array }, policy: CosignerPolicy): HeldCosignature[] {
    const lines = [...(this.#bySize.get(head.size)?.values() ?? [])]
    const counts = ({ rank, key, root }: HeldCosignature): boolean => {
      const expected = policy.cosigners[rank]
      return expected !== undefined && equalBytes(expected, key) && equalBytes(root, head.root)
    }
    return lines.filter(counts).sort((a, b) => a.rank - b.rank)
  }

  /** What the same key signed for this size with another root, if it is known here. */
  contradicting(held: HeldCosignature): HeldCosignature | undefined {
    const known = this.#bySize.get(held.size)?.get(toHex(held.key))
    return known !== undefined && !equalBytes(known.root, held.root) ? known : undefined
  }

  /** The cosignature of a rank over the largest size. */
  largestOf(rank: number): HeldCosignature | undefined {
    return this.#largest.get(rank)
  }
}
