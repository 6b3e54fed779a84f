/**
 * Faults that a start meets in a node's own files, before there is anybody to heal them: what opening a journal met, and files that are
 * not there.
 */
import { join } from 'node:path'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { readFileIfPresent } from '@healthblock/runtime/files'
import type { NodeCores } from '../core/open-cores.ts'
import type { CoreEvent } from '../core/ports.ts'
import { blocksFile, type Healer } from './healer.ts'
import type { Fault, Incident, IncidentCode } from './incident-log.ts'

const promiseFile = 'promise'
const codes = {
  [blocksFile]: 'entry-damaged',
  'staged/blocks': 'staged-damaged',
  [promiseFile]: 'promise-damaged',
} as const satisfies Record<string, IncidentCode>

/** A fault whose height follows from its index. */
type PlacedFault = Omit<Fault, 'height'>

/** Where incidents of a start go. */
interface Records {
  readonly healer: Healer
  readonly cores: NodeCores
}

/** The faults of one start: gathered until there is a list of incidents, then put on record as they come, one for each place. */
export class EarlyFaults {
  readonly #gathered: PlacedFault[] = []
  readonly #incidents = new Map<string, Incident>()
  #records: Records | undefined

  /** A fault was met. */
  add(fault: PlacedFault): void {
    if (this.#records === undefined) this.#gathered.push(fault)
    else this.#record(this.#records, fault)
  }

  /** Opening a journal met damage. */
  addDamage({ chain, file, index }: Extract<CoreEvent, { kind: 'damaged' }>): void {
    this.add({ code: codes[file], chain, index, file })
  }

  /** From now on faults are put on record at once, and those that are known now. */
  attach(records: Records): void {
    this.#records = records
    for (const fault of this.#gathered) this.#record(records, fault)
  }

  /** What is on record, in the order in which it was found. */
  incidents(): readonly Incident[] {
    return [...this.#incidents.values()]
  }

  #record({ healer, cores }: Records, fault: PlacedFault): void {
    const height = heightOf(cores[fault.chain], fault.index)
    const place = [fault.code, fault.chain, fault.index].join(' ')
    if (!this.#incidents.has(place)) this.#incidents.set(place, healer.found({ ...fault, height }))
  }
}

function endOf(core: NodeCores[ChainName], height: number): number | undefined {
  const leaves = core.readBlock(height)
  return leaves === undefined ? undefined : parseSealLeaf(leaves.at(-1) as Uint8Array).i0 + leaves.length
}

/** The height of the block that holds a leaf, or would: by the blocks in the log, since the state may have been emptied. */
function heightOf(core: NodeCores[ChainName], index: number): number {
  const isBelow = (height: number): boolean => (endOf(core, height) ?? Number.POSITIVE_INFINITY) <= index
  let high = 1
  while (isBelow(high)) high *= 2
  let low = 0
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBelow(middle)) low = middle + 1
    else high = middle
  }
  return low
}

/** Notes files that hold a node's word or its faults, and are not there although the node has taken part. */
export function addLostFiles(faults: EarlyFaults, dir: string, cores: NodeCores): void {
  // Block 0 is there in every node.
  const used = chainNames.filter((chain) => cores[chain].readBlock(1) !== undefined)
  for (const chain of used) {
    const isThere = (readFileIfPresent(join(dir, chain, promiseFile))?.length ?? 0) > 0
    if (!isThere) faults.add({ code: 'promise-damaged', chain, index: 0, file: promiseFile })
  }
  if (used.length > 0 && readFileIfPresent(join(dir, 'incidents.log')) === undefined)
    faults.add({ code: 'incidents-missing', chain: 'userchain', index: 0, file: 'incidents.log' })
}
