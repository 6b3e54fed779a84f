import { describe, expect, test } from 'vitest'
import { Playhead } from './playhead.ts'

const frameMs = 1000 / 60

/** Plays for a while; samples of the last period arrive together at its end. */
function play(seconds: number, periodMs: number): { steps: number[]; jumps: number; lagMs: number } {
  const head = new Playhead()
  const steps: number[] = []
  let jumps = 0
  let newestMs = 0
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += frameMs) {
    if (nowMs - newestMs >= periodMs) {
      newestMs += periodMs
      head.arrive(1_700_000_000_000 + newestMs)
    }
    const before = head.atMs
    if (head.advance(frameMs)) jumps++
    else if (before !== undefined && head.atMs !== undefined) steps.push(head.atMs - before)
  }
  return { steps, jumps, lagMs: 1_700_000_000_000 + newestMs - (head.atMs as number) }
}

describe('the playhead', () => {
  test.each([1_000, 2_000, 10_000, 60_000])('moves evenly while samples of %i ms come together', (periodMs) => {
    const { steps, jumps, lagMs } = play(30 * (periodMs / 1_000), periodMs)
    const settled = steps.slice(steps.length / 2)
    expect(jumps).toBeLessThanOrEqual(2)
    expect(Math.min(...settled)).toBeGreaterThan(frameMs * 0.94)
    expect(Math.max(...settled)).toBeLessThan(frameMs * 1.11)
    expect(lagMs).toBeLessThan(2 * periodMs + 1_000)
  })

  test('stands still when nothing comes, and never shows what is not there', () => {
    const head = new Playhead()
    head.arrive(1_700_000_000_000)
    for (let frame = 0; frame < 600; frame++) head.advance(frameMs)
    expect(head.atMs).toBe(1_700_000_000_000)
  })

  test('jumps over what came while nobody looked', () => {
    const head = new Playhead()
    head.arrive(1_700_000_000_000)
    head.advance(frameMs)
    head.arrive(1_700_000_001_000)
    head.advance(frameMs)
    head.arrive(1_700_000_600_000)
    expect(head.advance(frameMs)).toBe(true)
    expect(1_700_000_600_000 - (head.atMs as number)).toBeLessThan(5_000)
  })

  test('is nowhere before the first sample', () => {
    const head = new Playhead()
    expect(head.advance(frameMs)).toBe(false)
    expect(head.atMs).toBeUndefined()
  })
})

test('the first bunch lasts until the second, however long they are', () => {
  const playhead = new Playhead()
  playhead.arrive(100_000, 10_000)
  playhead.advance(16)
  expect(playhead.atMs).toBe(89_500)
  for (let passedMs = 0; passedMs < 10_000; passedMs += 125) playhead.advance(125)
  playhead.arrive(110_000, 10_000)
  const before = playhead.atMs as number
  playhead.advance(125)
  expect((playhead.atMs as number) - before).toBe(125)
})

test('where it will be is where it comes to, and not past the newest sample', () => {
  const playhead = new Playhead()
  expect(playhead.within(100)).toBeUndefined()
  playhead.arrive(10_000)
  playhead.advance(16)
  const planned = playhead.within(250)
  playhead.advance(250)
  expect(playhead.atMs).toBe(planned?.atMs)
  expect(playhead.within(60_000)).toEqual({ atMs: 10_000, movesMs: expect.closeTo(10_000 - (playhead.atMs ?? 0), 6) })
})
