/** One `healthblock audit` in a process of its own: prints its report, its processor time and its memory as one line of JSON. */
import { runAudit } from '../../cli/src/commands/audit.ts'

/** What an audit took. */
export interface AuditRun {
  readonly code: number
  readonly report: { readonly transactions: number; readonly seconds: number; readonly findings: readonly unknown[] }
  /** User and system time of the whole process, its start included. */
  readonly cpuSeconds: number
  readonly maxRssMb: number
}

let told = ''
const code = await runAudit([...process.argv.slice(2), '--json'], {
  stdin: process.stdin,
  stdout: (text) => {
    told += text
  },
  stderr: () => {},
  interactive: false,
})
const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage()
const run: AuditRun = {
  code,
  report: JSON.parse(told),
  cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
  maxRssMb: maxRSS / 1024,
}
process.stdout.write(`${JSON.stringify(run)}\n`)
