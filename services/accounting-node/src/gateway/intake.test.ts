import { describe, expect, test } from 'vitest'
import type { Flight } from './flight-window.ts'
import { IntakeBatcher, type Waiting } from './intake.ts'

interface Item extends Waiting {
  readonly name: string
}

function item(sponsor: string, name: string): Item {
  const owner: Flight = { account: name, sponsor, flyingMs: undefined }
  return { leaf: new Uint8Array(100), owner, name }
}

/** A batcher on a clock that goes on whenever the batcher waits. */
function openBatcher() {
  const sent: { name: string; atMs: number }[] = []
  let nowMs = 0
  const batcher = new IntakeBatcher<Item>({
    submit: async (batch) => {
      for (const { name } of batch) sent.push({ name, atMs: nowMs })
    },
    onSent: () => {},
    onFailed: () => {},
    nowMs: () => nowMs,
    wait: (ms) => {
      nowMs += ms
      return new Promise<void>((resolve) => setImmediate(resolve))
    },
  })
  return { batcher, sent, settled: () => expect.poll(() => batcher.count).toBe(0) }
}

describe('the way to the queue', () => {
  test('is open again soon after it was filled with what no block takes', async () => {
    const { batcher, sent, settled } = openBatcher()
    // More than may be under way, of many sponsors, so that turns are taken; none of it ever lands.
    const lacking = Array.from({ length: 4_000 }, (_, i) => item(`s${i % 40}`, `lacking ${i}`))
    batcher.add(lacking)
    await expect.poll(() => sent.length).toBeGreaterThanOrEqual(1_000)
    const fromMs = sent[sent.length - 1]?.atMs ?? 0
    batcher.add([item('honest', 'honest')])
    await settled()
    const honest = sent.find(({ name }) => name === 'honest')
    expect((honest?.atMs ?? Number.POSITIVE_INFINITY) - fromMs).toBeLessThanOrEqual(2_500)
    await batcher.stop()
  })
})
