/** Receipts (chain SPEC §7), made from the newest published checkpoints when they are asked for. */

import type { ChainName } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import type { Genesis } from '@healthblock/chain/genesis'
import type { PolicyTrail } from '@healthblock/chain/policy-trail'
import { createReceipt, type ReceiptEntry, type ReceiptRequest } from '@healthblock/chain/receipt'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import { AccountingError } from '../errors.ts'
import type { Witnesses } from '../witness/witnesses.ts'
import type { ChainReader } from './chain-reader.ts'
import type { Closures } from './closures.ts'

/** What receipts are made from. */
export interface ReceiptsOptions {
  readonly genesis: Genesis
  readonly trail: PolicyTrail
  readonly readers: Readonly<Record<ChainName, ChainReader>>
  readonly closures: Closures
  readonly witnesses: Pick<Witnesses, 'best' | 'keys'>
}

/** Makes receipts. */
export class Receipts {
  readonly #options: ReceiptsOptions

  constructor(options: ReceiptsOptions) {
    this.#options = options
  }

  /**
   * The receipt of a transaction, as far as its parts exist: of a revocation the anchor may come later.
   *
   * @returns The file.
   * @throws {AccountingError} `ERR_NOT_PUBLISHED`; `ERR_ENTRY_DAMAGED`; `ERR_NODE_NOT_MEMBER` while this node's own line on the newest
   *   checkpoint is of no log key of the policy: it joins later, or was removed, or its keys were replaced.
   */
  async receipt(chain: ChainName, id: Uint8Array): Promise<Uint8Array> {
    const { genesis, trail, readers } = this.#options
    const reader = readers[chain]
    const index = reader.core.ledger.index(chain).find(id)
    if (index === undefined || index >= (reader.published?.size ?? 0)) throw notPublished()
    const transaction = await this.#proved(chain, index)
    const { body } = parseTransactionLeaf(transaction.leaf)
    if (body.t !== 'key' || body.close.length === 0) {
      return made({ genesis, trail, chain, transaction, witnesses: this.#options.witnesses.keys })
    }
    return this.#revocation(id, index, transaction)
  }

  /** Under the head beyond it that most witnesses cosigned. */
  #proved(chain: ChainName, index: number): Promise<ReceiptEntry> {
    const { readers, witnesses } = this.#options
    return readers[chain].proved(index, () => witnesses.best(chain, index))
  }

  async #revocation(id: Uint8Array, index: number, transaction: ReceiptEntry): Promise<Uint8Array> {
    const { genesis, trail, readers, closures } = this.#options
    const { userchain, docchain } = readers
    const { ledger } = userchain.core
    const boundary = ledger.index('userchain').boundaryAfter(index)
    const state = await closures.of(id)
    if (boundary === undefined || state === undefined) throw notPublished()
    const seal = { ...(await this.#proved('userchain', boundary.size - 1)), state }
    const anchored = ledger.index('docchain').firstAnchoredBeyond(index)
    const witnesses = this.#options.witnesses.keys
    const base = { genesis, trail, chain: 'userchain', transaction, seal, witnesses } as const
    if (anchored === undefined || anchored.size > (docchain.published?.size ?? 0)) return made(base)
    return made({ ...base, anchor: await this.#proved('docchain', anchored.size - 1) })
  }
}

function made(request: ReceiptRequest): Uint8Array {
  try {
    return createReceipt(request)
  } catch (cause) {
    if (!(cause instanceof ChainError) || cause.detail.code !== 'ERR_CHECKPOINT_LOG_LINE') throw cause
    const { chain } = request
    throw new AccountingError(
      'this node is not among the nodes of the ledger now, so it can make no receipt: ask another node',
      { code: 'ERR_NODE_NOT_MEMBER', chain },
      { cause },
    )
  }
}

function notPublished(): AccountingError {
  return new AccountingError('no receipt yet: the transaction is not published here', {
    code: 'ERR_NOT_PUBLISHED',
    what: 'transaction',
  })
}
