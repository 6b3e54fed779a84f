/** `./healthblock test chaos`: every scenario on one cluster of real processes, a table, and a summary in the last line. */
import { parseArgs } from 'node:util'
import { formatTable } from '../../cli/src/table.ts'
import { Judge, type Row, runScenario } from './run.ts'
import { type Size, scenarios } from './scenarios.ts'
import { World } from './world.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    short: { type: 'boolean' },
    only: { type: 'string', multiple: true },
    json: { type: 'boolean' },
  },
})
const size: Size = values.short === true ? 'short' : values.quick === true ? 'quick' : 'full'
const unknown = (values.only ?? []).filter((name) => !scenarios.some((scenario) => scenario.name === name))
if (unknown.length > 0) {
  process.stderr.write(`there is no scenario "${unknown[0]}": ${scenarios.map(({ name }) => name).join(', ')}\n`)
  process.exit(2)
}

function tell(text: string): void {
  process.stderr.write(`chaos: ${text}\n`)
}

function show(rows: readonly Row[]): string {
  const head = ['scenario', 'ok', 'seconds', 'recovery s', 'committed', 'receipts', 'findings', 'facts']
  const lines = rows.map((row) => [
    ...[row.name, row.ok ? 'yes' : 'NO', String(row.seconds), String(row.recoverySeconds), String(row.committed)],
    ...[String(row.receipts), String(row.findings)],
    Object.entries(row.facts)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
  ])
  return formatTable([head, ...lines])
}

const begunMs = performance.now()
tell('starting four accounting nodes, Redis and the head register')
const world = await World.start()
let end: Promise<void> | undefined
const remove = (): Promise<void> => (end ??= world.remove())
process.once('SIGINT', () => void remove().finally(() => process.exit(1)))
process.once('SIGTERM', () => void remove().finally(() => process.exit(1)))
const rows: Row[] = []
const skipped: string[] = []
let last: { wrong: string[]; findings: number } = { wrong: [], findings: 0 }
try {
  const judge = new Judge(world)
  for (const scenario of scenarios) {
    if (values.only !== undefined && !values.only.includes(scenario.name)) continue
    if (scenario.needsEtcd === true && !world.hasEtcd) {
      skipped.push(scenario.name)
      continue
    }
    tell(`${scenario.name}: ${scenario.what}`)
    const row = await runScenario(scenario, world, judge, size)
    rows.push(row)
    if (values.json === true) process.stdout.write(`${JSON.stringify(row)}\n`)
    for (const words of row.wrong) tell(`${scenario.name}: WRONG: ${words}`)
  }
  tell('the whole ledger is replayed from nothing')
  last = await judge.judge({ whole: true })
  for (const words of last.wrong) tell(`at the end: WRONG: ${words}`)
} finally {
  if (process.env.HEALTHBLOCK_CHAOS_KEEP === undefined) await remove()
  else tell(`left running in ${world.root}`)
}
const failed = rows.filter(({ ok }) => !ok).length + (last.wrong.length > 0 ? 1 : 0)
const summary = {
  ok: failed === 0,
  scenarios: rows.length,
  failed,
  skipped,
  register: world.hasEtcd ? 'etcd' : 'sqlite',
  committed: world.tally.committed,
  receipts: world.tally.receipts.length,
  seconds: Math.round((performance.now() - begunMs) / 1000),
}
if (values.json === true) process.stdout.write(`${JSON.stringify(summary)}\n`)
else {
  process.stdout.write(`${show(rows)}\n`)
  const words = `${rows.length - rows.filter(({ ok }) => !ok).length} passed, ${failed} failed, ${skipped.length} skipped`
  process.stdout.write(
    `${words}; ${summary.committed} transactions, ${summary.receipts} receipts kept, all of them checked, ${summary.seconds} s\n`,
  )
}
process.exit(failed === 0 ? 0 : 1)
