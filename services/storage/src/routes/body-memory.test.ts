import { expect, test } from 'vitest'
import { BodyMemory } from './body-memory.ts'

test('memory that was given back is lent again, for a body of another length too', () => {
  const memory = new BodyMemory()
  const first = memory.take(1_000_000)
  memory.giveBack(first)
  const second = memory.take(1_000_001)
  expect(second.buffer).toBe(first.buffer)
  expect(second).toHaveLength(1_000_001)
  memory.close()
})

test('memory is never lent twice at once, nor in another size', () => {
  const memory = new BodyMemory()
  const lent = [memory.take(70_000), memory.take(70_000), memory.take(1_000_000)]
  expect(new Set(lent.map(({ buffer }) => buffer)).size).toBe(3)
  for (const buffer of lent) memory.giveBack(buffer)
  const again = [memory.take(70_000), memory.take(70_000), memory.take(70_000)]
  expect(new Set(again.map(({ buffer }) => buffer)).size).toBe(3)
  expect(again.every(({ buffer }) => buffer !== lent[2]?.buffer)).toBe(true)
  memory.close()
})

test('no more than 32 MiB wait, and nothing that came from elsewhere', () => {
  const memory = new BodyMemory()
  const lent = Array.from({ length: 40 }, () => memory.take(1024 * 1024))
  for (const buffer of lent) memory.giveBack(buffer)
  memory.giveBack(Buffer.alloc(1024 * 1024))
  const known = new Set(lent.map(({ buffer }) => buffer))
  const again = Array.from({ length: 40 }, () => memory.take(1024 * 1024))
  expect(again.filter(({ buffer }) => known.has(buffer))).toHaveLength(32)
  memory.close()
  for (const buffer of again) memory.giveBack(buffer)
  expect(known.has(memory.take(1024 * 1024).buffer)).toBe(false)
})

test('what nobody asks for goes', (context) => {
  const memory = new BodyMemory({ sweepMs: 5 })
  const lent = memory.take(1024 * 1024)
  memory.giveBack(lent)
  context.onTestFinished(() => memory.close())
  return expect.poll(() => memory.spareBytes, { timeout: 10_000 }).toBe(0)
})

test('much that goes at once is told, so that threads look for it; a little is not, and what is lent does not go', async () => {
  const told: number[] = []
  const memory: BodyMemory = new BodyMemory({ sweepMs: 5, onFreed: () => told.push(memory.spareBytes) })
  try {
    const lent = Array.from({ length: 9 }, () => memory.take(1024 * 1024))
    memory.giveBack(lent[0] as Buffer)
    await expect.poll(() => memory.spareBytes, { timeout: 10_000 }).toBe(0)
    expect(told).toEqual([])
    for (const buffer of lent.slice(1)) memory.giveBack(buffer)
    await expect.poll(() => memory.spareBytes, { timeout: 10_000 }).toBe(0)
    expect(told).toEqual([0])
  } finally {
    memory.close()
  }
})
