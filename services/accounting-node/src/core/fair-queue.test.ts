import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FairQueue } from './fair-queue.ts'

interface Item {
  readonly owner: { readonly account: string; readonly sponsor: string }
  readonly number: number
}

const everybody = (): boolean => true

function drain(queue: FairQueue<Item>): Item[] {
  const taken: Item[] = []
  for (let item = queue.take(everybody); item !== undefined; item = queue.take(everybody)) taken.push(item)
  return taken
}

describe('a fair queue', () => {
  test('serves a newcomer next, whatever others have put there before', () => {
    const queue = new FairQueue<Item>()
    for (let number = 0; number < 1_000; number++) {
      queue.add({ owner: { account: `sybil${number % 100}`, sponsor: 'flood' }, number })
    }
    queue.take(everybody)
    queue.add({ owner: { account: 'patient', sponsor: 'clinic' }, number: -1 })
    const next = [queue.take(everybody), queue.take(everybody)].map((item) => item?.owner.account)
    expect(next).toContain('patient')
  })

  test('serves another account of the same sponsor within one turn of all', () => {
    const queue = new FairQueue<Item>()
    for (let number = 0; number < 1_000; number++) queue.add({ owner: { account: 'flood', sponsor: 'clinic' }, number })
    queue.add({ owner: { account: 'patient', sponsor: 'clinic' }, number: -1 })
    const next = [queue.take(everybody), queue.take(everybody)].map((item) => item?.owner.account)
    expect(next).toContain('patient')
  })

  test('passes over a sponsor that may not be served, and keeps its place', () => {
    const queue = new FairQueue<Item>()
    queue.add({ owner: { account: 'a', sponsor: 's' }, number: 1 })
    queue.add({ owner: { account: 'b', sponsor: 't' }, number: 2 })
    expect(queue.take((sponsor) => sponsor === 't')?.number).toBe(2)
    expect(queue.take((sponsor) => sponsor === 't')).toBeUndefined()
    expect(queue.take(everybody)?.number).toBe(1)
    expect([queue.count, queue.sponsorCount]).toEqual([0, 0])
  })

  test('gives everything back once, each account in its order', () => {
    const owner = fc.record({ account: fc.constantFrom('a', 'b', 'c'), sponsor: fc.constantFrom('s', 't') })
    fc.assert(
      fc.property(fc.array(owner), (owners) => {
        const queue = new FairQueue<Item>()
        for (const [number, one] of owners.entries()) queue.add({ owner: one, number })
        const taken = drain(queue)
        expect(taken.map(({ number }) => number).sort((a, b) => a - b)).toEqual(owners.map((_, number) => number))
        for (const line of Map.groupBy(taken, ({ owner }) => `${owner.sponsor}${owner.account}`).values()) {
          const numbers = line.map(({ number }) => number)
          expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
        }
      }),
    )
  })
})
