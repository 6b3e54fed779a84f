import { describe, expect, test } from 'vitest'
import type { Candidate } from './candidates.ts'
import { Carried, carriedOfSponsorMax, carryMs } from './carried.ts'

function candidate(sponsor: string, account: string, number: number, sinceMs = 0): Candidate {
  return { transaction: {} as Candidate['transaction'], owner: { sponsor, account }, sinceMs, number }
}

function lacking(sponsor: string, count: number): Candidate[] {
  return Array.from({ length: count }, (_, number) => candidate(sponsor, `${sponsor}${number % 100}`, number))
}

describe('what lacks something', () => {
  test('is tried with the next block, no more of it than wanted, and all of it in turns', () => {
    const carried = new Carried()
    carried.add(lacking('flood', 1_000))
    const tried = new Set<Candidate>()
    for (let height = 1; height <= 10; height++) {
      const taken = carried.take(100, { height, nowMs: 10 * height })
      expect(taken).toHaveLength(100)
      for (const one of taken) tried.add(one)
      carried.add(taken)
    }
    expect(tried.size).toBe(1_000)
  })

  test('is not tried again before a block came, or some time went by', () => {
    const carried = new Carried()
    carried.add(lacking('a', 10))
    carried.add(carried.take(64, { height: 1, nowMs: 0 }))
    expect(carried.take(64, { height: 1, nowMs: 100 })).toHaveLength(0)
    expect(carried.take(64, { height: 2, nowMs: 101 })).toHaveLength(10)
    carried.add(lacking('a', 10))
    expect(carried.take(64, { height: 2, nowMs: 400 })).toHaveLength(10)
  })

  test('of one sponsor leaves turns and room for another', () => {
    const carried = new Carried()
    carried.add(lacking('flood', 20_000))
    expect(carried.count).toBe(carriedOfSponsorMax)
    carried.add([candidate('clinic', 'patient', 0)])
    const taken = carried.take(64, { height: 1, nowMs: 0 })
    expect(taken.map(({ owner }) => owner.account)).toContain('patient')
  })

  test('stays in the order of its account, and not for long', () => {
    const carried = new Carried()
    carried.add([candidate('a', 'x', 1, 0), candidate('a', 'x', 2, 1_000), candidate('a', 'x', 3, 1_000)])
    const taken = carried.take(64, { height: 1, nowMs: carryMs })
    expect(taken.map(({ number }) => number)).toEqual([2, 3])
    expect(carried.count).toBe(0)
  })
})
