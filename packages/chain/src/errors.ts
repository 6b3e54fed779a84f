import type { ChainName } from './chains.ts'

/**
 * Why the package refused. Codes of formats name the part that was wrong (`field`) or say why in words (`reason`); the
 * message repeats it for a person.
 */
export type ChainErrorDetail =
  /** A transaction that is not of the shape of its type: `rule` = `<prefix>.format`, `transaction.format` before the type is known. */
  | { code: 'ERR_TRANSACTION_FORMAT'; rule: string; field: string }
  /** Neither a transaction nor a SEAL, or a SEAL of another shape. */
  | { code: 'ERR_LEAF_FORMAT'; field: string }
  | { code: 'ERR_GENESIS_INVALID'; field: string }
  | { code: 'ERR_STATEMENT_FORMAT'; statement: string; field: string }
  | { code: 'ERR_STATEMENT_SIGNATURE'; statement: string }
  | {
      code: 'ERR_TOKEN_INVALID'
      reason: 'format' | 'audience' | 'scope' | 'expired' | 'lifetime' | 'key' | 'signature'
    }
  | { code: 'ERR_TREE_RANGE'; index: number; size: number }
  | { code: 'ERR_TREE_STATE'; reason: string }
  | { code: 'ERR_HASH_MISSING'; level: number; index: number }
  | { code: 'ERR_INCLUSION_INVALID'; index: number; size: number }
  | { code: 'ERR_CONSISTENCY_INVALID'; oldSize: number; size: number }
  | { code: 'ERR_TILE_FORMAT'; reason: string }
  | { code: 'ERR_NOTE_FORMAT'; reason: string }
  | { code: 'ERR_KEY_TEXT_INVALID'; reason: string }
  | { code: 'ERR_CHECKPOINT_FORMAT'; reason: string }
  | { code: 'ERR_CHECKPOINT_ORIGIN'; origin: string }
  | { code: 'ERR_CHECKPOINT_SIGNATURE'; name: string }
  /** No line of a log key of the policy that is in force at this size. */
  | { code: 'ERR_CHECKPOINT_LOG_LINE'; origin: string }
  | { code: 'ERR_CHECKPOINT_QUORUM'; count: number; countMin: number }
  | { code: 'ERR_PROOF_FORMAT'; reason: string }
  | { code: 'ERR_RECEIPT_FORMAT'; reason: string }
  | { code: 'ERR_RECEIPT_INVALID'; step: string; reason: string }
  /** A block breaks a rule. `rule` is a name of SPEC.md §6, or `seal.…`; `index` that of the leaf in the log. */
  | { code: 'ERR_BLOCK_INVALID'; chain: ChainName; height: number; index: number; rule: string }
  /** A pending block or state does not follow what is committed now. */
  | { code: 'ERR_BLOCK_NOT_NEXT' }
  /** A Docchain block names a Userchain boundary that this ledger has not applied yet: apply Userchain and try again. */
  | { code: 'ERR_ANCHOR_UNKNOWN'; size: number; appliedSize: number }
  /** The rules in force have a version that this code does not know: it must be replaced by newer code, and stops here. */
  | { code: 'ERR_RULES_UNKNOWN'; version: number; newest: number }
  /** A step of a policy trail does not hold, or does not follow the steps before it. */
  | { code: 'ERR_TRAIL_INVALID'; step: number; reason: string }
  /** Stored state is not what it says, or not what the SEAL says. */
  | { code: 'ERR_STATE_CORRUPT' }
  /** A proof of presence or absence in the state does not hold. */
  | { code: 'ERR_STATE_PROOF_INVALID' }

/** Every code of `ChainErrorDetail`. */
export type ChainErrorCode = ChainErrorDetail['code']

/** The one error that this package throws for untrusted input and for rules or stores that do not hold. */
export class ChainError extends Error {
  override readonly name = 'ChainError'
  readonly detail: ChainErrorDetail
  constructor(message: string, detail: ChainErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}
