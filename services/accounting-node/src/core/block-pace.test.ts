import { describe, expect, test } from 'vitest'
import { BlockPace } from './block-pace.ts'

/** A leader that always has more than fits, on nodes whose blocks take `blockMs` and `eachMs` a transaction. */
function busy(
  blockMs: number,
  eachMs: number,
  wantedMs: number,
  pace = new BlockPace(),
): { ms: number; perMs: number } {
  let [ms, count] = [0, 0]
  for (let block = 0; block < 200; block++) {
    count = Math.min(4_096, Math.max(64, pace.countIn(wantedMs, 2)))
    // No two blocks take exactly as long.
    ms = blockMs + eachMs * count + ((block * 7) % 5)
    pace.measure(count, ms)
  }
  return { ms, perMs: count / ms }
}

describe('the pace of blocks', () => {
  test.each([
    [14, 0.37, 75],
    [14, 0.37, 300],
    [3, 0.11, 75],
    [20, 0.5, 300],
  ])('a block by itself %d ms, a transaction %d ms: decided in about %d ms', (blockMs, eachMs, wantedMs) => {
    const { ms } = busy(blockMs, eachMs, wantedMs)
    expect(ms).toBeGreaterThan(wantedMs * 0.6)
    expect(ms).toBeLessThan(wantedMs * 1.5)
  })

  test('nodes whose blocks take longer than is wanted still order about half of what they could', () => {
    const { perMs } = busy(150, 0.5, 75)
    expect(perMs).toBeGreaterThan(0.4 / 0.5)
  })

  test('small blocks say what a block takes by itself', () => {
    const pace = new BlockPace()
    for (let block = 0; block < 100; block++) pace.measure(1 + (block % 20), 20 + (block % 20) * 0.4)
    expect(pace.countIn(100, 2)).toBeGreaterThan(100)
    expect(pace.countIn(100, 2)).toBeLessThan(400)
  })

  test('a block that something else held up does not make those after it large', () => {
    const pace = new BlockPace()
    const sizeOf = (block: number): number => (block % 3 === 2 ? 3 : 12)
    for (let block = 0; block < 60; block++) pace.measure(sizeOf(block), 6 + 0.5 * sizeOf(block) + (block % 2) / 4)
    const before = pace.countIn(0, 1.8)
    pace.measure(3, 110)
    expect(before).toBeGreaterThan(5)
    expect(pace.countIn(0, 1.8)).toBeLessThan(before * 2)
  })

  test('follows nodes that become slower', () => {
    const pace = new BlockPace()
    busy(14, 0.2, 75, pace)
    const { ms } = busy(14, 1.5, 75, pace)
    expect(ms).toBeLessThan(75 * 2)
  })
})
