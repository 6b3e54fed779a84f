/** What a replay of both chains keeps in a folder, and the threads that it works with. */
import { join } from 'node:path'
import type { LedgerStores } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import type { PreparationWorkers } from '@healthblock/chain/preparation'
import { BatchedChainStore } from './batched-store.ts'
import { lockFolder } from './files.ts'
import { openChainStore } from './ledger-stores.ts'
import { PreparationPool } from './preparation-pool.ts'

/** An open folder: parts of an audit's request. */
export interface ReplayStores {
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
  const lock = lockFolder(dir)
  try {
    return await withOpenStores(dir, use)
  } finally {
    lock.release()
  }
}

async function withOpenStores<T>(dir: string, use: (open: ReplayStores) => Promise<T>): Promise<T> {
  const files = {
    userchain: openChainStore({ path: join(dir, 'userchain.db') }),
    docchain: openChainStore({ path: join(dir, 'docchain.db') }),
  }
  const stores = {
    userchain: new BatchedChainStore(files.userchain),
    docchain: new BatchedChainStore(files.docchain),
  }
  const workers = new PreparationPool()
  try {
    return await use({ stores, workers, flush: (chain) => stores[chain].flush() })
  } finally {
    await workers.close()
    files.userchain.close()
    files.docchain.close()
  }
}
