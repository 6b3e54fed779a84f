/** Starts the process of an audit, and ends it. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { AuditAccess, AuditTask, FromAudit, ToAudit } from './audit-messages.ts'

const entry = fileURLToPath(new URL('./audit-process.ts', import.meta.url))
/** Tokens live an hour; addresses may change at any time. */
const accessEveryMs = 30_000
/** A process that does not end by itself is ended. */
const endTimeoutMs = 3_000
const heapSizeMb = 512

/** What to do, and who is told. */
export interface AuditChildOptions {
  readonly task: AuditTask
  readonly access: () => AuditAccess
  readonly onMessage: (message: FromAudit) => void
  /** Called once, after the last message, whether or not it was wanted. `code`: the exit code; null after a signal. */
  readonly onEnd: (code: number | null) => void
}

/** A process that audits. */
export class AuditChild {
  readonly #child: ChildProcess
  readonly #timer: NodeJS.Timeout
  readonly #gone: Promise<void>

  constructor({ task, access, onMessage, onEnd }: AuditChildOptions) {
    this.#child = fork(entry, [], {
      execArgv: [`--max-old-space-size=${heapSizeMb}`, '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    const gone = Promise.withResolvers<void>()
    this.#gone = gone.promise
    this.#child.on('message', (message) => onMessage(message as FromAudit))
    this.#child.once('error', () => gone.resolve())
    this.#child.once('close', () => gone.resolve())
    this.#timer = setInterval(() => this.#send({ kind: 'access', access: access() }), accessEveryMs)
    this.#timer.unref()
    void this.#gone.then(() => {
      clearInterval(this.#timer)
      onEnd(this.#child.exitCode)
    })
    this.#send({ kind: 'begin', task, access: access() })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Ends it; resolves when it is gone. What it had made durable stays. */
  async end(): Promise<void> {
    this.#child.kill('SIGTERM')
    const force = setTimeout(() => this.#child.kill('SIGKILL'), endTimeoutMs)
    await this.#gone
    clearTimeout(force)
  }

  #send(message: ToAudit): void {
    // A process that has just ended takes no message: its end is told by itself.
    if (this.#child.connected) this.#child.send(message, () => {})
  }
}
