/** The signed words of a gateway: promises, refusals and deferrals (chain SPEC §1), in the state of this moment. */

import { type ChainName, chains } from '@healthblock/chain/chains'
import { ruleText, type SignedStatement, signStatement } from '@healthblock/chain/statement'
import type { SigningKey } from '@healthblock/crypto/signature'
import type { ChainCore } from '../core/chain-core.ts'

/** What the signer needs. */
export interface SignerOptions {
  readonly core: Pick<ChainCore, 'chain' | 'head'>
  readonly ledgerId: Uint8Array
  /** This node's account. */
  readonly account: Uint8Array
  readonly nodeKey: SigningKey
  /** Docchain: size and root of the Userchain boundary that rules are tried against. */
  readonly anchor?: () => { readonly size: number; readonly root: Uint8Array } | undefined
}

/** Signs what this gateway says. */
export class AnswerSigner {
  readonly #options: SignerOptions

  constructor(options: SignerOptions) {
    this.#options = options
  }

  get #common(): { v: 1; chain: number; gateway: Uint8Array } {
    const chain: ChainName = this.#options.core.chain
    return { v: 1, chain: chains[chain], gateway: this.#options.account }
  }

  /** Promises an answer for each id by the deadline. */
  promise(ids: readonly Uint8Array[], deadlineMs: number): SignedStatement {
    const { height } = this.#options.core.head()
    const statement = { ...this.#common, txs: [...ids], height, deadline: deadlineMs }
    return this.#sign('accepted', statement)
  }

  /** Refuses a transaction by the first rule that fails in the state of this moment. */
  refusal(id: Uint8Array, rule: string): SignedStatement {
    const { height, stateRoot } = this.#options.core.head()
    const anchor = this.#options.anchor?.()
    const statement = { ...this.#common, tx: id, rule: ruleText(rule), height, st: stateRoot }
    return this.#sign(
      'refused',
      anchor === undefined ? statement : { ...statement, anchor: [anchor.size, anchor.root] as const },
    )
  }

  /** Says what a transaction still lacks. */
  deferral(id: Uint8Array, missing: string): SignedStatement {
    const { height } = this.#options.core.head()
    return this.#sign('deferred', { ...this.#common, tx: id, missing, height })
  }

  #sign<N extends 'accepted' | 'refused' | 'deferred'>(
    name: N,
    statement: Parameters<typeof signStatement<N>>[0]['statement'],
  ): SignedStatement {
    const { ledgerId, nodeKey } = this.#options
    return signStatement({ name, statement, ledgerId, signingKey: nodeKey })
  }
}
