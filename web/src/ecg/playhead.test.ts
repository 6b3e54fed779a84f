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
