import { describe, expect, test } from 'vitest'
import {
  heightLines,
  lineStarts,
  nextStep,
  paperGains,
  paperSpeeds,
  pixelsPerMillivolt,
  pixelsPerMm,
  pixelsPerMs,
  timeLines,
  widthMs,
} from './paper.ts'

describe('the paper', () => {
  test('has 25 mm a second and 10 mm a millivolt in the millimetres of CSS', () => {
    expect(pixelsPerMs(25) * 1000).toBeCloseTo(25 * (96 / 25.4), 10)
    expect(pixelsPerMillivolt(10)).toBeCloseTo(37.795, 3)
    expect(widthMs(96, 25)).toBeCloseTo(1016, 10)
  })

  test('has a strong line each 200 ms at the usual speed, wherever one scrolls to', () => {
    for (const fromMs of [0, 1_700_000_000_000, 1_700_000_000_123, 1_700_000_000_199]) {
      const { major, minor } = timeLines({ fromMs, widthPx: 400, speed: 25 })
      for (const x of major) expect(Math.abs(((fromMs + x / pixelsPerMs(25) + 1) % 200) - 1)).toBeLessThan(0.01)
      expect(major.length + minor.length).toBeCloseTo(400 / pixelsPerMm, -1)
      expect((major[1] as number) - (major[0] as number)).toBeCloseTo(5 * pixelsPerMm, 3)
    }
  })

  test('has its strong horizontal lines from where 0 mV lies', () => {
    const { major, minor } = heightLines(200, 100)
    expect(major).toContain(100)
    expect(major).toContainEqual(expect.closeTo(100 - 5 * pixelsPerMm, 6))
    expect(minor.length).toBeGreaterThan(3 * major.length)
  })

  test('is printed in as many lines as show all that is seen, and at least one', () => {
    const widthPx = 162 * pixelsPerMm
    expect(lineStarts({ fromMs: 1_000, toMs: 1_000 + 6_480, speed: 25, widthPx })).toEqual([1_000])
    expect(lineStarts({ fromMs: 0, toMs: 12_000, speed: 25, widthPx })).toEqual([0, expect.closeTo(6_480, 6)])
    expect(lineStarts({ fromMs: 0, toMs: 20_000, speed: 25, widthPx })).toHaveLength(4)
    expect(lineStarts({ fromMs: 0, toMs: 64_800, speed: 2.5, widthPx })).toEqual([0])
    expect(lineStarts({ fromMs: 7, toMs: 7, speed: 25, widthPx })).toEqual([7])
  })

  test('goes step by step and stops at the ends', () => {
    expect(nextStep(paperSpeeds, 25, 1)).toBe(50)
    expect(nextStep(paperSpeeds, 100, 1)).toBe(100)
    expect(nextStep(paperGains, 5, -1)).toBe(5)
  })
})
