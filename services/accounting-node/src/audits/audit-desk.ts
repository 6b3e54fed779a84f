/**
 * Audits that a node runs for its people: one process at a time, so that ordering does not suffer. A watch gives way to an audit that
 * somebody wants now, and goes on after it. What was running when the node ended is said to be interrupted; a watch goes on.
 */
import type { AuditReport, Finding } from '@healthblock/audit/report'
import type { ChainName } from '@healthblock/chain/chains'
import { AccountingError } from '../errors.ts'
import { type AuditBook, type AuditRecord, withFinding } from './audit-book.ts'
import { AuditChild } from './audit-child.ts'
import type { AuditAccess, FromAudit } from './audit-messages.ts'
import { AuditPace, type PacedProgress } from './audit-pace.ts'

/** A look of a watch that found nothing new is written down this often. */
const writeEveryMs = 60_000
/** A watch whose process ended by itself begins again after so long. */
const watchRetryMs = 10_000

/** What a desk needs. */
export interface AuditDeskOptions {
  readonly book: AuditBook
  readonly genesisFile: string
  readonly workDir: string
  readonly access: () => AuditAccess
  readonly nowMs: () => number
  /** Ms of a clock that never steps. */
  readonly elapsedMs: () => number
  /** Something changed: an audit, by its number. */
  readonly onChange: (number: number) => void
  /** Said of every audit that this node runs about itself and the others. */
  readonly caveat: string
}

/** How far the chains of a running audit are; a chain that was not begun is absent. */
export type AuditProgresses = Readonly<Partial<Record<ChainName, PacedProgress>>>

interface Running {
  readonly child: AuditChild
  readonly number: number
  readonly pace: AuditPace
  progress: AuditProgresses
  isCancelled: boolean
  /** Of a watch: the newest look, and when one was last written to the book. */
  report: AuditReport | undefined
  writtenMs: number
}

/** Starts, follows and ends audits. One per node. */
export class AuditDesk {
  readonly #options: AuditDeskOptions
  #running: Running | undefined
  /** The watch that is on. */
  #watch: number | undefined
  #retry: NodeJS.Timeout | undefined
  #isStopping = false
  /** Changes of what runs, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: AuditDeskOptions) {
    this.#options = options
  }

  /** Takes up what an earlier process left. */
  start(): void {
    const { book, nowMs } = this.#options
    for (const record of book.running()) {
      if (record.kind === 'watch') this.#watch = record.number
      else book.put({ ...record, outcome: 'interrupted', ended: nowMs() })
    }
    this.#goOnWatching()
  }

  /** The audit that runs now, if it is not the watch: once its verdict is written it runs no more, though its process may still be ending. */
  get runningNumber(): number | undefined {
    const number = this.#running?.number
    if (number === undefined || number === this.#watch) return undefined
    return this.#options.book.get(number)?.outcome === 'running' ? number : undefined
  }

  /** The watch that is on. */
  get watchNumber(): number | undefined {
    return this.#watch
  }

  /** How far an audit is; undefined if it does not run. */
  progressOf(number: number): AuditProgresses | undefined {
    return this.#running?.number === number ? this.#running.progress : undefined
  }

  /** An audit as it stands, or undefined. */
  get(number: number): AuditRecord | undefined {
    const record = this.#options.book.get(number)
    const report = this.#running?.number === number ? this.#running.report : undefined
    return record === undefined || report === undefined ? record : { ...record, report }
  }

  /** Newest first, as many as `limit`, below `before`. */
  list(limit: number, before?: number): AuditRecord[] {
    return this.#options.book.list(limit, before)
  }

  /** Process id of what runs now. */
  get pid(): number | undefined {
    return this.#running?.child.pid
  }

  /**
   * Begins an audit.
   *
   * @throws {AccountingError} `ERR_AUDIT_RUNNING`.
   */
  begin(by: string, isFromBeginning: boolean): Promise<AuditRecord> {
    return this.#inTurn(async () => {
      if (this.runningNumber !== undefined) {
        const number = this.runningNumber
        throw new AccountingError(`audit ${number} is running`, { code: 'ERR_AUDIT_RUNNING', number })
      }
      await this.#endRunning()
      const { book, nowMs } = this.#options
      const record = book.begin({ kind: 'audit', by, started: nowMs(), isFromBeginning })
      this.#launch(record)
      return record
    })
  }

  /** Ends the audit that runs; nothing happens if none does. */
  cancel(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.runningNumber === undefined || this.#running === undefined) return
      this.#running.isCancelled = true
      await this.#running.child.end()
    })
  }

  /** Turns the standing watch on or off; what is so already stays. */
  setWatch(isOn: boolean, by: string): Promise<void> {
    return this.#inTurn(async () => {
      const { book, nowMs, onChange } = this.#options
      if (isOn === (this.#watch !== undefined)) return
      if (isOn) {
        this.#watch = book.begin({ kind: 'watch', by, started: nowMs(), isFromBeginning: false }).number
        onChange(this.#watch)
        return this.#goOnWatching()
      }
      clearTimeout(this.#retry)
      const number = this.#watch as number
      const report = this.#running?.number === number ? this.#running.report : undefined
      this.#watch = undefined
      if (this.#running?.number === number) await this.#running.child.end()
      const record = book.get(number)
      if (record !== undefined) {
        book.put({
          ...record,
          ...(report === undefined ? {} : { report }),
          ended: nowMs(),
          outcome: record.findings.length === 0 ? 'clean' : 'findings',
        })
      }
      onChange(number)
    })
  }

  /** Ends what runs; records stay as they are, so that the next start knows. */
  async stop(): Promise<void> {
    this.#isStopping = true
    clearTimeout(this.#retry)
    await this.#turn.catch(() => {})
    await this.#running?.child.end()
    this.#options.book.close()
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => {})
    return turn
  }

  async #endRunning(): Promise<void> {
    clearTimeout(this.#retry)
    await this.#running?.child.end()
  }

  #goOnWatching(): void {
    clearTimeout(this.#retry)
    if (this.#watch === undefined || this.#running !== undefined || this.#isStopping) return
    const record = this.#options.book.get(this.#watch)
    if (record !== undefined) this.#launch(record)
  }

  #launch(record: AuditRecord): void {
    const { genesisFile, workDir, access, elapsedMs, onChange } = this.#options
    const { number, isFromBeginning } = record
    const isWatch = record.kind === 'watch'
    const child = new AuditChild({
      task: { genesisFile, workDir, isFromBeginning, isWatch },
      access,
      onMessage: (message) => this.#onMessage(number, message),
      onEnd: () => this.#onEnd(number, isWatch),
    })
    this.#running = {
      child,
      number,
      pace: new AuditPace(elapsedMs),
      progress: {},
      isCancelled: false,
      report: undefined,
      writtenMs: 0,
    }
    onChange(number)
  }

  #onMessage(number: number, message: FromAudit): void {
    const running = this.#running
    const record = this.#options.book.get(number)
    if (running?.number !== number || record === undefined || this.#isStopping) return
    if (message.kind === 'progress') {
      running.progress = { ...running.progress, [message.progress.chain]: running.pace.take(message.progress) }
    } else if (message.kind === 'finding') this.#addFinding(record, message.finding)
    else if (message.kind === 'failed') this.#close(record, { outcome: 'failed', reason: message.reason })
    else this.#addReport(record, message.report)
    this.#options.onChange(number)
  }

  #addFinding(record: AuditRecord, finding: Finding): void {
    const { book, nowMs } = this.#options
    const told = withFinding(record, finding, nowMs())
    if (told !== record) book.put(told)
  }

  #addReport(record: AuditRecord, given: AuditReport): void {
    const report = { ...given, notChecked: [this.#options.caveat, ...given.notChecked] }
    if (record.kind === 'audit') {
      this.#close({ ...record, report }, { outcome: report.ok ? 'clean' : 'findings', reason: null })
      return
    }
    const running = this.#running as Running
    running.report = report
    const elapsedMs = this.#options.elapsedMs()
    if (running.writtenMs > 0 && elapsedMs - running.writtenMs < writeEveryMs && record.reason === null) return
    running.writtenMs = elapsedMs
    this.#options.book.put({ ...record, report, reason: null })
  }

  #close(record: AuditRecord, end: Pick<AuditRecord, 'outcome' | 'reason'>): void {
    const { book, nowMs } = this.#options
    // A watch that fails is tried again: it stays on, and says why it sees nothing.
    if (record.kind === 'watch') book.put({ ...record, reason: end.reason })
    else book.put({ ...record, ...end, ended: nowMs() })
  }

  #onEnd(number: number, isWatch: boolean): void {
    const running = this.#running
    if (running?.number === number) this.#running = undefined
    if (this.#isStopping) return
    const record = this.#options.book.get(number)
    if (!isWatch && record?.outcome === 'running') {
      const end = { outcome: running?.isCancelled === true ? 'cancelled' : 'failed' } as const
      this.#close(record, { ...end, reason: end.outcome === 'failed' ? 'the process of the audit ended' : null })
    }
    this.#options.onChange(number)
    if (isWatch) this.#retry = setTimeout(() => this.#goOnWatching(), watchRetryMs)
    // A turn that is under way decides what runs next.
    else void this.#inTurn(async () => this.#goOnWatching())
  }
}
