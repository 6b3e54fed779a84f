/** The audits that this node ran, with what they found: `audits.db`. */
import { type AuditReport, canPass, type Finding } from '@healthblock/audit/report'
import { type Database, openDatabase, type SqlRow } from '@healthblock/runtime/sqlite'

/** How an audit stands. `interrupted`: the node ended while it ran. */
export type AuditOutcome = 'running' | 'clean' | 'findings' | 'cancelled' | 'failed' | 'interrupted'

/** A finding, and when this node was told. */
export interface TimedFinding extends Finding {
  /** Unix ms. */
  readonly found: number
}

/** One audit: a run, or a watch that goes on until it is turned off. */
export interface AuditRecord {
  readonly number: number
  readonly kind: 'audit' | 'watch'
  /** Who started it. */
  readonly by: string
  /** Unix ms. */
  readonly started: number
  readonly ended: number | null
  readonly outcome: AuditOutcome
  readonly isFromBeginning: boolean
  /** Why it failed. */
  readonly reason: string | null
  /** Of a watch: the newest look. */
  readonly report: AuditReport | null
  readonly findings: readonly TimedFinding[]
}

/** Audits that are kept; older ones go. */
export const auditsKeptMax = 500
/** Findings that are kept of one audit; the report says how many more there are. */
export const findingsKeptMax = 1_000

const sameFields = ['code', 'chain', 'height', 'index', 'node', 'message'] as const

/**
 * A record with one finding more. A watch begins anew after each audit and each start of its node, and tells what lasts again: that is no
 * second finding, but what can pass and came back is.
 */
export function withFinding(record: AuditRecord, finding: Finding, foundMs: number): AuditRecord {
  const isSame = (other: Finding): boolean => sameFields.every((field) => other[field] === finding[field])
  if (record.findings.length >= findingsKeptMax) return record
  if (!canPass(finding.code) && record.findings.some(isSame)) return record
  return { ...record, findings: [...record.findings, { ...finding, found: foundMs }] }
}

const schema = `CREATE TABLE audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  by TEXT NOT NULL,
  started INTEGER NOT NULL,
  ended INTEGER,
  outcome TEXT NOT NULL,
  from_beginning INTEGER NOT NULL,
  reason TEXT,
  report TEXT,
  findings TEXT NOT NULL
) STRICT`

function recordOf(row: SqlRow): AuditRecord {
  return {
    number: row.number as number,
    kind: row.kind as AuditRecord['kind'],
    by: row.by as string,
    started: row.started as number,
    ended: row.ended as number | null,
    outcome: row.outcome as AuditOutcome,
    isFromBeginning: row.from_beginning === 1,
    reason: row.reason as string | null,
    report: row.report === null ? null : (JSON.parse(row.report as string) as AuditReport),
    findings: JSON.parse(row.findings as string) as TimedFinding[],
  }
}

/** The file. One per node. */
export class AuditBook {
  readonly #database: Database

  constructor(path: string) {
    this.#database = openDatabase({ path, synchronous: 'full', migrations: [schema], cacheSizeBytes: 256 * 1024 })
  }

  /** Begins a record, durably. */
  begin(audit: Pick<AuditRecord, 'kind' | 'by' | 'started' | 'isFromBeginning'>): AuditRecord {
    const { kind, by, started, isFromBeginning } = audit
    this.#database.run(
      "INSERT INTO audit (kind, by, started, outcome, from_beginning, findings) VALUES (?, ?, ?, 'running', ?, '[]')",
      ...[kind, by, started, isFromBeginning ? 1 : 0],
    )
    const { number } = this.#database.get('SELECT max(number) AS number FROM audit') as { number: number }
    this.#database.run('DELETE FROM audit WHERE number <= ?', number - auditsKeptMax)
    return this.get(number) as AuditRecord
  }

  /** Writes what changed of a record. */
  put(record: AuditRecord): void {
    const { number, ended, outcome, reason, report, findings } = record
    this.#database.run(
      'UPDATE audit SET ended = ?, outcome = ?, reason = ?, report = ?, findings = ? WHERE number = ?',
      ended,
      outcome,
      reason,
      report === null ? null : JSON.stringify(report),
      JSON.stringify(findings.slice(0, findingsKeptMax)),
      number,
    )
  }

  /** One of them, or undefined. */
  get(number: number): AuditRecord | undefined {
    const row = this.#database.get('SELECT * FROM audit WHERE number = ?', number)
    return row === undefined ? undefined : recordOf(row)
  }

  /** Those that ran when the node ended. */
  running(): AuditRecord[] {
    return this.#database.all("SELECT * FROM audit WHERE outcome = 'running' ORDER BY number").map(recordOf)
  }

  /** Newest first, `limit` of them, below `before` if that is given. */
  list(limit: number, before = Number.MAX_SAFE_INTEGER): AuditRecord[] {
    const sql = 'SELECT * FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?'
    return this.#database.all(sql, before, limit).map(recordOf)
  }

  /** Closes the file. */
  close(): void {
    this.#database.close()
  }
}
