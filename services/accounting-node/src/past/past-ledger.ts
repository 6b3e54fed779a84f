/**
 * The state as it was after an earlier block: the node's own log, executed again as far as that block, in a folder of its own. The log was
 * checked signature by signature when it was written; here each block must give the state root of its SEAL once more, and whoever gets a
 * proof checks it under that root.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ledger } from '@healthblock/chain/block'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { leafHash } from '@healthblock/chain/merkle'
import type { PreparedLeaf } from '@healthblock/chain/preparation'
import { parseSealLeaf } from '@healthblock/chain/seal'
import type { StateProof } from '@healthblock/chain/state-tree'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import { BatchedChainStore } from '@healthblock/runtime/batched-store'
import { ensureFolder } from '@healthblock/runtime/files'
import { openChainStore, type SqliteChainStore } from '@healthblock/runtime/ledger-stores'
import { ReadFile } from '../adapters/read-file.ts'
import { readRecords } from '../core/journal.ts'
import { parseRecord } from '../core/log.ts'
import { parseBlock } from '../core/wire.ts'
import { AccountingError } from '../errors.ts'

/** Where everything is. */
export interface PastFolders {
  readonly genesisFile: string
  /** The node's folder. */
  readonly dir: string
  /** What was executed of this chain; derived. */
  readonly workDir: string
}

/** A record with its proof under the state root of a block; no value: there was none. */
export interface PastRecord {
  readonly value: Uint8Array | undefined
  readonly proof: StateProof
}

/** The stored blocks of one chain, as many as there were when it was opened. */
class StoredBlocks {
  readonly #file: ReadFile
  readonly #places: { readonly offset: number; readonly length: number }[] = []

  constructor(path: string) {
    this.#file = new ReadFile(path)
    readRecords(this.#file, (payload, offset) => this.#places.push({ offset, length: payload.length }))
  }

  leaves(height: number): readonly Uint8Array[] | undefined {
    const place = this.#places[height]
    if (place === undefined) return undefined
    return parseBlock(parseRecord(this.#file.read(place.offset, place.length)).blockBytes)
  }

  close(): void {
    this.#file.close()
  }
}

/** One chain at an earlier height; Docchain takes as much of Userchain with it as it is anchored at. */
export class PastLedger {
  readonly #chain: ChainName
  readonly #dir: string
  readonly #ledger: Ledger
  readonly #files: readonly SqliteChainStore[]
  readonly #stores: Readonly<Record<ChainName, BatchedChainStore>>

  /** @throws {ChainError} {RuntimeError} if the folder is damaged: remove it, and begin anew. */
  constructor(chain: ChainName, { genesisFile, dir, workDir }: PastFolders) {
    ensureFolder(workDir)
    const [userchain, docchain] = chainNames.map((name) => openChainStore({ path: join(workDir, `${name}.db`) })) as [
      SqliteChainStore,
      SqliteChainStore,
    ]
    this.#chain = chain
    this.#dir = dir
    this.#files = [userchain, docchain]
    this.#stores = { userchain: new BatchedChainStore(userchain), docchain: new BatchedChainStore(docchain) }
    this.#ledger = Ledger.open({ genesis: new Uint8Array(readFileSync(genesisFile)), stores: this.#stores })
  }

  /** The block after which the state stands now. */
  get height(): number {
    return this.#ledger.head(this.#chain).height
  }

  /**
   * Executes up to a block, at or above `height`; yields the height after each.
   *
   * @throws {ChainError} `ERR_BLOCK_INVALID` if the log is damaged. {AccountingError} `ERR_NOT_PUBLISHED` if it does not go so far.
   */
  *executeTo(height: number): Generator<number, void> {
    if (this.height >= height) return
    const blocks = chainNames.map((chain) => new StoredBlocks(join(this.#dir, chain, 'log/blocks')))
    const [userchain, own] = [blocks[0] as StoredBlocks, blocks[chainNames.indexOf(this.#chain)] as StoredBlocks]
    try {
      while (this.height < height) {
        const leaves = leavesOf(own, this.height + 1)
        const anchor = parseSealLeaf(leaves.at(-1) as Uint8Array).anchor?.[0]
        while (anchor !== undefined && this.#ledger.head('userchain').size < anchor[0])
          this.#execute('userchain', leavesOf(userchain, this.#ledger.head('userchain').height + 1))
        this.#execute(this.#chain, leaves)
        yield this.height
      }
    } finally {
      for (const each of blocks) each.close()
    }
    for (const chain of chainNames) this.#stores[chain].flush()
  }

  /** A record of the state after the block at `height`. */
  prove(key: Uint8Array): PastRecord {
    const { value, proof } = this.#ledger.prove(this.#chain, key)
    return { value, proof }
  }

  /** Closes the files. */
  close(): void {
    for (const file of this.#files) file.close()
  }

  #execute(chain: ChainName, leaves: readonly Uint8Array[]): void {
    const prepared = leaves.map((leaf, at) => this.#prepared(chain, leaf, at === leaves.length - 1))
    this.#ledger.commit(this.#ledger.checkBlock({ chain, leaves, prepared }))
  }

  /** Its signatures were verified when the block was decided. */
  #prepared(chain: ChainName, leaf: Uint8Array, isSeal: boolean): PreparedLeaf {
    const hash = leafHash(leaf)
    if (isSeal) return { leaf, hash }
    const transaction = parseTransactionLeaf(leaf)
    const id = this.#ledger.transactionId(chain, transaction)
    const goodUnder = transaction.signatures.map((signer) => this.#ledger.expectedKey(transaction, signer))
    return { leaf, hash, prepared: { transaction, id, goodUnder } }
  }
}

function leavesOf(blocks: StoredBlocks, height: number): readonly Uint8Array[] {
  const leaves = blocks.leaves(height)
  if (leaves !== undefined) return leaves
  throw new AccountingError(`the log has no block ${height}`, { code: 'ERR_NOT_PUBLISHED', what: 'block' })
}
