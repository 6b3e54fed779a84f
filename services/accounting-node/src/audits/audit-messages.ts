/** What a node and the process of its audit say to each other. */
import type { AuditProgress } from '@healthblock/audit/audit'
import type { AuditReport, Finding } from '@healthblock/audit/report'

/** Where everybody is, and the credentials to ask them: sent at the start, and again before it is out of date. */
export interface AuditAccess {
  /** Witnesses that this node asks. */
  readonly witnesses: readonly { readonly url: string; readonly vkey: string }[]
  readonly nodes: readonly { readonly name: string; readonly url: string }[]
  /** Storage nodes; none: they are not asked. */
  readonly storage: readonly string[]
  /** Bearer tokens of the node's organisation. */
  readonly ledgerToken: string
  readonly storageToken: string
}

/** What is to be audited, and how. */
export interface AuditTask {
  /** Paths: the genesis file; the folder of the replayed state. */
  readonly genesisFile: string
  readonly workDir: string
  /** True: nothing of an earlier audit is used. */
  readonly isFromBeginning: boolean
  /** True: it goes on until it is ended. */
  readonly isWatch: boolean
}

/** To the process. */
export type ToAudit =
  | { readonly kind: 'begin'; readonly task: AuditTask; readonly access: AuditAccess }
  | { readonly kind: 'access'; readonly access: AuditAccess }

/** From the process. `report`: of a watch, after each look; else once, at the end. */
export type FromAudit =
  | { readonly kind: 'progress'; readonly progress: AuditProgress }
  | { readonly kind: 'finding'; readonly finding: Finding }
  | { readonly kind: 'report'; readonly report: AuditReport }
  | { readonly kind: 'failed'; readonly reason: string }
