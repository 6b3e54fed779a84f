import { describe, expect, test } from 'vitest'
import { Rest } from './rest.ts'

/** How often a node collects that was so busy, look by look; while it collects its loop is busy too. */
function looks(parts: readonly number[], restMs?: number): number {
  let collected = 0
  let busy = 0
  const since = () => {
    const parts = { loop: busy, core: busy }
    busy = 0
    return parts
  }
  const collect = (): void => {
    collected++
    busy = 1
  }
  const rest = new Rest({ busy: since, collect, restMs })
  for (const part of parts) {
    busy = Math.max(busy, part)
    rest.look()
  }
  return collected
}

describe('a node at rest', () => {
  test('collects three times after a burst, not before it has rested for a while', () => {
    expect(looks([0.9, 0.9, 0, 0, 0])).toBe(0)
    expect(looks([0.9, 0.9, 0, 0, 0, 0])).toBe(1)
    expect(looks([0.9, ...Array.from({ length: 100 }, () => 0.02)])).toBe(3)
  })

  test('a pause between two bursts is no rest', () => {
    expect(looks([0.9, 0, 0, 0, 0.5, 0, 0, 0, 0.3, 0, 0, 0])).toBe(0)
  })

  test('how long it has to rest is its own affair', () => {
    const atRest = (count: number): number[] => Array.from({ length: count }, () => 0)
    expect(looks([0.9, ...atRest(9)], 5_000)).toBe(0)
    expect(looks([0.9, ...atRest(10)], 5_000)).toBe(1)
  })

  test('where others use the machine, a loop that waits for its core is no burst: what little is done goes on uninterrupted', () => {
    let collected = 0
    const rest = new Rest({ busy: () => ({ loop: 0.6, core: 0.05 }), collect: () => void collected++ })
    for (let look = 0; look < 100; look++) rest.look()
    expect(collected).toBe(0)
  })

  test('a node that never had much to do leaves it alone', () => {
    expect(looks(Array.from({ length: 100 }, () => 0.05))).toBe(0)
  })
})
