/** What every intake queue must do. Each implementation's test calls `describeIntakeQueue`. */
import { expect, it } from 'vitest'
import type { IntakeQueue } from '../../services/accounting-node/src/core/ports.ts'

const job = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const texts = (jobs: readonly Uint8Array[]): string[] => jobs.map((bytes) => Buffer.from(bytes).toString())

/** Takes until `count` jobs came. */
export async function takeAll(queue: IntakeQueue, count: number, max = 16): Promise<string[]> {
  const taken: string[] = []
  const never = new AbortController().signal
  while (taken.length < count) taken.push(...texts(await queue.take(max, never)))
  return taken
}

/** A queue under test: clients of one empty queue, and its loss. */
export interface QueueUnderTest {
  client(): IntakeQueue
  wipe(): Promise<void>
}

/** Declares the tests; `open` is called for each with an empty queue. */
export function describeIntakeQueue(open: () => Promise<QueueUnderTest>): void {
  it('gives jobs in the order in which they were added, to another client too', async () => {
    const { client } = await open()
    const [adder, taker] = [client(), client()]
    for (let i = 0; i < 40; i++) await adder.add(job(`${i}`))
    expect(await takeAll(taker, 40)).toEqual(Array.from({ length: 40 }, (_, i) => `${i}`))
  })

  it('gives at most as many as asked for', async () => {
    const { client } = await open()
    const queue = client()
    for (let i = 0; i < 10; i++) await queue.add(job(`${i}`))
    expect(texts(await queue.take(4, new AbortController().signal))).toEqual(['0', '1', '2', '3'])
    expect(await takeAll(queue, 6, 4)).toEqual(['4', '5', '6', '7', '8', '9'])
  })

  it('waits for a job, and gives it as soon as it is there', async () => {
    const { client } = await open()
    const taking = client().take(16, new AbortController().signal)
    await client().add(job('late'))
    expect(texts(await taking)).toEqual(['late'])
  })

  it('gives none when it is told to stop, and later goes on', async () => {
    const { client } = await open()
    const queue = client()
    const stop = new AbortController()
    const taking = queue.take(16, stop.signal)
    stop.abort()
    expect(await taking).toEqual([])
    expect(await queue.take(16, stop.signal)).toEqual([])
    await queue.add(job('after'))
    expect(await takeAll(queue, 1)).toEqual(['after'])
  })

  it('goes on after everything was wiped', async () => {
    const { client, wipe } = await open()
    const queue = client()
    await queue.add(job('lost'))
    await wipe()
    const taking = queue.take(16, new AbortController().signal)
    await queue.add(job('kept'))
    expect(texts(await taking)).toEqual(['kept'])
  })

  it('carries any bytes, up to a full micro-batch', async () => {
    const { client } = await open()
    const queue = client()
    const large = Uint8Array.from({ length: 300_000 }, (_, i) => i)
    await queue.add(large)
    const [taken] = await queue.take(1, new AbortController().signal)
    expect(Buffer.compare(taken as Uint8Array, large)).toBe(0)
  })
}
