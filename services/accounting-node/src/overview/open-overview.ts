/** Joins what the portal shows: audits, the other nodes, and what an open page hears. */
import { join } from 'node:path'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import { AuditBook } from '../audits/audit-book.ts'
import { AuditDesk } from '../audits/audit-desk.ts'
import type { AccountingConfig } from '../config.ts'
import type { Clock } from '../core/ports.ts'
import type { PeersFile } from '../peers-file.ts'
import type { Witnesses } from '../witness/witnesses.ts'
import { NodesLook } from './nodes-view.ts'
import { auditTeller, PortalEvents } from './portal-events.ts'

/** What is needed. */
export interface OverviewOptions {
  readonly config: AccountingConfig
  readonly clock: Clock
  readonly peers: PeersFile
  /** This node's rank in the policy in force; undefined while it is in none. */
  readonly ownRank: () => number | undefined
  /** True if a policy in force has a node of that rank. */
  readonly isMember: (rank: number) => boolean
  /** Where this node listens; undefined before it does. */
  readonly ownUrl: () => string | undefined
  /** Whom this node asks for cosignatures. */
  readonly witnesses: Pick<Witnesses, 'list'>
}

/** The parts. */
export interface Overview {
  readonly audits: AuditDesk
  readonly look: NodesLook
  readonly events: PortalEvents
}

/** Nodes by rank, this one among them even if the peers file leaves it out. */
function nodesOf({ peers, ownRank, ownUrl }: OverviewOptions) {
  const own = ownRank()
  const listed = peers.ranks().map((rank) => ({ rank, url: peers.urlOf(rank) as string, isSelf: rank === own }))
  const url = ownUrl()
  if (own === undefined || url === undefined || listed.some(({ isSelf }) => isSelf)) return listed
  return [...listed, { rank: own, url, isSelf: true }]
}

/** Opens them; audits begin with `audits.start()`. */
export function openOverview(options: OverviewOptions): Overview {
  const { config, clock } = options
  const { settings, secrets, genesis, organisation } = config
  const tokenOf = (scope: 'ledger' | 'storage') =>
    createTokenSource({
      ...{ ledgerId: genesis.ledgerId, account: organisation, keyNumber: 1, signingKey: secrets.organisationOp },
      ...{ scope, now: clock.nowMs },
    })
  const [ledgerToken, storageToken] = [tokenOf('ledger'), tokenOf('storage')]
  const storage = settings.ledgerFile?.storage ?? []
  const events = new PortalEvents()
  const audits = new AuditDesk({
    book: new AuditBook(join(settings.dir, 'audits.db')),
    genesisFile: join(settings.dir, 'genesis.cbor'),
    workDir: join(settings.dir, 'audit'),
    access: () => ({
      nodes: nodesOf(options).map(({ rank, url }) => ({ name: `accounting-${rank}`, url })),
      witnesses: options.witnesses.list().map(({ url, vkey }) => ({ url, vkey })),
      ...{ storage, ledgerToken: ledgerToken(), storageToken: storageToken() },
    }),
    nowMs: clock.nowMs,
    elapsedMs: clock.elapsedMs,
    onChange: auditTeller(events),
    caveat: `whether this node tells the truth about this audit: it was run by ${config.name}, one of the audited; "healthblock audit" on a machine of your own depends on nobody`,
  })
  const { isMember } = options
  const look = new NodesLook({ nodes: () => nodesOf(options), isMember, storage, storageToken, nowMs: clock.nowMs })
  return { audits, look, events }
}
