import { expect, test } from 'vitest'
import { widthMs } from './paper.ts'
import { turnsOf } from './turns.ts'

test('a stretch is cut at each passage of the left edge', () => {
  expect(turnsOf({ fromMs: 25, toMs: 47, spanMs: 10 })).toEqual([
    { turnMs: 20, fromMs: 25, toMs: 30 },
    { turnMs: 30, fromMs: 30, toMs: 40 },
    { turnMs: 40, fromMs: 40, toMs: 47 },
  ])
  expect(turnsOf({ fromMs: 30, toMs: 30, spanMs: 10 })).toEqual([])
})

test('it comes to an end where the division of a whole number of turns gives less than that number', () => {
  let found = 0
  for (let width = 250; width < 300; width++) {
    const spanMs = widthMs(width, 2.5)
    for (let turn = Math.floor(1_795_800_000_000 / spanMs), last = turn + 200; turn < last; turn++) {
      const edgeMs = turn * spanMs
      if (Math.floor(edgeMs / spanMs) === turn) continue
      found++
      const parts = turnsOf({ fromMs: edgeMs - 5, toMs: edgeMs + 5, spanMs })
      expect(parts.map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual([
        [edgeMs - 5, edgeMs],
        [edgeMs, edgeMs + 5],
      ])
      // What is drawn next begins at the edge, and lies at the left of the paper or at its very right end.
      const [next] = turnsOf({ fromMs: edgeMs, toMs: edgeMs + 5, spanMs })
      expect(next).toEqual({ turnMs: edgeMs, fromMs: edgeMs, toMs: edgeMs + 5 })
    }
  }
  expect(found).toBeGreaterThan(50)
})
