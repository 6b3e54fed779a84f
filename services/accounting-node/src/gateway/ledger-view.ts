/** The ledger as the gateway of one chain sees it: is it on record, is it good now, is it good at all. */
import type { Ledger, SizeAndRoot, Verdict } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { parseTransactionLeaf, type Transaction } from '@healthblock/chain/transaction'
import { type Owner, Owners } from '../core/owners.ts'
import type { WellFormed } from './submission.ts'

/** What a first look at a transaction found. */
export interface Look {
  readonly item: WellFormed
  /** The rule by which it is refused for good, if its form, keys or signatures are wrong. */
  readonly staticRule: string | undefined
  /** True if the fault may be that this node is a block behind. */
  readonly mayBeBehind: boolean
  /** True if something that it needs is known to be missing now. */
  readonly isDeferred: boolean
  /** True if it is on record already. */
  readonly isOnRecord: boolean
}

/** What the view needs. */
export interface GatewayLedgerOptions {
  readonly ledger: Ledger
  readonly chain: ChainName
  readonly nowMs: () => number
  /** Docchain: the Userchain boundary that the next block is likely to be anchored at. */
  readonly anchor?: () => SizeAndRoot | undefined
}

/** Reads the committed state of this node; changes nothing. */
export class GatewayLedger {
  readonly #options: GatewayLedgerOptions
  readonly #owners: Owners

  constructor(options: GatewayLedgerOptions) {
    this.#options = options
    this.#owners = new Owners(options.ledger)
  }

  /** Index of a transaction on record here. */
  find(id: Uint8Array): number | undefined {
    return this.#options.ledger.index(this.#options.chain).find(id)
  }

  /** Height and end of the block that holds an index on record. */
  blockOf(index: number): { height: number; size: number } {
    const found = this.#options.ledger.index(this.#options.chain).boundaryAfter(index)
    if (found === undefined) throw new RangeError(`no block holds index ${index}`)
    return found
  }

  /** A stored leaf, which was checked when it was accepted. */
  parse(leaf: Uint8Array): Transaction {
    return parseTransactionLeaf(leaf)
  }

  /** The id of a transaction. */
  idOf(transaction: Transaction): Uint8Array {
    return this.#options.ledger.transactionId(this.#options.chain, transaction)
  }

  /** Verifies signatures in the thread pool, and remembers the good ones. */
  preverify(transactions: readonly Transaction[]): Promise<void> {
    return this.#options.ledger.preverify(this.#options.chain, transactions)
  }

  /** Tries the rules in the state of this moment. */
  judge(transaction: Transaction): Verdict {
    const { ledger, chain } = this.#options
    return ledger.judge(chain, transaction, this.#at())
  }

  #at(): { atMs: number; anchor?: SizeAndRoot } {
    const atMs = this.#options.nowMs()
    const anchor = this.#options.anchor?.()
    return anchor === undefined ? { atMs } : { atMs, anchor }
  }

  /** Whose transaction it is, for limits of ingress. */
  ownerOf(transaction: Transaction, id: Uint8Array): Owner {
    return this.#owners.of(transaction, id)
  }

  /** Looks at transactions that were just submitted: each as if it came next. */
  look(items: readonly WellFormed[]): Look[] {
    const { ledger, chain } = this.#options
    const verdicts = ledger.screen(
      chain,
      items.map(({ transaction }) => transaction),
      this.#at(),
    )
    return items.map((item, position) => {
      const verdict = verdicts[position] as Verdict
      const rule = verdict.verdict === 'refused' ? verdict.rule : undefined
      const isRegister = item.transaction.body.t === 'register' || item.transaction.body.t === 'genesis'
      const isOnRecord = rule?.endsWith('.duplicate') === true
      const isStatic = rule !== undefined && !isOnRecord && (isRegister || isOfForm(rule))
      return {
        item,
        staticRule: isStatic ? rule : undefined,
        mayBeBehind: isStatic && !isRegister && rule.endsWith('.signature'),
        isDeferred: verdict.verdict === 'deferred',
        isOnRecord,
      }
    })
  }
}

/** True for rules that no other transaction can heal. A `register` waits for nothing, so all of its rules are such. */
function isOfForm(rule: string): boolean {
  return rule.endsWith('.format') || rule.endsWith('.signature') || rule.endsWith('.place')
}
