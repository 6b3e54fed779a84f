/** What a follower is given, and what it gives. */
import type { PlacedTransaction } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import type { Seal } from '@healthblock/chain/seal'
import type { RuntimeError } from '../errors.ts'
import type { Logger } from '../process/logger.ts'

/** What a follower tells its owner. */
export type FollowerEvent =
  | { readonly type: 'quarantine'; readonly url: string; readonly reason: string; readonly untilMs: number }
  | { readonly type: 'conflict'; readonly chain: ChainName; readonly url: string; readonly error: RuntimeError }
  | { readonly type: 'invalid'; readonly chain: ChainName; readonly url: string; readonly error: RuntimeError }
  | { readonly type: 'stale'; readonly chain: ChainName; readonly ageMs: number }
  /** Its files were damaged: they are emptied and filled again. */
  | { readonly type: 'rebuilt'; readonly reason: string }

/** A verified block, as consumers get it. */
export interface FollowedBlock {
  readonly chain: ChainName
  readonly height: number
  /** Index of the first leaf. */
  readonly firstIndex: number
  readonly seal: Seal
  readonly transactions: readonly PlacedTransaction[]
  /** The SEAL last. */
  readonly leaves: readonly Uint8Array[]
  /** To be kept with the block's effects: `follow` goes on after this block. */
  readonly cursor: Uint8Array
}

/** How up to date a chain is. */
export interface Freshness {
  /** When a quorum last stood behind the newest checkpoint seen, Unix ms; absent before the first. */
  readonly cosignedMs?: number
  /** No checkpoint younger than 150 s was seen, or the published head is not applied. */
  readonly stale: boolean
  readonly appliedSize: number
  readonly publishedSize: number
}

/** How to open a {@link LedgerFollower}. */
export interface FollowerOptions {
  /** Folder of its own, for `userchain.db` and `docchain.db`. */
  readonly dir: string
  /** The genesis file's bytes. */
  readonly genesis: Uint8Array
  /** Base URLs of accounting nodes. */
  readonly urls: readonly string[]
  readonly logger: Logger
  /** Chains to follow, default both. Docchain needs Userchain, which is followed always. */
  readonly docchain?: boolean
  /** Bearer token of scope `ledger`: `createTokenSource` of `../http/token-guard`. */
  readonly token: () => string | Promise<string>
  readonly onEvent?: (event: FollowerEvent) => void
  readonly timeoutMs?: number
  readonly now?: () => number
  /** How often to ask whether a stream has left something out, default 30,000. */
  readonly pollMs?: number
}
