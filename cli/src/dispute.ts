/** Makes a dispute bundle from what nodes serve: transactions with their blocks' SEALs, grants with proofs of the state, times, disclosed records. */

import type { ChainName } from '@healthblock/chain/chains'
import {
  type Dispute,
  type DisputeDisclosure,
  type DisputePart,
  type DisputeQuestion,
  encodeDispute,
  verifyDispute,
} from '@healthblock/chain/dispute'
import { inclusionProofAsync } from '@healthblock/chain/merkle'
import { encodeProof, parseProof } from '@healthblock/chain/proof'
import { parseSealLeaf, type Seal } from '@healthblock/chain/seal'
import type { SignedStatement } from '@healthblock/chain/statement'
import { userTables } from '@healthblock/chain/tables'
import { tileHashReader, tilePath } from '@healthblock/chain/tile'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import type { Disclosure } from '@healthblock/crypto/disclosure'
import { reachesEpoch, restrictNodes } from '@healthblock/crypto/key-tree'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { CommandError } from './io.ts'

/** What is asked for. */
export interface DisputeRequest {
  readonly genesis: Uint8Array
  readonly client: LedgerClient
  readonly transactions: readonly Uint8Array[]
  readonly grants: readonly { readonly patient: Uint8Array; readonly gid: Uint8Array }[]
  /** Times at which each of the grants is in question, Unix ms. */
  readonly times: readonly number[]
  readonly storageReceipts: readonly SignedStatement[]
  readonly disclosure?: Disclosure
  readonly storage?: StorageClient
}

interface Wanted {
  readonly leaf: Uint8Array
  readonly state?: DisputePart['state']
}

interface Block {
  readonly leaves: readonly Uint8Array[]
  readonly firstIndex: number
  readonly end: number
  readonly seal: Seal
}

const chainNames = ['userchain', 'docchain'] as const

class Composer {
  readonly #request: DisputeRequest
  readonly #wanted: Record<ChainName, Map<number, Wanted>> = { userchain: new Map(), docchain: new Map() }

  constructor(request: DisputeRequest) {
    this.#request = request
  }

  #want(chain: ChainName, index: number, wanted: Wanted): void {
    const known = this.#wanted[chain].get(index)
    this.#wanted[chain].set(index, known === undefined ? wanted : { ...wanted, ...known })
  }

  #wantSeal(chain: ChainName, { leaves, end }: Block): void {
    this.#want(chain, end - 1, { leaf: leaves.at(-1) as Uint8Array })
  }

  /** The block that holds a leaf, or undefined beyond the published ones. */
  async #block(chain: ChainName, index: number): Promise<Block | undefined> {
    const { frames } = await this.#request.client.blocks(chain, index, { limit: 1 })
    const frame = frames[0]
    if (frame === undefined) return undefined
    const { leaves, firstIndex } = frame
    return { leaves, firstIndex, end: firstIndex + leaves.length, seal: parseSealLeaf(leaves.at(-1) as Uint8Array) }
  }

  /** A transaction and the SEAL of its block. */
  async transaction(id: Uint8Array): Promise<void> {
    for (const chain of chainNames) {
      const [answer] = await this.#request.client.answers(chain, [id], { waitMs: 0 })
      if (answer?.status !== 'committed') continue
      const block = await this.#block(chain, answer.index)
      const leaf = block?.leaves[answer.index - block.firstIndex]
      if (block === undefined || leaf === undefined) continue
      this.#want(chain, answer.index, { leaf })
      this.#wantSeal(chain, block)
      return
    }
    throw new CommandError(`transaction ${toHex(id)} is on no ledger here`)
  }

  /** Proofs of the grants' records, each under the SEAL at which it was had; gives the oldest of these SEALs' ends. */
  async grants(): Promise<number> {
    let end = Number.MAX_SAFE_INTEGER
    for (const { patient, gid } of this.#request.grants) {
      const key = userTables.grant.key(patient, gid)
      const { seal, index, value, proof } = await this.#request.client.provedState('userchain', key)
      const known = this.#wanted.userchain.get(index)?.state ?? []
      const state = [...known, value === undefined ? { key, proof } : { key, proof, value }]
      this.#wanted.userchain.set(index, { leaf: seal, state })
      end = Math.min(end, index + 1)
    }
    return end
  }

  /** The newest block at a time, and the one after it, among those that end at most at `end`. */
  async time(atMs: number, end: number): Promise<void> {
    let newest = await this.#block('userchain', 0)
    if (newest === undefined || newest.seal.ms > atMs) throw new CommandError('the ledger is younger than that time')
    // Blocks from `later` on are of a later time, or beyond `end`; both bounds are ends of blocks.
    let later = end
    while (newest.end < later) {
      const middle = await this.#block('userchain', Math.floor((newest.end + later - 1) / 2))
      if (middle === undefined) break
      if (middle.seal.ms <= atMs) newest = middle
      else later = middle.firstIndex
    }
    this.#wantSeal('userchain', newest)
    const next = newest.end < end ? await this.#block('userchain', newest.end) : undefined
    if (next !== undefined) this.#wantSeal('userchain', next)
    else if (atMs > newest.seal.ms) {
      throw new CommandError(
        `no block proves that time yet: the newest is of ${new Date(newest.seal.ms).toISOString()}`,
      )
    }
  }

  /** Sealed blocks of records here that the disclosed keys reach, each with the nodes of its one epoch. */
  async disclosed(): Promise<DisputeDisclosure[]> {
    const { disclosure, storage } = this.#request
    if (disclosure === undefined) return []
    if (storage === undefined)
      throw new CommandError('no storage node is known: the disclosed blocks cannot be fetched')
    const opened: DisputeDisclosure[] = []
    for (const { leaf } of this.#wanted.userchain.values()) {
      if (leaf[0] !== 0x83) continue
      const { body } = parseTransactionLeaf(leaf)
      if (body.t !== 'iot' || !equalBytes(body.a, disclosure.patient)) continue
      for (const [stream, , generation, epoch, kind, , cid] of body.r) {
        const held = disclosure.nodes.find(
          (one) => equalBytes(one.stream, stream) && one.generation === generation && reachesEpoch({ ...one, epoch }),
        )
        if (held === undefined || kind > 1) continue
        const { first } = held
        const nodes = restrictNodes(held.nodes, { first, from: epoch, until: epoch + 1 })
        const block = await storage.get(cid)
        opened.push({ block, first, nodes: nodes.map(({ depth, index, key }) => [depth, index, key]) })
      }
    }
    return opened
  }

  /** Proofs of everything that is wanted, each chain under one checkpoint. */
  async parts(): Promise<{ parts: DisputePart[]; trail: Dispute['trail'] }> {
    const { client } = this.#request
    const parts: DisputePart[] = []
    const under: { chain: ChainName; k: number }[] = []
    for (const chain of chainNames) {
      const wanted = [...this.#wanted[chain]].sort(([a], [b]) => a - b)
      if (wanted.length === 0) continue
      const { note, size, url } = await client.checkpoint(chain)
      const { note: checkpoint, k } = client.trail.receiptForm(chain, note)
      under.push({ chain, k })
      const read = tileHashReader({ size, readTile: (tile) => client.tile(chain, tilePath(tile), { url }) })
      for (const [index, { leaf, state }] of wanted) {
        const hashes = await inclusionProofAsync({ index, size }, read)
        const proof = encodeProof({ index, hashes, checkpoint })
        parseProof(proof)
        parts.push(state === undefined ? { chain, leaf, proof } : { chain, leaf, proof, state })
      }
    }
    return { parts, trail: client.trail.needed(under) }
  }
}

/**
 * Makes a bundle and verifies it.
 *
 * @returns The file, and what it proves in words.
 * @throws {CommandError} for what is not on record, or a time that no block proves.
 */
export async function composeDispute(
  request: DisputeRequest,
): Promise<{ bytes: Uint8Array; steps: readonly string[] }> {
  const composer = new Composer(request)
  for (const id of request.transactions) await composer.transaction(id)
  const end = await composer.grants()
  for (const atMs of request.times) await composer.time(atMs, end)
  const disclosed = await composer.disclosed()
  const { parts, trail } = await composer.parts()
  const questions: DisputeQuestion[] = request.times.flatMap((at) =>
    request.grants.map(({ patient, gid }) => ({ at, patient, gid })),
  )
  const { genesis, storageReceipts: storage } = request
  const bytes = encodeDispute({ genesis, parts, questions, storage, disclosed, trail })
  const { steps } = verifyDispute({ bytes })
  return { bytes, steps }
}
