/** The short form of each scenario, on one cluster; `./healthblock test chaos` is the long one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { etcdInstalled } from '../support/etcd.ts'
import { redisInstalled } from '../support/redis.ts'
import { FinalLog } from './final-log.ts'
import { Judge, runScenario } from './run.ts'
import { scenarios, scenariosByRegister } from './scenarios.ts'
import type { KeptReceipt } from './senders.ts'
import { World } from './world.ts'

const { groups } = scenariosByRegister(scenarios, etcdInstalled)

describe.skipIf(!redisInstalled).each(groups)(
  'a cluster of real processes under load, its head register in %s, survives (needs redis-server)',
  (register, list) => {
    let world: World
    let judge: Judge
    beforeAll(async () => {
      world = await World.start(register)
      judge = new Judge(world)
    }, 900_000)
    afterAll(() => world?.remove())

    test.each(list)(
      '$name: $what',
      async (scenario) => {
        const row = await runScenario(scenario, world, judge, 'short')
        expect(row.wrong).toEqual([])
        expect(row.committed).toBeGreaterThan(0)
      },
      900_000,
    )

    test('and in the end the whole ledger, replayed from nothing, is clean', { timeout: 900_000 }, async () => {
      expect(await judge.judge({ whole: true })).toEqual({ wrong: [], findings: 0 })
    })

    test('and what was lost would have been noticed: receipts that are exchanged, altered, or of a history that was rewritten', async () => {
      const log = await FinalLog.read(world.urls[0] as string)
      const [first, second] = world.tally.receipts as [KeptReceipt, KeptReceipt]
      const check = (of: FinalLog, ...receipts: KeptReceipt[]): string[] =>
        of.check(receipts, world.ledgerId, new WeakSet())
      expect(check(log, first, second)).toEqual([])
      expect(check(log, { ...first, bytes: second.bytes })).toHaveLength(1)
      expect(check(log, { ...first, index: second.index })).toHaveLength(1)
      const text = Buffer.from(first.bytes).toString()
      const altered = new Uint8Array(
        Buffer.from(text.replace(/"leaf":"(.)/, (_, found) => `"leaf":"${found === 'A' ? 'B' : 'A'}`)),
      )
      expect(check(log, { ...first, bytes: altered })).toHaveLength(1)
      // The leaf itself, and the root of every size beyond it.
      expect(check(log.rewritten(first.index), first)).toHaveLength(2)
      expect(check(log.rewritten(0), first)).toHaveLength(1)
    })
  },
)
