/** A small ledger for tests: keys from fixed seeds, logs of leaves, checkpoints that a quorum cosigned. */
import { sha256 } from '@healthblock/crypto/hash'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { addSignatures, chainOrigin, cosignCheckpoint, signCheckpoint } from './checkpoint.ts'
import { encodeGenesis, type Genesis, parseGenesis } from './genesis.ts'
import { CompactRange, inclusionProof, leafHash, MemoryHashes } from './merkle.ts'
import type { ReceiptEntry } from './receipt.ts'
import type { ChainName } from './transaction.ts'

/** The signing key of a name: the same in every run. */
export function keyOf(name: string): SigningKey {
  return signingKeyFromSeed(sha256(encodeUtf8(`sample key ${name}`)))
}

/** Bytes of a name: the same in every run. */
export function bytesOf(name: string, length = 32): Uint8Array {
  const parts: Uint8Array = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) {
    parts.set(sha256(encodeUtf8(`${name} ${at}`)).subarray(0, Math.min(32, length - at)), at)
  }
  return parts
}

/** A genesis of four nodes, quorum three, one organisation and one store each. */
export function sampleGenesis(nodes = 4, q = 3): Genesis {
  const ranks = Array.from({ length: nodes }, (_, rank) => rank)
  const publicKey = (name: string) => keyOf(name).publicKey
  return parseGenesis(
    encodeGenesis({
      v: 1,
      t: 'genesis',
      start: 1_750_000_000_000,
      params: { epochms: 3_600_000, seals: 1 },
      q,
      orgs: ranks.map((i) => [publicKey(`root ${i}`), publicKey(`op ${i}`), bytesOf(`kem ${i}`, 1216), 1, 1000]),
      nodes: ranks.map((i) => [
        i,
        publicKey(`node ${i}`),
        publicKey(`userchain log ${i}`),
        publicKey(`userchain cosigner ${i}`),
        publicKey(`docchain log ${i}`),
        publicKey(`docchain cosigner ${i}`),
      ]),
      stores: ranks.map((i) => [i, publicKey(`store ${i}`), bytesOf(`peer ${i}`, 38)]),
    }),
  )
}

/** A log in memory that publishes checkpoints. */
export class SampleLog {
  readonly origin: string
  readonly #chain: ChainName
  readonly #range = new CompactRange()
  readonly #hashes = new MemoryHashes()
  readonly leaves: Uint8Array[] = []

  constructor(genesis: Genesis, chain: ChainName) {
    this.#chain = chain
    this.origin = chainOrigin({ ledgerId: genesis.ledgerId, chain })
  }

  /** Adds leaves and gives the size after them. */
  add(...leaves: readonly Uint8Array[]): number {
    for (const leaf of leaves) {
      this.leaves.push(leaf)
      this.#range.append(leafHash(leaf), this.#hashes.keep)
    }
    return this.#range.size
  }

  get root(): Uint8Array {
    return this.#range.root
  }

  /** The present head with the log line of rank 0 and the cosignatures of these ranks, a second apart. */
  checkpoint(ranks: readonly number[] = [0, 1, 2], nowMs = 1_750_000_100_000): string {
    const head = { origin: this.origin, size: this.#range.size, root: this.#range.root }
    const lines = ranks.map((rank) => {
      const signer = keyOf(`${this.#chain} cosigner ${rank}`)
      return cosignCheckpoint(head, { rank, signer, nowMs: nowMs + rank * 1000 })
    })
    return addSignatures(signCheckpoint(head, keyOf(`${this.#chain} log 0`)), lines)
  }

  /** A leaf with its proof in the present tree. */
  entry(index: number, checkpoint = this.checkpoint()): ReceiptEntry {
    const hashes = inclusionProof({ index, size: this.#range.size }, this.#hashes.read)
    return { leaf: this.leaves[index] as Uint8Array, index, hashes, checkpoint }
  }
}

/** A copy with one bit flipped. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
  return flipped
}
