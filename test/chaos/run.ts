/** Runs scenarios on one world, and judges each: a clean audit, no receipt lost, every promise kept, and the time it took. */
import { setTimeout as delay } from 'node:timers/promises'
import { FinalLog } from './final-log.ts'
import type { Outcome, Scenario, Size } from './scenarios.ts'
import { type KeptReceipt, Senders } from './senders.ts'
import type { World } from './world.ts'

/** One line of the table. */
export interface Row {
  readonly name: string
  readonly ok: boolean
  readonly seconds: number
  /** From the end of the last fault until every node was ready at one head and everything promised was final. */
  readonly recoverySeconds: number
  readonly committed: number
  readonly receipts: number
  readonly findings: number
  readonly facts: Readonly<Record<string, number | string>>
  readonly wrong: readonly string[]
}

const loads: Readonly<Record<Size, { count: number; batch: number; pauseMs: number }>> = {
  short: { count: 4, batch: 4, pauseMs: 20 },
  quick: { count: 8, batch: 4, pauseMs: 10 },
  full: { count: 8, batch: 8, pauseMs: 10 },
}

function rounded(ms: number): number {
  return Math.round(ms / 100) / 10
}

/** Judges one world again and again; signatures of a receipt are verified once. */
export class Judge {
  readonly #world: World
  readonly #verified = new WeakSet<KeptReceipt>()

  constructor(world: World) {
    this.#world = world
  }

  /** Everything that is wrong with the ledger now, in words, and the audit's count. */
  async judge(options: { whole: boolean }): Promise<{ wrong: string[]; findings: number }> {
    const { tally, ledgerId, urls } = this.#world
    const report = await this.#world.audit(options)
    const wrong = report.findings.map(({ code, node, message }) => `finding ${code} (${node ?? 'all'}): ${message}`)
    const log = await FinalLog.read(urls[0] as string)
    wrong.push(...log.check(tally.receipts, ledgerId, this.#verified))
    if (new Set(tally.indices.values()).size !== tally.indices.size) wrong.push('two transactions have one index')
    wrong.push(...tally.wrong.splice(0))
    return { wrong, findings: report.findings.length }
  }
}

async function attempt(scenario: Scenario, world: World, size: Size): Promise<Outcome> {
  try {
    return await scenario.run(world, size)
  } catch (error) {
    return { facts: {}, wrong: [error instanceof Error ? error.message : String(error)] }
  }
}

/** Runs one scenario under load. */
export async function runScenario(scenario: Scenario, world: World, judge: Judge, size: Size): Promise<Row> {
  const { tally } = world
  const before = { committed: tally.committed, receipts: tally.receipts.length }
  const begunMs = performance.now()
  const senders = scenario.hasOwnLoad === true ? undefined : new Senders(world.senderOptions(), loads[size])
  if (senders !== undefined) await delay(300)
  const outcome = await attempt(scenario, world, size)
  const endedMs = outcome.endedMs ?? performance.now()
  await senders?.stop()
  const wrong = [...outcome.wrong]
  let findings = 0
  let recoveredMs = performance.now()
  try {
    await world.recovered()
    recoveredMs = performance.now()
    const judged = await judge.judge({ whole: false })
    wrong.push(...judged.wrong)
    findings = judged.findings
  } catch (error) {
    wrong.push(error instanceof Error ? error.message : String(error))
  }
  return {
    name: scenario.name,
    ok: wrong.length === 0,
    seconds: rounded(performance.now() - begunMs),
    recoverySeconds: rounded(recoveredMs - endedMs),
    committed: tally.committed - before.committed,
    receipts: tally.receipts.length - before.receipts,
    findings,
    facts: outcome.facts,
    wrong,
  }
}
