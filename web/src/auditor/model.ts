/** What the accounting node says to this portal (its SPEC.md §1). Times are Unix ms. */

/** A ledger's name in paths. */
export type ChainName = 'userchain' | 'docchain'

/** Both, in the order in which they are shown. */
export const chainNames: readonly ChainName[] = ['userchain', 'docchain']

/** Something that an audit found. */
export interface Finding {
  readonly code: string
  readonly chain: ChainName | null
  readonly height: number | null
  readonly index: number | null
  readonly node: string | null
  readonly message: string
  /** When the node was told; absent in reports. */
  readonly found?: number
}

/** How far a chain was replayed. */
export interface ChainReport {
  readonly height: number
  readonly size: number
  readonly root: string
  readonly stateRoot: string
}

/** What an audit says at its end. */
export interface AuditReport {
  readonly ok: boolean
  readonly chains: Readonly<Record<ChainName, ChainReport>>
  readonly transactions: number
  readonly seconds: number
  readonly notChecked: readonly string[]
  readonly findings: readonly Finding[]
}

/** How far a running audit is with a chain. */
export interface ChainProgress {
  readonly done: number
  readonly total: number
  readonly entriesPerSecond: number | null
  readonly secondsLeft: number | null
}

/** How an audit stands. */
export type AuditOutcome = 'running' | 'clean' | 'findings' | 'cancelled' | 'failed' | 'interrupted'

/** An audit or a watch, whole. */
export interface Audit {
  readonly number: number
  readonly kind: 'audit' | 'watch'
  readonly by: string
  readonly started: number
  readonly ended: number | null
  readonly outcome: AuditOutcome
  readonly isFromBeginning: boolean
  readonly reason: string | null
  readonly report: AuditReport | null
  readonly findings: readonly Finding[]
  readonly progress: Readonly<Partial<Record<ChainName, ChainProgress>>> | null
}

/** An audit in the list. */
export interface AuditSummary extends Omit<Audit, 'report' | 'findings' | 'progress'> {
  readonly findings: number
  readonly notChecked: number | null
  readonly transactions: number | null
  readonly seconds: number | null
  readonly chains: AuditReport['chains'] | null
}

/** `GET /v1/audits`. */
export interface Audits {
  readonly running: Audit | null
  readonly watch: Audit | null
  readonly audits: readonly AuditSummary[]
  readonly next: number | null
}

/** One chain at one node. */
export interface ChainFigures {
  readonly height: number | null
  readonly size: number | null
  readonly term: number | null
  readonly leader: number | null
  readonly leads: boolean
  readonly signs: boolean
  readonly queue: number | null
  readonly promised: number | null
  readonly cosignedAgeSeconds: number | null
  readonly anchorLagSeconds: number | null
}

/** One accounting node. */
export interface NodeView {
  readonly rank: number
  readonly name: string
  readonly isSelf: boolean
  /** False of one that was removed, or is not in the policy yet. */
  readonly isMember: boolean
  readonly heard: number | null
  readonly fault: string | null
  readonly ready: boolean | null
  readonly checks: readonly { readonly name: string; readonly ready: boolean; readonly reason?: string }[]
  readonly openIncidents: number | null
  readonly chains: Readonly<Record<ChainName, ChainFigures>> | null
}

/** One storage node. */
export interface StoreView {
  readonly name: string
  readonly heard: number | null
  readonly fault: string | null
  readonly blocks: number | null
  readonly replicas: number | null
  readonly below: number | null
  readonly handoffs: number | null
  readonly peers: number | null
}

/** `GET /v1/nodes`. */
export interface NodesView {
  readonly now: number
  readonly nodes: readonly NodeView[]
  readonly stores: readonly StoreView[] | null
}

/** A fault that the node found in its own files. */
export interface Incident {
  readonly number: number
  readonly code: string
  readonly chain: ChainName
  readonly height: number
  readonly index: number
  readonly file: string
  readonly found: number
  readonly healed: boolean
  readonly acknowledged: number | null
}

/** What a node was shown to have done. */
export interface Evidence {
  readonly chain: ChainName
  readonly kind: string
  readonly node: string | null
  /** In the policy in force; null of one that is in none, and of what is not on record yet. */
  readonly rank: number | null
  readonly index: number | null
  readonly size: number | null
  readonly transactionId: string | null
  /** Its node was removed since, or has other keys. */
  readonly settled: boolean
}

/** A block in short. `from`: its first index; `size`: the log's with it. */
export interface BlockSummary {
  readonly height: number
  readonly from: number
  readonly size: number
  readonly ms: number
  readonly transactions: number
  readonly types: Readonly<Record<string, number>>
}

/** Somebody whom this organisation sponsored under a name. */
export interface Person {
  readonly name: string
  readonly account: string
  readonly role: number
  readonly isOnRecord: boolean
  readonly licence: { readonly state: number; readonly from: number; readonly to: number } | null
}
