/**
 * The policy trail of a ledger as a node keeps it: one journal for both chains. A step is made when the switch's checkpoint is published
 * here, or taken from a peer; either way it is verified. Until the step is on the disk no block is staged after the switch.
 */

import { type ChainName, chains } from '@healthblock/chain/chains'
import type { Genesis } from '@healthblock/chain/genesis'
import { CompactRange, inclusionProofAsync, leafHash, type TreeNode } from '@healthblock/chain/merkle'
import { PolicyTrail, type TrailStep } from '@healthblock/chain/policy-trail'
import { encodeProof } from '@healthblock/chain/proof'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import type { CborValue } from '@healthblock/encoding/cbor'
import { type Journal, openJournal } from './journal.ts'
import { Mutex } from './mutex.ts'
import type { Disk } from './ports.ts'
import { encodeMessage, type Fields, parseMessage } from './wire.ts'

const utf8 = new TextDecoder()

/** A step for a message. */
export function encodeStep({ chain, leaf, proof }: TrailStep): Record<string, CborValue> {
  return { chain: chains[chain], leaf, proof: encodeUtf8(proof) }
}

/** A step of a message: shape only. */
export function parseStep(fields: Fields): TrailStep {
  const chain: ChainName = fields.uint('chain') === chains.docchain ? 'docchain' : 'userchain'
  return { chain, leaf: fields.bytes('leaf'), proof: utf8.decode(fields.bytes('proof')) }
}

/** The file `trail`. */
export class TrailStore {
  readonly trail: PolicyTrail
  readonly #lock = new Mutex()
  #journal!: Journal

  private constructor(genesis: Genesis) {
    this.trail = new PolicyTrail(genesis)
  }

  /** Opens the trail of a disk; steps that do not hold (a damaged file) are left out, and come again from the peers. */
  static async open(disk: Disk, genesis: Genesis): Promise<TrailStore> {
    const store = new TrailStore(genesis)
    const { journal } = await openJournal(disk, 'trail', (payload) => {
      try {
        store.trail.extend(parseStep(parseMessage(payload)))
      } catch {
        // What follows it cannot hold either.
      }
    })
    store.#journal = journal
    return store
  }

  /** Number of the newest policy that the trail proves for a chain. */
  newest(chain: ChainName): number {
    return this.trail.newestNumber(chain)
  }

  /**
   * Verifies the next step and keeps it, durably. A step that is there already is passed over.
   *
   * @throws {ChainError} as `PolicyTrail.extend`.
   */
  async add(step: TrailStep): Promise<void> {
    await this.#lock.run(async () => {
      // Nodes hold the same steps with other cosignatures.
      if (this.trail.knows(step)) return
      this.trail.extend(step)
      await this.#journal.append(encodeMessage(encodeStep(step)))
    })
  }

  async close(): Promise<void> {
    await this.#lock.run(() => this.#journal.close())
  }
}

/** Leaves of one subtree that are hashed between two turns of the event loop. */
const hashedAtOnceMax = 1024

/**
 * Makes the step of a switch from the log itself: for a policy that changes once in a long while, hashing all leaves again is cheap enough,
 * and needs no tree.
 */
export async function makeStep(
  log: { entries(from: number, to: number): Uint8Array[] },
  at: { chain: ChainName; index: number; size: number; checkpoint: string },
): Promise<TrailStep> {
  const { chain, index, size, checkpoint } = at
  const read = async (nodes: readonly TreeNode[]): Promise<Uint8Array[]> => {
    const hashes: Uint8Array[] = []
    for (const node of nodes) hashes.push(await subtreeRoot(log, node))
    return hashes
  }
  const hashes = await inclusionProofAsync({ index, size }, read)
  const [leaf] = log.entries(index, index + 1)
  return { chain, leaf: leaf as Uint8Array, proof: encodeProof({ index, hashes, checkpoint }) }
}

async function subtreeRoot(
  log: { entries(from: number, to: number): Uint8Array[] },
  { level, index }: TreeNode,
): Promise<Uint8Array> {
  const width = 2 ** level
  const range = new CompactRange()
  for (let from = index * width; from < (index + 1) * width; from += hashedAtOnceMax) {
    const to = Math.min((index + 1) * width, from + hashedAtOnceMax)
    for (const leaf of log.entries(from, to)) range.append(leafHash(leaf))
    if (width > hashedAtOnceMax) await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return range.root
}
