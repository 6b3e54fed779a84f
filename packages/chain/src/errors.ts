import type { ChainName } from './transaction.ts'

/** Why bytes, a block or a proof were not accepted. */
export type ChainErrorDetail =
  /** A block breaks a rule. `rule` is a name of SPEC.md §6, or `seal.…`; `index` that of the leaf in the log. */
  | { code: 'ERR_BLOCK_INVALID'; chain: ChainName; height: number; index: number; rule: string }
  /** A pending block or state does not follow what is committed now. */
  | { code: 'ERR_BLOCK_NOT_NEXT' }
  /** A Docchain block names a Userchain boundary that this ledger has not applied yet: apply Userchain and try again. */
  | { code: 'ERR_ANCHOR_UNKNOWN'; size: number; appliedSize: number }
  /** Stored state is not what it says, or not what the SEAL says. */
  | { code: 'ERR_STATE_CORRUPT' }
  /** A proof of presence or absence in the state does not hold. */
  | { code: 'ERR_STATE_PROOF_INVALID' }

/** The one error that this package throws for untrusted input and for stores that do not hold what they should. */
export class ChainError extends Error {
  override readonly name = 'ChainError'
  readonly detail: ChainErrorDetail
  constructor(message: string, detail: ChainErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}
