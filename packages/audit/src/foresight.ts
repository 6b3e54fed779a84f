import type { Ledger } from '@healthblock/chain/block'
import type { PreparedLedger } from '@healthblock/chain/preparation'
import type { Transaction, TransactionSignature } from '@healthblock/chain/transaction'
import { byteText, equalBytes } from '@healthblock/encoding/bytes'

/** Accounts that are remembered: more than entries are read ahead of execution. */
const accountsMax = 4_096

/**
 * The keys that execution will probably ask for: those of the ledger as it stands, and those of accounts whose registrations were read but
 * not executed yet, so that the threads verify what new accounts sign, too. It decides nothing: a wrong guess is verified again.
 */
export class Foresight implements PreparedLedger {
  readonly ledgerId: Uint8Array
  readonly signatures: PreparedLedger['signatures']
  readonly #ledger: Ledger
  /** By account: root key and op key. */
  readonly #registered = new Map<string, readonly [root: Uint8Array, op: Uint8Array]>()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
    this.ledgerId = ledger.ledgerId
    this.signatures = ledger.signatures
  }

  /** @see {@link PreparedLedger} */
  expectedKey(transaction: Transaction, signer: TransactionSignature): Uint8Array | undefined {
    const known = this.#ledger.expectedKey(transaction, signer)
    const { body } = transaction
    const account = byteText(signer.account)
    if (body.t === 'register' && !equalBytes(signer.account, body.sponsor)) this.#note(account, [body.root, body.op])
    return known ?? this.#registered.get(account)?.[signer.key]
  }

  #note(account: string, keys: readonly [Uint8Array, Uint8Array]): void {
    this.#registered.set(account, keys)
    if (this.#registered.size > accountsMax) this.#registered.delete(this.#registered.keys().next().value as string)
  }
}
