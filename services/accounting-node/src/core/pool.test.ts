import type { Transaction } from '@healthblock/chain/transaction'
import { encodeU64 } from '@healthblock/encoding/bytes'
import { beforeEach, describe, expect, it } from 'vitest'
import { Pool } from './pool.ts'

let numbers = 0
let pool: Pool

/** As much of a transaction as a pool looks at; its id is its number. */
function transactions(count: number, sizeBytes = 100): Transaction[] {
  return Array.from({ length: count }, () => {
    const leaf = new Uint8Array(sizeBytes)
    leaf.set(encodeU64(numbers++))
    return { leaf } as Transaction
  })
}

beforeEach(() => {
  pool = new Pool(({ leaf }) => ({ id: leaf.subarray(0, 8), committed: false }))
})

const few = { freshMax: 4, lackingMax: 4 } as const
const from = (rank: number) => ({ rank, count: 4, isVerified: rank === 0 })

describe('a pool', () => {
  it('gives each node its part, by number', () => {
    expect(pool.add(transactions(70_000), 0, from(3))).toHaveLength(16_384)
    expect(pool.add(transactions(1), 0, from(3))).toHaveLength(0)
    const [own] = pool.add(transactions(1), 0, from(0))
    expect(own).toBeDefined()
    expect(pool.count()).toBe(16_385)
  })

  it('gives each node its part, by bytes', () => {
    const large = transactions(1_100, 65_000)
    const fresh = pool.add(large, 0, from(3))
    expect(fresh).toHaveLength(Math.floor((64 * 1024 * 1024) / 65_000))
    expect(pool.add(transactions(1, 65_000), 0, from(2))).toHaveLength(1)
    // What is forgotten makes room again.
    pool.remove((fresh[0] as Transaction).leaf.subarray(0, 8))
    pool.remove((fresh[0] as Transaction).leaf.subarray(0, 8))
    expect(pool.add(transactions(2, 65_000), 0, from(3))).toHaveLength(1)
    pool.expire(1_000_000)
    expect(pool.count()).toBe(0)
    expect(pool.add(large, 0, from(3))).toHaveLength(fresh.length)
  })

  it('takes what its own gateway verified for what a peer told of under the same id', () => {
    const [good] = transactions(1) as [Transaction]
    const forged = { leaf: good.leaf.slice() } as Transaction
    forged.leaf[50] = 1
    pool.add([forged], 0, from(3))
    expect(pool.add([good], 0, from(2))).toEqual([])
    expect(pool.add([good], 0, from(0))).toEqual([good])
    expect(pool.add([forged], 0, from(3))).toEqual([])
    pool.drop(forged)
    expect(pool.toJudge(0, few).map(({ transaction }) => transaction)).toEqual([good])
    pool.drop(good)
    expect(pool.count()).toBe(0)
  })

  it('shows what lacks something in turns, besides what nobody judged', () => {
    pool.add(transactions(10), 0, from(0))
    const first = pool.toJudge(0, few)
    expect(first).toHaveLength(4)
    for (const entry of first) pool.lacks(entry)
    const second = pool.toJudge(0, few)
    expect(second).toHaveLength(8)
    expect(second.slice(4)).toEqual(first)
    for (const entry of second) pool.lacks(entry)
    // Whoever was judged longest ago comes first.
    const third = pool.toJudge(0, few)
    expect(third).toHaveLength(6)
    expect(third.slice(2)).toEqual(second.slice(0, 4))
    expect(pool.toJudge(-1, few)).toEqual([])
  })

  it('shows only what is wanted, and nothing that it has forgotten', () => {
    pool.add(transactions(100), 0, from(0))
    const all = pool.toJudge(0, { freshMax: 100, lackingMax: 0 })
    for (const entry of all.slice(0, 98)) pool.lacks(entry)
    const [wanted] = all.slice(99)
    expect(pool.toJudge(0, few, (entry) => entry === wanted)).toEqual([wanted])
    const [forgotten] = all
    pool.drop((forgotten as (typeof all)[number]).transaction)
    pool.lacks(forgotten as (typeof all)[number])
    expect(pool.toJudge(0, { freshMax: 100, lackingMax: 200 })).toHaveLength(99)
  })
})
