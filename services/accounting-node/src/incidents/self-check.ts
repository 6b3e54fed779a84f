/**
 * The check of everything that this node keeps: entries against the published tree and the roots that were executed, tile
 * files against their parents, the log index and the stored state against the entries. At start and once a day, a little
 * at a time, so that the node goes on working.
 */

import type { ChainName } from '@healthblock/chain/chains'
import { leafHash } from '@healthblock/chain/merkle'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { stateLeaf } from '@healthblock/chain/state-tree'
import type { ChainStore } from '@healthblock/chain/store'
import { tileWidth } from '@healthblock/chain/tile'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { ChainCore } from '../core/chain-core.ts'
import { backgroundFailed, selfChecked } from '../events.ts'
import type { Logger } from '../logger.ts'
import type { ChainReader } from '../reading/chain-reader.ts'
import type { Healer } from './healer.ts'

/** Time between two checks. */
export const selfCheckPeriodMs = 86_400_000
/** Leaves of the state that are checked in one go. */
const stateLeavesStep = 2_048

/** What the check needs. */
export interface SelfCheckOptions {
  readonly readers: Readonly<Record<ChainName, ChainReader>>
  /** The stores that the ledger reads. */
  readonly stores: Readonly<Record<ChainName, ChainStore>>
  readonly healer: Healer
  readonly logger: Logger
  readonly clock: { nowMs(): number; wait(ms: number, signal: AbortSignal): Promise<void> }
  /** Called with a chain whose derived state is damaged: the node must be opened anew with that state emptied. */
  readonly onDerivedDamaged: (chain: ChainName) => void
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Checks this node's files, again and again. */
export class SelfCheck {
  readonly #options: SelfCheckOptions
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: SelfCheckOptions) {
    this.#options = options
  }

  /** Begins with a first check. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Ends soon. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      for (const chain of ['userchain', 'docchain'] as const) {
        try {
          await this.check(chain)
        } catch (error) {
          backgroundFailed(this.#options.logger, 'self-check', error)
        }
      }
      await this.#options.clock.wait(selfCheckPeriodMs, signal)
    }
  }

  /**
   * Checks one chain whole.
   *
   * @returns How many faults were found; those of entries and tiles are healed when it resolves.
   */
  async check(chain: ChainName): Promise<number> {
    const { readers, logger, clock } = this.#options
    const reader = readers[chain]
    const beganMs = clock.nowMs()
    let faults = 0
    const height = reader.published?.height ?? -1
    for (let at = 0; at <= height && !this.#stopping.signal.aborted; at++) {
      faults += await this.#checkBlock(reader, at)
      await turn()
    }
    faults += await this.#checkTiles(reader)
    faults += await this.#checkState(reader.core)
    selfChecked(logger, { chain, entries: reader.tiles.size, faults, ms: clock.nowMs() - beganMs })
    return faults
  }

  async #checkBlock(reader: ChainReader, height: number): Promise<number> {
    const { core, tiles } = reader
    const place = core.blockAt(height)
    if (place === undefined) return 0
    const leaves = core.readBlock(height)
    const wrong = leaves?.findIndex((leaf, position) => {
      const index = place.i0 + position
      const [hash] = tiles.leafHashes(index, index + 1)
      return hash === undefined || !equalBytes(hash, leafHash(leaf))
    })
    if (leaves === undefined || wrong !== -1 || leaves.length !== place.size - place.i0) {
      await this.#options.healer.repairBlock(core.chain, { height, index: place.i0 + Math.max(0, wrong ?? 0) })
      return 1
    }
    const missing = this.#firstMisplaced(core, height, leaves)
    if (missing === undefined) return 0
    this.#derivedDamaged(core, { code: 'index-damaged', height, index: missing })
    return 1
  }

  /** Index of the first leaf that the log index does not find where it lies. */
  #firstMisplaced(core: ChainCore, height: number, leaves: readonly Uint8Array[]): number | undefined {
    const index = core.ledger.index(core.chain)
    const boundary = index.boundaryAt(height)
    const place = core.blockAt(height)
    if (place === undefined) return undefined
    if (boundary === undefined || boundary.size !== place.size) return place.i0
    for (const [position, leaf] of leaves.slice(0, -1).entries()) {
      const transaction = parseTransactionLeaf(leaf)
      if (index.find(core.ledger.transactionId(core.chain, transaction)) !== place.i0 + position) {
        return place.i0 + position
      }
      const { body } = transaction
      if (body.t !== 'iot') continue
      for (const [stream, sequence, generation, epoch, kind] of body.r) {
        const found = index.record(body.a, stream, sequence)
        const isEqual = found?.generation === generation && found.epoch === epoch && found.kind === kind
        if (!isEqual || found.index !== place.i0 + position) return place.i0 + position
      }
    }
    return undefined
  }

  async #checkTiles(reader: ChainReader): Promise<number> {
    const { tiles } = reader
    let faults = 0
    tiles.forget()
    for (let level = 0, count = Math.floor(tiles.size / tileWidth); count > 0; level++) {
      for (let index = 0; index < count && !this.#stopping.signal.aborted; index++) {
        // Reading compares the file with its parent, tells, and makes it anew.
        const before = tiles.faultCount
        tiles.tile({ kind: 'hashes', level, index, width: tileWidth })
        faults += tiles.faultCount - before
        await turn()
      }
      count = Math.floor(count / tileWidth)
    }
    return faults
  }

  /** Every stored record against its own hashes, and the head's root against the SEAL. The whole root is checked when the state is opened. */
  async #checkState(core: ChainCore): Promise<number> {
    const { chain } = core
    const { height, size, stateRoot } = core.head()
    const seal = core.readBlock(height)?.at(-1)
    let isGood = seal === undefined || core.head().height !== height || equalBytes(parseSealLeaf(seal).st, stateRoot)
    let count = 0
    const last = new Uint8Array(32).fill(0xff)
    for (const leaf of this.#options.stores[chain].leaves.range(new Uint8Array(32), last)) {
      const own = stateLeaf(leaf.key, leaf.value)
      if (!equalBytes(own.path, leaf.path) || !equalBytes(own.hash, leaf.hash)) isGood = false
      if (++count % stateLeavesStep === 0) await turn()
      if (!isGood || this.#stopping.signal.aborted) break
    }
    if (isGood) return 0
    this.#derivedDamaged(core, { code: 'state-damaged', height, index: size - 1 })
    return 1
  }

  #derivedDamaged(
    core: ChainCore,
    fault: { code: 'index-damaged' | 'state-damaged'; height: number; index: number },
  ): void {
    this.#options.healer.found({ ...fault, chain: core.chain, file: 'state.db' })
    this.#options.onDerivedDamaged(core.chain)
  }
}
