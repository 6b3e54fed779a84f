/** What the log holds in the end, against what people were given: every receipt, and every index that was told. */
import { parseCheckpoint } from '@healthblock/chain/checkpoint'
import { CompactRange, hashSizeBytes, leafHash } from '@healthblock/chain/merkle'
import { parseProof } from '@healthblock/chain/proof'
import { parseReceipt, verifyReceipt } from '@healthblock/chain/receipt'
import { tilePath, tileWidth } from '@healthblock/chain/tile'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { KeptReceipt } from './senders.ts'

/** Leaf hashes of a node's published log, from its tiles; the root that they make is the checkpoint's. */
export class FinalLog {
  readonly #hashes: readonly Uint8Array[]

  constructor(hashes: readonly Uint8Array[]) {
    this.#hashes = hashes
  }

  /** The same log, but for the leaf at `index`: what a rewritten history looks like. */
  rewritten(index: number): FinalLog {
    return new FinalLog(this.#hashes.map((hash, at) => (at === index ? leafHash(hash) : hash)))
  }

  /** @throws {Error} if the tiles do not make the root of the checkpoint. */
  static async read(url: string): Promise<FinalLog> {
    const note = await (await fetch(`${url}/userchain/checkpoint`)).text()
    const { size, root } = parseCheckpoint(note)
    const hashes: Uint8Array[] = []
    for (let index = 0; index * tileWidth < size; index++) {
      const width = Math.min(tileWidth, size - index * tileWidth)
      const response = await fetch(`${url}/userchain/${tilePath({ kind: 'hashes', level: 0, index, width })}`)
      if (!response.ok) throw new Error(`tile ${index}: ${response.status}`)
      const bytes = new Uint8Array(await response.arrayBuffer())
      for (let at = 0; at < bytes.length; at += hashSizeBytes) hashes.push(bytes.subarray(at, at + hashSizeBytes))
    }
    const log = new FinalLog(hashes)
    if (!equalBytes(log.#rootsAt(new Set([size])).get(size) as Uint8Array, root))
      throw new Error(`the tiles of ${url} do not make the root of its checkpoint`)
    return log
  }

  #rootsAt(sizes: ReadonlySet<number>): Map<number, Uint8Array> {
    const range = new CompactRange()
    const roots = new Map<number, Uint8Array>()
    for (const hash of this.#hashes) {
      range.append(hash)
      if (sizes.has(range.size)) roots.set(range.size, range.root)
    }
    return roots
  }

  /** Faults of receipts, in words: each must verify by itself, and be of this log. `isVerified` spares a second look at the signatures. */
  check(receipts: readonly KeptReceipt[], ledgerId: Uint8Array, isVerified: WeakSet<KeptReceipt>): string[] {
    const faults: string[] = []
    const claims = receipts.flatMap((kept) => {
      try {
        if (!isVerified.has(kept)) {
          const { index, transactionId } = verifyReceipt({ bytes: kept.bytes, ledgerId })
          if (index !== kept.index || !equalBytes(transactionId, kept.id)) throw new Error('of another transaction')
          isVerified.add(kept)
        }
        const [part] = parseReceipt(kept.bytes).parts
        if (part === undefined) throw new Error('without parts')
        const { index, checkpoint } = parseProof(part.proof)
        const { size, root } = parseCheckpoint(checkpoint)
        return [{ kept, index, size, root, hash: leafHash(part.leaf) }]
      } catch (error) {
        faults.push(`receipt of ${toHex(kept.id)}: ${error instanceof Error ? error.message : String(error)}`)
        return []
      }
    })
    const roots = this.#rootsAt(new Set(claims.map(({ size }) => size)))
    for (const { kept, index, size, root, hash } of claims) {
      const final = roots.get(size)
      const isSame = final !== undefined && equalBytes(final, root)
      if (!isSame) faults.push(`receipt of ${toHex(kept.id)}: the final log had another root at size ${size}`)
      const leaf = this.#hashes[index]
      if (leaf === undefined || !equalBytes(leaf, hash))
        faults.push(`receipt of ${toHex(kept.id)}: the final log holds something else at index ${index}`)
    }
    return faults
  }
}
