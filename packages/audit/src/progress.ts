import type { ChainName } from '@healthblock/chain/chains'

/** How far an audit has come: of `total` entries of a chain, `done` are compared and executed. */
export interface AuditProgress {
  readonly chain: ChainName
  readonly done: number
  readonly total: number
  readonly transactions: number
}
