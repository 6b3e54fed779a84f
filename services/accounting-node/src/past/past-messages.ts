/** What a node and the process that executes its log again say to each other. */
import type { ChainName } from '@healthblock/chain/chains'
import type { PastFolders, PastRecord } from './past-ledger.ts'

/** A question; one at a time. */
export interface ToPast extends Omit<PastFolders, 'workDir'> {
  readonly chain: ChainName
  /** Folder of both chains' work. */
  readonly pastDir: string
  readonly height: number
  readonly key: Uint8Array
}

/** How far it is, now and then; then the record, or why there is none. */
export type FromPast =
  | { readonly kind: 'progress'; readonly height: number }
  | { readonly kind: 'record'; readonly record: PastRecord }
  | { readonly kind: 'failed'; readonly reason: string }
