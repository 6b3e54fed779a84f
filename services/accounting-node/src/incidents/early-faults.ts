/**
 * Faults that a start meets in a node's own files, before there is anybody to heal them. Opening a journal cuts off what does not hold, as
 * it does with a record that a crash tore: so what was whole and is damaged is looked for here, and told.
 */
import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { readFileIfPresent } from '@healthblock/runtime/files'
import { ReadFile } from '../adapters/read-file.ts'
import { isWholeRecord, readRecords } from '../core/journal.ts'
import type { NodeCores } from '../core/open-cores.ts'
import { parseStaged } from '../core/staged.ts'
import { blocksFile, type Healer } from './healer.ts'
import type { Fault, Incident } from './incident-log.ts'

const promiseFile = 'promise'
const stagedFile = 'staged/blocks'
/** Stands for the first leaf that the log lacks, once what is damaged was cut off. */
const endOfLog = Number.MAX_SAFE_INTEGER
/** More than a record of the file `promise` takes: what is torn is shorter. */
const promiseRecordSizeBytesMax = 256

/** Shows the records of a journal that need not exist; true if something that was whole does not hold. */
function readJournal(path: string, visit: (payload: Uint8Array) => void, tornSizeBytesMax = Number.POSITIVE_INFINITY) {
  if (!existsSync(path)) return false
  const file = new ReadFile(path)
  try {
    const { endAt, isDamaged } = readRecords(file, visit)
    return isDamaged || isWholeRecord(file, endAt) || file.size() - endAt > tornSizeBytesMax
  } finally {
    file.close()
  }
}

/** The height that a chain's state has reached; -1 if that cannot be read: then it is made anew, and told elsewhere. */
function stateHeight(path: string): number {
  if (!existsSync(path)) return -1
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path)
    return Number(database.prepare('SELECT max(height) AS height FROM boundary').get()?.height ?? -1)
  } catch {
    return -1
  } finally {
    database?.close()
  }
}

/**
 * What is damaged at the ends of journals, to be called before anybody opens them. A `promise` whose newest record does not hold is set
 * aside: an older one says less than the node had bound itself to, and must not pass for its word.
 */
export function damagedJournals(dir: string): Fault[] {
  return chainNames.flatMap((chain) => {
    const faults: Fault[] = []
    let records = 0
    const isCut = readJournal(join(dir, chain, blocksFile), () => records++)
    // The log is durable before the state has a block: who has fewer in the log has lost some.
    if (isCut || stateHeight(join(dir, chain, 'state.db')) >= records)
      faults.push({ code: 'entry-damaged', chain, height: 0, index: endOfLog, file: blocksFile })
    let staged = 0
    const isStagedDamaged = readJournal(join(dir, chain, stagedFile), (payload) => {
      staged = parseStaged(payload).size
    })
    if (isStagedDamaged) faults.push({ code: 'staged-damaged', chain, height: 0, index: staged, file: stagedFile })
    const promise = join(dir, chain, promiseFile)
    if (readJournal(promise, () => {}, promiseRecordSizeBytesMax)) {
      faults.push({ code: 'promise-damaged', chain, height: 0, index: 0, file: promiseFile })
      renameSync(promise, `${promise}.damaged`)
    }
    return faults
  })
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

/** Files that hold a node's word or its faults, and are not there although the node has taken part. */
export function lostFiles(dir: string, cores: NodeCores): Fault[] {
  // Block 0 is there in every node.
  const used = chainNames.filter((chain) => cores[chain].readBlock(1) !== undefined)
  const faults: Fault[] = used
    .filter((chain) => (readFileIfPresent(join(dir, chain, promiseFile))?.length ?? 0) === 0)
    .map((chain) => ({ code: 'promise-damaged', chain, height: 0, index: 0, file: promiseFile }))
  if (used.length > 0 && readFileIfPresent(join(dir, 'incidents.log')) === undefined)
    faults.push({ code: 'incidents-missing', chain: 'userchain', height: 0, index: 0, file: 'incidents.log' })
  return faults
}

/** Puts faults on record, one for each place, with the height of its block. */
export function recordEarlyFaults(healer: Healer, cores: NodeCores, faults: readonly Fault[]): Incident[] {
  const placed = new Map<string, Fault>()
  for (const fault of faults) {
    const core = cores[fault.chain]
    const height = heightOf(core, fault.index)
    const index = fault.index === endOfLog ? (endOf(core, height - 1) ?? 0) : fault.index
    placed.set([fault.code, fault.chain, index].join(' '), { ...fault, height, index })
  }
  return [...placed.values()].map((fault) => healer.found(fault))
}
