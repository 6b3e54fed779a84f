/** What goes into a ledger and what comes out: verdicts, heads, blocks that are computed but not committed. */

import type { ChainName } from '../chains.ts'
import type { Seal } from '../log/seal.ts'
import type { LogIndexChanges } from '../state/log-index.ts'
import type { PendingState } from '../state/state-tree.ts'
import type { Transaction } from '../transaction/transaction.ts'

/**
 * The judgement of a transaction. `rule` is a stable name of SPEC.md §6 (`D.live`, `iot.sequence`). A deferred one may become
 * valid; `missing` says what it lacks: `stream`, `sequence`, `generation`, `key`, `basis` or `record`. A refusal with a rule that
 * ends in `.duplicate` names the transaction's index: it is committed already, or earlier in the same block.
 */
export type Verdict =
  | { readonly verdict: 'valid' }
  | { readonly verdict: 'refused'; readonly rule: string; readonly index?: number }
  | { readonly verdict: 'deferred'; readonly rule: string; readonly missing: string }

/** Size and Merkle root of a log at a SEAL boundary. */
export interface SizeAndRoot {
  readonly size: number
  /** 32 bytes. */
  readonly root: Uint8Array
}

/** Where a chain stands after a block. */
export interface ChainHead extends SizeAndRoot {
  readonly height: number
  /** Root of the state after the block: 32 bytes. */
  readonly stateRoot: Uint8Array
  /** Time of the SEAL. */
  readonly ms: number
  /** Docchain: the Userchain boundary at which the block is anchored. */
  readonly anchor?: SizeAndRoot
}

/**
 * A grant named in the `close` of a `key`. After the block's commit, `Ledger.prove('userchain', stateKey)` proves its record against the
 * block's `st`; a receipt of the revocation needs that proof, which no later state gives. `closedAt` is the record's `c`: this
 * transaction's index, or a lower one if the grant had been closed before.
 */
export interface GrantClose {
  /** Index and id of the `key`. */
  readonly index: number
  readonly transactionId: Uint8Array
  readonly patient: Uint8Array
  readonly gid: Uint8Array
  readonly stateKey: Uint8Array
  readonly closedAt: number
}

/** A transaction with its id (32 bytes) and its index in the log. */
export interface PlacedTransaction {
  readonly transaction: Transaction
  readonly id: Uint8Array
  readonly index: number
}

/** A block computed on the committed head: it can be committed while that head stands, or thrown away. It has changed nothing. */
export interface PendingBlock {
  readonly chain: ChainName
  /** The head that the chain has after it. */
  readonly head: ChainHead
  /** The head that it was computed on. */
  readonly base: SizeAndRoot
  /** Index of the block's first leaf. */
  readonly firstIndex: number
  readonly seal: Seal
  /** All leaves, the SEAL last. */
  readonly leaves: readonly Uint8Array[]
  readonly transactions: readonly PlacedTransaction[]
  /** In the order of the transactions, then of their `close`. Empty on Docchain. */
  readonly closes: readonly GrantClose[]
  /** The block closed a grant, suspended or ended a licence, or changed the policy. */
  readonly wakes: boolean
  /** For `Ledger.commit` alone. */
  readonly changes: {
    readonly state: PendingState
    readonly index: LogIndexChanges
    readonly head: Uint8Array
  }
}

/** Limits of a block under construction. */
export interface BlockLimits {
  /** Most transactions; at most 4,096 whatever is given. */
  readonly transactionsMax: number
  /** Most bytes of all leaves together, without the SEAL. */
  readonly sizeBytesMax: number
}
