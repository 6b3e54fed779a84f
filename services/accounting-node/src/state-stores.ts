/**
 * The stores of a node's derived state, one file a chain. Blocks gather in memory before they go there, many at a time: the log has them,
 * and a start executes what a file lacks. A file that is damaged, or marked, is emptied and filled again from the log.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { ChainName } from '@healthblock/chain/chains'
import { StateTree } from '@healthblock/chain/state-tree'
import { BatchedChainStore } from '@healthblock/runtime/batched-store'
import { CheckpointThread } from '@healthblock/runtime/checkpoint-thread'
import { readFileIfPresent, writeFileDurably } from '@healthblock/runtime/files'
import { openChainStore, type SqliteChainStore } from '@healthblock/runtime/ledger-stores'
import type { EarlyFaults } from './incidents/early-faults.ts'

/** Page cache of each chain's state. */
const stateCacheSizeBytes = 8 * 1024 * 1024
/** What has gathered is written in pieces of so many ms: at once it would hold everything else up for 60 to 100. */
const pieceMs = 2

/** Marks a chain whose stores are to be emptied at the next start. */
function rebuildMarker(dir: string, chain: ChainName): string {
  return join(dir, chain, 'rebuild')
}

/** Has a chain's file emptied at the next start; returns once that is durable. */
export function markForRebuild(dir: string, chain: ChainName): void {
  writeFileDurably(rebuildMarker(dir, chain), '')
}

/** Opens the stores; damaged ones are told. */
export class StateStores {
  readonly #dir: string
  readonly #faults: EarlyFaults
  readonly #files: Partial<Record<ChainName, SqliteChainStore>> = {}
  readonly #stores: Partial<Record<ChainName, BatchedChainStore>> = {}
  readonly #checkpoints: CheckpointThread[] = []

  /** @param faults - Told of each damaged file. */
  constructor(dir: string, faults: EarlyFaults) {
    this.#dir = dir
    this.#faults = faults
  }

  /** Both chains' stores, once they are opened. */
  get opened(): Readonly<Record<ChainName, BatchedChainStore>> {
    return this.#stores as Record<ChainName, BatchedChainStore>
  }

  /** Opens the store of a chain; with `fresh` it is emptied first. */
  readonly openStore = (chain: ChainName, { fresh }: { fresh: boolean }): BatchedChainStore => {
    // What gathered before it comes again from the log.
    this.#files[chain]?.close()
    const path = join(this.#dir, chain, 'state.db')
    const marker = rebuildMarker(this.#dir, chain)
    const isMarked = readFileIfPresent(marker) !== undefined
    // A store that does not fit its log was filled by another one, or altered.
    if (fresh) this.#tell(chain)
    let file = fresh || isMarked ? this.#empty(path) : this.#openWhole(chain, path)
    file ??= this.#empty(path)
    if (isMarked) rmSync(marker)
    this.#files[chain] = file
    // A Docchain block is judged by Userchain's state at its anchor: that file is never behind it.
    const before = () => (chain === 'docchain' ? this.#stores.userchain : undefined)
    const store = new BatchedChainStore(file, { before, pieceMs })
    this.#stores[chain] = store
    return store
  }

  #tell(chain: ChainName): void {
    this.#faults.add({ code: 'state-damaged', chain, index: 0, file: 'state.db' })
  }

  #empty(path: string): SqliteChainStore {
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
    return this.#openFile(path)
  }

  #openFile(path: string): SqliteChainStore {
    const checkpoints = new CheckpointThread(path)
    this.#checkpoints.push(checkpoints)
    return openChainStore({ path, cacheSizeBytes: stateCacheSizeBytes, checkpoints })
  }

  /** A store whose every record is what its hashes say; undefined if it is damaged. */
  #openWhole(chain: ChainName, path: string): SqliteChainStore | undefined {
    let store: SqliteChainStore | undefined
    try {
      store = this.#openFile(path)
      new StateTree(store.leaves)
      return store
    } catch {
      store?.close()
      this.#tell(chain)
      return undefined
    }
  }

  /** Writes what has gathered, as far as that can be, and closes the files. */
  async close(): Promise<void> {
    try {
      for (const store of Object.values(this.#stores)) store.flush()
    } catch {
      // A full disk, or a damaged file: nothing is lost that the log does not have.
    }
    for (const file of Object.values(this.#files)) file.close()
    await Promise.all(this.#checkpoints.map((thread) => thread.close()))
  }
}
