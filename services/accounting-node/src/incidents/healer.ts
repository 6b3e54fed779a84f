/**
 * Faults of this node's own files: each is on record, signed, before anything is done about it; while one is open the chain
 * it touches cosigns nothing. Damaged blocks come from the peers. What is derived (tiles, state, index) is made anew.
 */

import type { ChainName } from '@healthblock/chain/chains'
import { CompactRange, leafHash } from '@healthblock/chain/merkle'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { ChainCore } from '../core/chain-core.ts'
import { AccountingError } from '../errors.ts'
import { incidentFound, incidentHealed } from '../events.ts'
import type { Logger } from '../logger.ts'
import type { Fault, Incident, IncidentLog } from './incident-log.ts'

/** The file of the blocks, below a chain's folder. */
export const blocksFile = 'log/blocks'

/** What the healer needs. */
export interface HealerOptions {
  readonly cores: Readonly<Record<ChainName, ChainCore>>
  readonly incidents: IncidentLog
  readonly logger: Logger
}

/** Records and repairs faults. One per node. */
export class Healer {
  readonly #options: HealerOptions
  /** Repairs under way, by chain and height: whoever meets the same fault waits for the same repair. */
  readonly #repairs = new Map<string, Promise<void>>()
  readonly #open: Record<ChainName, Set<number>> = { userchain: new Set(), docchain: new Set() }

  constructor(options: HealerOptions) {
    this.#options = options
  }

  /** Puts a fault on record; the chain cosigns nothing until `healed` is told of it. */
  found(fault: Fault): Incident {
    const { incidents, cores, logger } = this.#options
    const incident = incidents.found(fault)
    const open = this.#open[fault.chain]
    if (!open.has(incident.number)) {
      const { code, chain, height, index, file } = incident
      incidentFound(logger, { code, chain, height, index, file })
    }
    open.add(incident.number)
    cores[fault.chain].suspend(true)
    return incident
  }

  /** Puts on record that a fault is repaired. */
  healed(incident: Incident): void {
    const { incidents, cores, logger } = this.#options
    const { number, code, chain, height, index } = incident
    incidents.healed(number)
    incidentHealed(logger, { code, chain, height, index })
    const open = this.#open[chain]
    open.delete(number)
    if (open.size === 0) cores[chain].suspend(false)
  }

  /** A derived file that is made anew at once. */
  derivedAnew(fault: Fault): void {
    this.healed(this.found(fault))
  }

  /**
   * Repairs a damaged block: records the fault, fetches the block from the peers, compares it with what was executed here.
   *
   * @param fault - `index`: the first leaf that is wrong.
   * @throws {AccountingError} `ERR_ENTRY_DAMAGED` while no peer can help; the fault stays on record and is tried again when the block is read again.
   */
  async repairBlock(chain: ChainName, fault: { readonly height: number; readonly index: number }): Promise<void> {
    const key = `${chain}/${fault.height}`
    const running = this.#repairs.get(key)
    if (running !== undefined) return running
    const repair = this.#repair(chain, fault).finally(() => this.#repairs.delete(key))
    this.#repairs.set(key, repair)
    return repair
  }

  async #repair(chain: ChainName, { height, index }: { height: number; index: number }): Promise<void> {
    const incident = this.found({ code: 'entry-damaged', chain, height, index, file: blocksFile })
    const core = this.#options.cores[chain]
    const before = this.#rangeBefore(core, height)
    const boundary = core.ledger.index(chain).boundaryAt(height)
    const isGood = (leaves: readonly Uint8Array[]): boolean => {
      const range = before.clone()
      for (const leaf of leaves) range.append(leafHash(leaf))
      return boundary !== undefined && range.size === boundary.size && equalBytes(range.root, boundary.root)
    }
    if (await core.repairBlock(height, isGood)) {
      this.healed(incident)
      return
    }
    throw new AccountingError(`block ${height} of ${chain} is damaged here, and no peer gave it`, {
      code: 'ERR_ENTRY_DAMAGED',
      chain,
      height,
      index,
      file: blocksFile,
    })
  }

  /** The tree before a block, from the stored blocks before it: those are good, or the first damaged one is repaired first. */
  #rangeBefore(core: ChainCore, height: number): CompactRange {
    const range = new CompactRange()
    for (let below = 0; below < height; below++) {
      for (const leaf of core.readBlock(below) ?? []) range.append(leafHash(leaf))
    }
    const end = height === 0 ? undefined : core.ledger.index(core.chain).boundaryAt(height - 1)
    if (end === undefined || equalBytes(range.root, end.root)) return range
    throw new AccountingError(`a block before ${height} of ${core.chain} is damaged`, {
      code: 'ERR_ENTRY_DAMAGED',
      chain: core.chain,
      height,
      index: end.size,
      file: blocksFile,
    })
  }

  /** True while a fault of this chain is open. */
  isOpen(chain: ChainName): boolean {
    return this.#open[chain].size > 0
  }
}
