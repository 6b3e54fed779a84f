/** Audits once and prints the report as one line of JSON. Exit code 0 without findings, 1 with findings, 2 if it could not audit. */
import { messageOf } from '@healthblock/runtime/errors'
import { run } from './run.ts'

try {
  const report = await run(process.env)
  process.stdout.write(`${JSON.stringify(report)}\n`)
  process.exitCode = report.ok ? 0 : 1
} catch (error) {
  process.stderr.write(`auditor: ${messageOf(error)}\n`)
  process.exitCode = 2
}
