/** What accounting nodes are asked and answer, as the client gives it on. */
import type { VerifiedCheckpoint } from '@healthblock/chain/checkpoint'
import type { StateProof } from '@healthblock/chain/state-tree'
import type { BlockFrame } from './ledger-frames.ts'

/** A transaction on its way. */
export interface Submitted {
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly leaf: Uint8Array
}

/** A gateway's signed refusal. */
export interface SignedRefusal {
  /** Name of the first rule that failed. */
  readonly rule: string
  readonly height: number
  /** State root at that height: 32 bytes. */
  readonly stateRoot: Uint8Array
  /** Canonical CBOR `[statement, signature]`. */
  readonly evidence: Uint8Array
}

/** What a gateway answered to a submission: each id was promised, or is in `refused` (by hex id). */
export interface Submission {
  /** The gateway: ask it for answers. */
  readonly url: string
  /** When it will have answered, Unix ms; the present if nothing was promised. */
  readonly deadlineMs: number
  /** Canonical CBOR `[statement, signature]`, if anything was promised. */
  readonly promise?: Uint8Array
  readonly refused: ReadonlyMap<string, SignedRefusal>
}

/** What a gateway says of a transaction. Of these, `refused` and `deferred` are signed; `committed` is proved by its receipt. */
export type Answer =
  | { readonly status: 'unknown' | 'pending' }
  | { readonly status: 'committed'; readonly index: number; readonly height: number; readonly size: number }
  | ({ readonly status: 'refused' } & SignedRefusal)
  | { readonly status: 'deferred'; readonly missing: string; readonly height: number; readonly evidence: Uint8Array }

/** A page of blocks and where it came from. */
export interface BlockPage {
  readonly url: string
  readonly frames: readonly BlockFrame[]
}

/** A verified record of the state, at the newest published block of the node asked. */
export interface VerifiedState {
  readonly height: number
  readonly size: number
  /** Absent: it is proved that the key has no value. */
  readonly value?: Uint8Array
  readonly checkpoint: VerifiedCheckpoint
}

/** A verified record of the state and what proves it. */
export interface ProvedState {
  readonly height: number
  /** Index of the SEAL. */
  readonly index: number
  /** The SEAL's leaf. */
  readonly seal: Uint8Array
  readonly proof: StateProof
  readonly value?: Uint8Array
  readonly checkpoint: VerifiedCheckpoint
}
