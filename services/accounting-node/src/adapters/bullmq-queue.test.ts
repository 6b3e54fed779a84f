import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { MemoryQueue } from '../../../../test/support/memory-queue.ts'
import { describeIntakeQueue, takeAll } from '../../../../test/support/queue-conformance.ts'
import { redisInstalled, startTestRedis, type TestRedis } from '../../../../test/support/redis.ts'
import { type BullQueue, openBullQueue } from './bullmq-queue.ts'

describe('the queue in memory that tests use', () => {
  describeIntakeQueue(async () => {
    const queue = new MemoryQueue()
    return { client: () => queue.port(), wipe: async () => queue.wipe() }
  })
})

describe.skipIf(!redisInstalled)('the queue in Redis (needs redis-server)', () => {
  let redis: TestRedis
  let opened: BullQueue[] = []
  let prefixes = 0
  beforeAll(async () => {
    redis = await startTestRedis()
  })
  afterEach(async () => {
    await Promise.all(opened.map((queue) => queue.close()))
    opened = []
  })
  afterAll(async () => {
    await redis.stop()
  })

  function client(prefix: string): BullQueue {
    const queue = openBullQueue({ chain: 'userchain', redisUrl: redis.url, prefix, onFault: () => {} })
    opened.push(queue)
    return queue
  }

  async function ready(queue: BullQueue): Promise<void> {
    for (;;) {
      try {
        return await queue.ping()
      } catch {
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
    }
  }

  it('tells how many jobs wait, also when another client took them', async () => {
    const prefix = `t${prefixes++}`
    const [adder, taker] = [client(prefix), client(prefix)]
    await ready(adder)
    for (const text of ['one', 'two']) await adder.add(new Uint8Array(Buffer.from(text)))
    await expect.poll(() => adder.depth(), { timeout: 30_000 }).toBe(2)
    expect(await takeAll(taker, 2)).toEqual(['one', 'two'])
    await expect.poll(() => adder.depth(), { timeout: 30_000 }).toBe(0)
  })

  describeIntakeQueue(async () => {
    const prefix = `t${prefixes++}`
    await ready(client(prefix))
    return { client: () => client(prefix), wipe: async () => redis.wipe() }
  })

  it('gives all that wait in their order, however many it asks for at one time, and no more than are wanted', async () => {
    const queue = client('order')
    await ready(queue)
    for (let i = 0; i < 21; i++) await queue.add(new Uint8Array([i]))
    const { signal } = new AbortController()
    const [first, second] = [await queue.take(16, signal), await queue.take(16, signal)]
    expect([first.length, second.length]).toEqual([16, 5])
    expect([...first, ...second].map(([number]) => number)).toEqual(Array.from({ length: 21 }, (_, i) => i))
  })

  it('keeps the queues of ledgers apart by their prefix', async () => {
    const [a, b] = [client('pa'), client('pb')]
    await Promise.all([ready(a), ready(b)])
    await a.add(new Uint8Array([1]))
    await b.add(new Uint8Array([2]))
    expect(await b.take(16, new AbortController().signal)).toEqual([new Uint8Array([2])])
    expect(await a.take(16, new AbortController().signal)).toEqual([new Uint8Array([1])])
  })

  it('says so while Redis is away, and goes on when it is back', async () => {
    const queue = client('away')
    await ready(queue)
    await redis.kill()
    await expect(queue.add(new Uint8Array([1]))).rejects.toMatchObject({ detail: { code: 'ERR_QUEUE_AWAY' } })
    const taking = takeAll(queue, 1)
    await redis.restart()
    await ready(queue)
    await queue.add(new Uint8Array(Buffer.from('back')))
    expect(await taking).toEqual(['back'])
  })

  it('leaves no job behind in Redis once it was read', async () => {
    const queue = client('clean')
    await ready(queue)
    for (let i = 0; i < 20; i++) await queue.add(new Uint8Array([i]))
    expect(redis.keys('clean:{userchain}-intake:[0-9]*')).toHaveLength(20)
    await takeAll(queue, 20)
    while (redis.keys('clean:{userchain}-intake:[0-9]*').length > 0) {
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
  })
})
