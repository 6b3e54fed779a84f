/** The files of a follower: what it has verified and executed, all of which follows from the ledger. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { openChainStore, type SqliteChainStore } from '../state/ledger-stores.ts'

function storePath(dir: string, chain: ChainName): string {
  return join(dir, `${chain}.db`)
}

/**
 * Opens both stores in a folder, and the ledger over them.
 *
 * @throws {RuntimeError} as `openDatabase`; {ChainError} `ERR_GENESIS_INVALID`, `ERR_STATE_CORRUPT`. Nothing is left open then.
 */
export function openLedger(options: { readonly dir: string; readonly genesis: Uint8Array }) {
  const opened: SqliteChainStore[] = []
  const open = (chain: ChainName): SqliteChainStore => {
    const store = openChainStore({ path: storePath(options.dir, chain) })
    opened.push(store)
    return store
  }
  try {
    const stores = { userchain: open('userchain'), docchain: open('docchain') }
    return { stores, ledger: Ledger.open({ genesis: options.genesis, stores }) }
  } catch (error) {
    for (const store of opened) store.close()
    throw error
  }
}

/** Removes both stores, which nobody has open. */
export function removeStores(dir: string): void {
  for (const chain of ['userchain', 'docchain'] as const) {
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${storePath(dir, chain)}${suffix}`, { force: true })
  }
}
