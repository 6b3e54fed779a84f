import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { columnsOf, drawTrace, sampleIndexAt } from './columns.ts'
import { type EcgSegment, endMsOf, millivoltsAt, millivoltsOf, sampleMissing } from './signal.ts'

const startMs = 1_700_000_000_000

function segmentOf(samples: number[], options: Partial<EcgSegment> = {}): EcgSegment {
  return { startMs, rateHz: 250, samples: Int16Array.from(samples), unit: 'mv', gain: 200, ...options }
}

/** Writes down what a pen does. */
class Notes {
  readonly steps: [string, number, number][] = []
  moveTo(x: number, y: number): void {
    this.steps.push(['move', x, y])
  }
  lineTo(x: number, y: number): void {
    this.steps.push(['line', x, y])
  }
}

describe('samples', () => {
  test('are millivolts by gain, baseline and unit', () => {
    expect(millivoltsOf(segmentOf([1224], { baseline: 1024 }), 0)).toBe(1)
    expect(millivoltsOf(segmentOf([1500], { unit: 'uv', gain: 1 }), 0)).toBe(1.5)
    expect(millivoltsOf({ startMs, rateHz: 1, samples: Float32Array.of(-0.5), unit: 'mv' }, 0)).toBe(-0.5)
  })

  test('that are missing, or beyond the end, are no numbers', () => {
    expect(millivoltsOf(segmentOf([sampleMissing]), 0)).toBeNaN()
    expect(millivoltsOf({ startMs, rateHz: 1, samples: Float32Array.of(Number.NaN), unit: 'mv' }, 0)).toBeNaN()
    expect(millivoltsOf(segmentOf([0]), 1)).toBeNaN()
    // The mark belongs to whole numbers alone.
    expect(millivoltsOf({ startMs, rateHz: 1, samples: Float32Array.of(-32768), unit: 'mv' }, 0)).toBe(-32768)
  })

  test('last until the next one', () => {
    const lead = { name: 'ii', segments: [segmentOf([200, 400])] }
    expect(millivoltsAt(lead, startMs + 3.9)).toBe(1)
    expect(millivoltsAt(lead, startMs + 4)).toBe(2)
    expect(millivoltsAt(lead, startMs + 8)).toBeNaN()
    expect(millivoltsAt(lead, startMs - 0.1)).toBeNaN()
    expect(endMsOf(lead.segments[0] as EcgSegment)).toBe(startMs + 8)
  })

  test('are found by their moment', () => {
    const segment = segmentOf(
      Array.from({ length: 100 }, (_, index) => index),
      { rateHz: 360 },
    )
    for (let index = 0; index < 100; index++) expect(sampleIndexAt(segment, startMs + (index * 1000) / 360)).toBe(index)
    expect(sampleIndexAt(segment, startMs + 1)).toBe(1)
    expect(sampleIndexAt(segment, startMs - 1)).toBe(0)
    expect(sampleIndexAt(segment, startMs + 10_000)).toBe(100)
  })
})

describe('columns', () => {
  test('keep first, least, greatest and last of their samples', () => {
    const lead = { name: 'ii', segments: [segmentOf([0, 800, -400, 200, 100, 100, sampleMissing, 300])] }
    const columns = columnsOf(lead, { fromMs: startMs, msPerColumn: 16, count: 3 })
    expect([...columns.first]).toEqual([0, 0.5, Number.NaN])
    expect([...columns.min]).toEqual([-2, 0.5, Number.NaN])
    expect([...columns.max]).toEqual([4, 1.5, Number.NaN])
    expect([...columns.last]).toEqual([1, 1.5, Number.NaN])
  })

  test('of any width and any beginning lose no peak and make none up', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -2000, max: 2000 }), { minLength: 1, maxLength: 400 }),
        fc.constantFrom(100, 128, 250, 360, 1000),
        fc.double({ min: 0.5, max: 300, noNaN: true }),
        fc.integer({ min: -500, max: 500 }),
        (samples, rateHz, msPerColumn, shiftMs) => {
          const segment = segmentOf(samples, { rateHz })
          const fromMs = startMs + shiftMs
          const count = Math.ceil((endMsOf(segment) - fromMs) / msPerColumn) + 1
          if (count < 1) return
          const { min, max, first, last } = columnsOf(
            { name: 'i', segments: [segment] },
            { fromMs, msPerColumn, count },
          )
          const shown = samples.slice(sampleIndexAt(segment, fromMs)).map((sample) => Math.fround(sample / 200))
          const finite = (values: Float32Array): number[] => [...values].filter((value) => !Number.isNaN(value))
          if (shown.length === 0) {
            expect(finite(max)).toEqual([])
            return
          }
          expect(Math.max(...finite(max))).toBe(Math.max(...shown))
          expect(Math.min(...finite(min))).toBe(Math.min(...shown))
          expect(finite(first)[0]).toBe(shown[0])
          expect(finite(last).at(-1)).toBe(shown.at(-1))
        },
      ),
    )
  })

  test('of a view beside the samples are empty', () => {
    const lead = { name: 'ii', segments: [segmentOf([1, 2, 3])] }
    const { max } = columnsOf(lead, { fromMs: startMs + 1_000, msPerColumn: 4, count: 5 })
    expect([...max].every(Number.isNaN)).toBe(true)
  })
})

describe('a trace', () => {
  const view = { fromMs: startMs, toMs: startMs + 1_000, xPerMs: 0.1, x0: 10, yPerMillivolt: 40, y0: 100 }

  test('has each sample at its moment and its height', () => {
    const notes = new Notes()
    drawTrace({ name: 'ii', segments: [segmentOf([0, 200, -200])] }, { ...view, xPerMs: 1 }, notes)
    expect(notes.steps).toEqual([
      ['move', 10, 100],
      ['line', 14, 60],
      ['line', 18, 140],
    ])
  })

  test('breaks at a missing sample and at a hole, not where records touch', () => {
    const missing = new Notes()
    drawTrace({ name: 'ii', segments: [segmentOf([0, sampleMissing, 0, 0])] }, { ...view, xPerMs: 1 }, missing)
    expect(missing.steps.map(([step]) => step)).toEqual(['move', 'move', 'line'])
    const touching = new Notes()
    const second = segmentOf([0, 0], { startMs: startMs + 9 })
    drawTrace({ name: 'ii', segments: [segmentOf([0, 0]), second] }, { ...view, xPerMs: 1 }, touching)
    expect(touching.steps.map(([step]) => step)).toEqual(['move', 'line', 'line', 'line'])
    const apart = new Notes()
    const later = segmentOf([0, 0], { startMs: startMs + 40 })
    drawTrace({ name: 'ii', segments: [segmentOf([0, 0]), later] }, { ...view, xPerMs: 1 }, apart)
    expect(apart.steps.map(([step]) => step)).toEqual(['move', 'line', 'move', 'line'])
  })

  test('from afar is drawn by columns: as many points as pixels, however many samples', () => {
    const samples = Array.from({ length: 25_000 }, (_, index) => (index === 12_345 ? 1_000 : 0))
    const notes = new Notes()
    const far = { ...view, toMs: startMs + 100_000, xPerMs: 0.01 }
    drawTrace({ name: 'ii', segments: [segmentOf(samples)] }, far, notes)
    expect(notes.steps.length).toBeLessThanOrEqual(4 * 1_000)
    expect(Math.min(...notes.steps.map(([, , y]) => y))).toBe(100 - 5 * 40)
  })
})
