import type { Transaction } from '@healthblock/chain/transaction'
import { describe, expect, test } from 'vitest'
import { type Candidate, Candidates } from './candidates.ts'
import { inTurns } from './fair-queue.ts'

let count = 0

function some(sponsor: string, howMany: number, accounts = 1): Candidate[] {
  return Array.from({ length: howMany }, (_, i) => ({
    transaction: { leaf: new Uint8Array() } as unknown as Transaction,
    owner: { sponsor, account: `${sponsor}/${i % accounts}` },
    sinceMs: 0,
    number: count++,
  }))
}

/** Verification that ends when the test says so. */
function byHand() {
  const pieces: { readonly size: number; readonly end: () => void }[] = []
  const candidates = new Candidates({
    verify: (transactions) => new Promise<void>((end) => pieces.push({ size: transactions.length, end })),
    onReady: () => {},
  })
  const endOne = async (): Promise<number> => {
    const piece = pieces.shift()
    piece?.end()
    await new Promise((resolve) => setImmediate(resolve))
    return piece?.size ?? 0
  }
  return { candidates, pieces, endOne }
}

describe('candidates of a leader', () => {
  test('whoever asks for little is verified next, whatever others have sent before', async () => {
    const { candidates, endOne } = byHand()
    candidates.want(30)
    candidates.add(some('flood', 4_000, 1_000))
    const [honest] = some('clinic', 1)
    candidates.add([honest as Candidate])
    let verified = 0
    while (!candidates.take().some(({ owner }) => owner.sponsor === 'clinic')) verified += await endOne()
    expect(verified).toBeLessThan(100)
  })

  test('no more is verified ahead than the next block takes, and one of whoever has none there', async () => {
    const { candidates, pieces, endOne } = byHand()
    candidates.want(30)
    candidates.add(some('flood', 4_000))
    while (pieces.length > 0) await endOne()
    expect(candidates.readyCount).toBe(30)
    candidates.add(some('clinic', 10))
    while (pieces.length > 0) await endOne()
    expect(candidates.readyCount).toBe(31)
    expect(candidates.count).toBe(4_010)
  })

  test('what fits stays in the order in which it came', async () => {
    const { candidates, pieces, endOne } = byHand()
    const sent = [...some('a', 5), ...some('b', 5), ...some('a', 5), ...some('c', 5, 3)]
    candidates.add(sent)
    while (pieces.length > 0) await endOne()
    expect(candidates.take()).toEqual(sent)
    candidates.putBack(sent.slice(3))
    expect(candidates.take()).toEqual(sent.slice(3))
    expect([candidates.count, [...candidates.sponsors()]]).toEqual([0, []])
  })

  test('a leader that leaves gives everything back once, also what is being verified', async () => {
    const { candidates, pieces, endOne } = byHand()
    candidates.want(64)
    const sent = [...some('a', 300), ...some('b', 3)]
    candidates.add(sent)
    await endOne()
    expect(candidates.takeAll()).toEqual(sent)
    while (pieces.length > 0) await endOne()
    expect([candidates.count, candidates.takeAll()]).toEqual([0, []])
  })

  test('turns: one of each sponsor, of each sponsor one of each account, each account in order', () => {
    const flood = some('flood', 100, 10)
    const clinic = some('clinic', 2)
    const turns = inTurns([...flood, ...clinic])
    expect(turns.slice(0, 4).filter(({ owner }) => owner.sponsor === 'clinic')).toEqual(clinic)
    expect(new Set(turns.slice(4, 12).map(({ owner }) => owner.account)).size).toBe(8)
    const one = turns.filter(({ owner }) => owner.account === 'flood/3').map(({ number }) => number)
    expect(one).toEqual([...one].sort((a, b) => a - b))
  })
})
