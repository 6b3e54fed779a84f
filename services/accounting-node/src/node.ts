/** The parts of a running node, as its routes use them. */
import type { Genesis } from '@healthblock/chain/genesis'
import type { ChainName } from '@healthblock/chain/transaction'
import type { SigningKey } from '@healthblock/crypto/signature'
import type { ChainCore } from './core/chain-core.ts'
import type { Directory } from './directory.ts'
import type { Gateway } from './gateway/gateway.ts'
import type { IncidentLog } from './incidents/incident-log.ts'
import type { Logger } from './logger.ts'
import type { ChainReader } from './reading/chain-reader.ts'
import type { Receipts } from './reading/receipts.ts'
import type { StateQuery } from './reading/state-query.ts'

/** One chain of a node. */
export interface ChainParts {
  readonly core: ChainCore
  readonly gateway: Gateway
  readonly reader: ChainReader
  readonly state: StateQuery
}

/** The organisation whose node this is. */
export interface Organisation {
  readonly account: Uint8Array
  readonly op: SigningKey
}

/** A node. */
export interface AccountingNode {
  readonly genesis: Genesis
  readonly rank: number
  /** This node's account. */
  readonly account: Uint8Array
  /** Accounts of all nodes by rank. */
  readonly nodeAccounts: readonly Uint8Array[]
  readonly organisation: Organisation
  /** Bearer of administrators. */
  readonly adminSecret: string
  readonly chains: Readonly<Record<ChainName, ChainParts>>
  readonly receipts: Receipts
  readonly incidents: IncidentLog
  readonly directory: Directory
  readonly logger: Logger
  readonly nowMs: () => number
  /** Why the intake queue cannot be used now; undefined if it can. */
  queueFault(): Promise<string | undefined>
}

/** Both chains, in the order in which they start. */
export const chainNames: readonly ChainName[] = ['userchain', 'docchain']
