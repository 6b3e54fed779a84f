import { describe, expect, test } from 'vitest'
import { Rest } from './rest.ts'

function looks(parts: readonly number[]): number {
  let collected = 0
  let next = 0
  const rest = new Rest({ busyPart: () => parts[next++] as number, collect: () => collected++ })
  for (const _part of parts) rest.look()
  return collected
}

describe('a node at rest', () => {
  test('collects once after a burst, not before it has rested for a while', () => {
    expect(looks([0.9, 0.9, 0, 0, 0])).toBe(0)
    expect(looks([0.9, 0.9, 0, 0, 0, 0])).toBe(1)
    expect(looks([0.9, ...Array.from({ length: 100 }, () => 0.02)])).toBe(1)
  })

  test('a pause between two bursts is no rest', () => {
    expect(looks([0.9, 0, 0, 0, 0.5, 0, 0, 0, 0.3, 0, 0, 0])).toBe(0)
  })

  test('a node that never had much to do leaves it alone', () => {
    expect(looks(Array.from({ length: 100 }, () => 0.05))).toBe(0)
  })
})
