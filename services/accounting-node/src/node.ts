/** The parts of a running node, as its routes use them. */

import type { ChainName } from '@healthblock/chain/chains'
import type { Genesis } from '@healthblock/chain/genesis'
import type { RankedNode } from '@healthblock/chain/policy'
import type { PolicyTrail } from '@healthblock/chain/policy-trail'
import type { SigningKey } from '@healthblock/crypto/signature'
import type { AuditDesk } from './audits/audit-desk.ts'
import type { ChainCore } from './core/chain-core.ts'
import type { Directory } from './directory.ts'
import type { Gateway } from './gateway/gateway.ts'
import type { EvidenceKeeper } from './incidents/evidence-keeper.ts'
import type { IncidentLog } from './incidents/incident-log.ts'
import type { Logger } from './logger.ts'
import type { NodesLook } from './overview/nodes-view.ts'
import type { PortalEvents } from './overview/portal-events.ts'
import type { PastStates } from './past/past-states.ts'
import type { PeerPulse } from './peer-pulse.ts'
import type { ChainReader } from './reading/chain-reader.ts'
import type { Receipts } from './reading/receipts.ts'
import type { StateQuery } from './reading/state-query.ts'
import type { Successions } from './successions.ts'
import type { Witnesses } from './witness/witnesses.ts'

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
  /** This node's account. */
  readonly account: Uint8Array
  /** Log keys of this node by chain. */
  readonly logKeys: Readonly<Record<ChainName, Uint8Array>>
  /** The nodes of the policies in force, by account (`NodeCores.peer`). */
  readonly peer: (account: Uint8Array) => readonly RankedNode[]
  /** The policy trail, as far as this node has it. */
  readonly trail: PolicyTrail
  readonly organisation: Organisation
  /** Bearer of administrators. */
  readonly adminSecret: string
  readonly chains: Readonly<Record<ChainName, ChainParts>>
  readonly receipts: Receipts
  readonly incidents: IncidentLog
  readonly evidence: EvidenceKeeper
  readonly successions: Successions
  readonly directory: Directory
  readonly audits: AuditDesk
  readonly past: PastStates
  readonly look: NodesLook
  readonly events: PortalEvents
  readonly witnesses: Witnesses
  readonly logger: Logger
  readonly nowMs: () => number
  /** How far this clock is from the peers', ms, by the dates of their answers. */
  readonly clockSkewMs: () => number
  readonly pulse: PeerPulse
  /** Why the intake queue cannot be used now; undefined if it can. */
  queueFault(): Promise<string | undefined>
}
