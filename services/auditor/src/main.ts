/**
 * Audits once and prints the report as one line of JSON; with AUDITOR_MODE=follow it goes on until SIGTERM or SIGINT, and prints each finding
 * as one line when it appears. Exit code 0 without findings, 1 with findings, 2 if it could not audit.
 */
import { messageOf } from '@healthblock/runtime/errors'
import { run } from './run.ts'

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort())
let findings = 0
try {
  const report = await run(process.env, {
    signal: stop.signal,
    onFinding: (finding) => {
      findings++
      process.stdout.write(`${JSON.stringify(finding)}\n`)
    },
  })
  if (process.env.AUDITOR_MODE !== 'follow') process.stdout.write(`${JSON.stringify(report)}\n`)
  process.exitCode = report.ok && findings === 0 ? 0 : 1
} catch (error) {
  process.stderr.write(`auditor: ${messageOf(error)}\n`)
  process.exitCode = 2
}
