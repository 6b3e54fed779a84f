/** What a replay of both chains keeps in a folder, and the threads that it works with. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LedgerStores } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import type { PreparationWorkers } from '@healthblock/chain/preparation'
import { lockFolder } from '../disk/files.ts'
import { BatchedChainStore } from './batched-store.ts'
import { openChainStore, type SqliteChainStore } from './ledger-stores.ts'
import { PreparationPool } from './preparation-pool.ts'

/** An open folder: parts of an audit's request. */
export interface ReplayStores {
  readonly dir: string
  readonly stores: LedgerStores
  readonly workers: PreparationWorkers
  readonly flush: (chain: ChainName) => void
}

/**
 * Opens a folder, creating it if it is absent, and closes it when `use` is done. A replay that was killed goes on from what it had flushed.
 *
 * @throws {RuntimeError} `ERR_FOLDER_LOCKED` while another replay works in it, and as `openDatabase`; whatever `use` throws.
 */
export async function withReplayStores<T>(dir: string, use: (open: ReplayStores) => Promise<T>): Promise<T> {
  return withOpenStores(dir, { isThrownAway: false }, use)
}

/** The same in a new folder, which is taken away when `use` is done. */
export async function withThrownAwayStores<T>(use: (open: ReplayStores) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'healthblock-replay-'))
  try {
    return await withOpenStores(dir, { isThrownAway: true }, use)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function withOpenStores<T>(
  dir: string,
  { isThrownAway }: { readonly isThrownAway: boolean },
  use: (open: ReplayStores) => Promise<T>,
): Promise<T> {
  const lock = lockFolder(dir)
  const files: SqliteChainStore[] = []
  const open = (chain: ChainName): BatchedChainStore => {
    const file = openChainStore({ path: join(dir, `${chain}.db`), isReplayed: true, isThrownAway })
    files.push(file)
    return new BatchedChainStore(file)
  }
  try {
    const stores = { userchain: open('userchain'), docchain: open('docchain') }
    return await withWorkers((workers) => use({ dir, stores, workers, flush: (chain) => stores[chain].flush() }))
  } finally {
    for (const file of files) file.close()
    lock.release()
  }
}

async function withWorkers<T>(use: (workers: PreparationWorkers) => Promise<T>): Promise<T> {
  const workers = new PreparationPool()
  try {
    return await use(workers)
  } finally {
    await workers.close()
  }
}
