import { expect, test } from 'vitest'
import { Irregularity } from './irregularity.ts'

/** Pseudo-random numbers from 0 to 1, the same in each run. */
function* chances(): Generator<number> {
  let state = 7
  for (;;) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    yield state / 0x7fffffff
  }
}
const chance = chances()
const random = () => chance.next().value as number

/** Five hundred intervals of fibrillation about 700 ms, without memory. */
const fibrillation = () => Array.from({ length: 500 }, () => Math.round(450 + 500 * random()))
/** Intervals of groups of five beats, each a few milliseconds off, as with Wenckebach's block. */
const groups = (count: number) =>
  Array.from({ length: count }, () => [364, 704, 604, 592, 516].map((ms) => ms + Math.round(8 * random()))).flat()
const regular = (count: number) => Array.from({ length: count }, () => 790 + Math.round(20 * random()))

/** Share of the intervals from the hundredth on that count as fibrillation. */
function shareOf(intervals: readonly number[]): number {
  const irregularity = new Irregularity()
  const told = intervals.map((ms) => {
    irregularity.push(ms)
    return irregularity.isAf
  })
  return told.slice(100).filter(Boolean).length / (told.length - 100)
}

test('fibrillation is told, and beats in groups, though as uneven, are none', () => {
  expect(shareOf(fibrillation())).toBeGreaterThan(0.95)
  expect(shareOf(groups(120))).toBe(0)
})

test('groups in which every third lacks a beat are none either', () => {
  const uneven = Array.from({ length: 60 }, () => [...groups(2), ...groups(1).slice(0, 4)]).flat()
  expect(shareOf(uneven)).toBeLessThan(0.05)
})

test('what is known of the last intervals is nothing until there are nine, and then at once', () => {
  const irregularity = new Irregularity()
  const shares = regular(12).map((ms) => {
    irregularity.push(ms)
    return irregularity.shareNow
  })
  expect(shares).toEqual([...Array(8).fill(undefined), 0, 0, 0, 0])
})

test('fibrillation behind beats in groups is told within a hundred and twenty beats', () => {
  const irregularity = new Irregularity()
  for (const ms of groups(100)) irregularity.push(ms)
  const beats = fibrillation().findIndex((ms) => {
    irregularity.push(ms)
    return irregularity.isAf
  })
  expect(beats).toBeGreaterThan(0)
  expect(beats).toBeLessThan(120)
})

test('a rhythm that has become regular ends it within thirty beats', () => {
  const irregularity = new Irregularity()
  for (const ms of fibrillation()) irregularity.push(ms)
  expect(irregularity.isAf).toBe(true)
  const beats = regular(60).findIndex((ms) => {
    irregularity.push(ms)
    return !irregularity.isAf
  })
  expect(beats).toBeGreaterThan(0)
  expect(beats).toBeLessThan(30)
})
