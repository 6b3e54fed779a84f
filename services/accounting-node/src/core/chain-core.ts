import type { GrantClose, Ledger, PlacedTransaction } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import type { Transaction } from '@healthblock/chain/transaction'
import type { PeerMethod } from './ports.ts'

/** The newest block that this node has applied. */
export interface AppliedHead {
  readonly height: number
  /** Leaves up to and with its SEAL. */
  readonly size: number
  /** Merkle root at `size`, 32 bytes. */
  readonly root: Uint8Array
  /** State root after it, 32 bytes. */
  readonly stateRoot: Uint8Array
  /** SEAL time, Unix ms. */
  readonly ms: number
}

/** A checkpoint with the quorum's cosignatures. */
export interface PublishedHead {
  readonly height: number
  readonly size: number
  readonly root: Uint8Array
  /** Signed note: own 0x01 line first, then at least q cosignature lines in order of rank. */
  readonly checkpoint: string
}

/** Where a block lies in the log: its leaves are [i0, size), the SEAL last. */
export interface BlockPlace {
  readonly height: number
  readonly i0: number
  readonly size: number
}

/**
 * A block that this node has just applied; not yet published. Listeners run right after the ledger's commit and before the next
 * one, so `ledger.prove` still proves against this block's state root.
 */
export interface AppliedBlock extends BlockPlace {
  /** Leaf bytes, the SEAL last. */
  readonly leaves: readonly Uint8Array[]
  /** In the order of the leaves; the first has index `i0`. */
  readonly transactions: readonly PlacedTransaction[]
  /** Grants that its `key` transactions close. */
  readonly closes: readonly GrantClose[]
  /** SEAL time, Unix ms. */
  readonly ms: number
  /** True if it closes a grant, suspends somebody or changes the policy: an idle Docchain then seals a block. */
  readonly wakes: boolean
}

/** Figures of a core, for metrics and readiness. */
export interface CoreStatus {
  readonly term: number
  /** Rank of the leader of `term`, or undefined before the first. */
  readonly leader: number | undefined
  /** True while this node proposes blocks. */
  readonly leads: boolean
  /** Jobs waiting in the intake queue, as last known. */
  readonly queueDepth: number
  /** Transactions known here that no block holds yet. */
  readonly poolCount: number
  /** Docchain: ms since the newest published Userchain checkpoint beyond the anchor was known; 0 if none. */
  readonly anchorLagMs: number
  /** ms since a block was last decided, as known here. */
  readonly sinceDecidedMs: number
  /** True if the register answered the last time it was asked. */
  readonly registerReachable: boolean
  /** False while this node neither acks nor cosigns, because it is behind or was rolled back. */
  readonly signs: boolean
  /** True while this node has fewer leaves than it cosigned: a part of its log was lost, and is fetched again. */
  readonly hasLostLeaves: boolean
  /** False while this node, with the keys that it was started with, is not in the policy in force. */
  readonly takesPart: boolean
  /** Leaves that the register has named as decided for 2 s, or since before the start, and that are not applied here. */
  readonly behindLeaves: number
  /** False until a quorum, with this node, has told since the start what this node had signed before. */
  readonly heardPeers: boolean
  /** Age of the published note's q-th newest cosignature, ms; as large as the time itself while only an older process's note is known. */
  readonly cosignedAgeMs: number
  /** Largest difference between this clock and the median of the peers' as last measured, ms. */
  readonly clockSkewMs: number
  /** Set once the core has stopped for good: why. */
  readonly halted: string | undefined
}

/** One chain of one node: proposes, stages, decides, attests and publishes (SPEC.md §2, §5). */
export interface ChainCore {
  readonly chain: ChainName
  /** Applied state; `judge` for gateways. Both cores of a node share one. */
  readonly ledger: Ledger
  head(): AppliedHead
  /** Newest published checkpoint, or undefined before the first. */
  published(): PublishedHead | undefined
  /** The largest size that this node knew as published at `ms` of its `elapsedMs`; 0 if none. */
  publishedSizeAt(ms: number): number
  /** When a published size beyond `size` was first known here, by `elapsedMs`; undefined if none is. */
  publishedBeyondMs(size: number): number | undefined
  /** Leaf bytes at an index below `head().size`. */
  entry(index: number): Uint8Array
  /** Leaf bytes of [from, to). */
  entries(from: number, to: number): Uint8Array[]
  /** The block of a height, or undefined above the head. */
  blockAt(height: number): BlockPlace | undefined
  /** Height of the block that holds the leaf `index`, or undefined at or beyond the head's size. */
  heightOfIndex(index: number): number | undefined
  /**
   * Hands one micro-batch to the intake queue.
   *
   * @throws {AccountingError} `ERR_QUEUE_FULL` or `ERR_QUEUE_AWAY`: submit again later.
   */
  submit(transactions: readonly Transaction[]): Promise<void>
  /**
   * Remembers what this node's gateway accepted and tells the peers: the rules of takeover look at it. `ageMs` is how long ago
   * it was accepted (0 for new; more after a restart); `again` tells the peers also of what they were told of before, since a call may be lost.
   */
  noteAccepted(transactions: readonly Transaction[], options?: { ageMs?: number; again?: boolean }): void
  /** Calls `listener` after each applied block, in order. It must not throw. Returns what unsubscribes it. */
  onApplied(listener: (block: AppliedBlock) => void): () => void
  /** Calls `listener` after each newly published size. It must not throw. Returns what unsubscribes it. */
  onPublished(listener: (published: PublishedHead) => void): () => void
  term(): { term: number; leader: number | undefined }
  status(): CoreStatus
  /** The leaves of a block as they are on the disk at this moment, the SEAL last; undefined if the record cannot be read. */
  readBlock(height: number): readonly Uint8Array[] | undefined
  /**
   * Asks the peers for a damaged block and puts it in the place of the stored one, durably.
   *
   * @param isGood - Tells from the leaves whether it is the block that was executed here.
   * @returns False if no peer gave it.
   */
  repairBlock(height: number, isGood: (leaves: readonly Uint8Array[]) => boolean): Promise<boolean>
  /** While suspended this node cosigns nothing: its own files failed a check. */
  suspend(isSuspended: boolean): void
  /** Answers a peer. `from` is the rank that the transport authenticated. */
  handlePeer(from: number, method: PeerMethod, body: Uint8Array): Promise<Uint8Array>
  /** Opens the files, replays, and begins to take part. Userchain's core starts first. */
  start(): Promise<void>
  /** Ends all activity; what was promised stays promised. */
  stop(): Promise<void>
}
