/** `./healthblock test chaos`: every scenario on a cluster of real processes, a table, and a summary in the last line. */
import { parseArgs } from 'node:util'
import { formatTable } from '../../cli/src/table.ts'
import { etcdInstalled } from '../support/etcd.ts'
import { Judge, type Row, runScenario } from './run.ts'
import { type Scenario, type Size, scenarios, scenariosByRegister } from './scenarios.ts'
import type { Tally } from './senders.ts'
import { type Register, World } from './world.ts'

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
const rows: Row[] = []
/** The world that there is; one that is being made is removed once it is. */
let world: Promise<World> | undefined
const remove = async (): Promise<void> => {
  const ending = world
  world = undefined
  await (await ending?.catch(() => undefined))?.remove()
}
process.once('SIGINT', () => void remove().finally(() => process.exit(1)))
process.once('SIGTERM', () => void remove().finally(() => process.exit(1)))

/** Runs these scenarios on one world; answers what they gave, and whether the whole ledger was clean in the end. */
async function runOn(register: Register, list: readonly Scenario[]): Promise<Tally & { readonly isClean: boolean }> {
  tell(`starting four accounting nodes, Redis and the head register (${register})`)
  world = World.start(register)
  const started = await world
  try {
    const judge = new Judge(started)
    for (const scenario of list) {
      tell(`${scenario.name}: ${scenario.what}`)
      const row = await runScenario(scenario, started, judge, size)
      rows.push(row)
      if (values.json === true) process.stdout.write(`${JSON.stringify(row)}\n`)
      for (const words of row.wrong) tell(`${scenario.name}: WRONG: ${words}`)
    }
    tell('the whole ledger is replayed from nothing')
    const { wrong } = await judge.judge({ whole: true })
    for (const words of wrong) tell(`at the end: WRONG: ${words}`)
    return { ...started.tally, isClean: wrong.length === 0 }
  } finally {
    if (process.env.HEALTHBLOCK_CHAOS_KEEP === undefined) await remove()
    else tell(`left running in ${started.root}`)
  }
}

const chosen = scenarios.filter(({ name }) => values.only === undefined || values.only.includes(name))
const { groups, skipped } = scenariosByRegister(chosen, etcdInstalled)
const tallies: Awaited<ReturnType<typeof runOn>>[] = []
for (const [register, list] of groups) tallies.push(await runOn(register, list))
const failed = rows.filter(({ ok }) => !ok).length + tallies.filter(({ isClean }) => !isClean).length
const summary = {
  ok: failed === 0,
  scenarios: rows.length,
  failed,
  skipped: skipped.map(({ name }) => name),
  registers: groups.map(([register]) => register),
  committed: tallies.reduce((sum, { committed }) => sum + committed, 0),
  receipts: tallies.reduce((sum, { receipts }) => sum + receipts.length, 0),
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
