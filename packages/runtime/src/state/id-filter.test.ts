import { randomBytes } from '@healthblock/crypto/random'
import { expect, it } from 'vitest'
import { IdFilter } from './id-filter.ts'

it('never denies an id that was added, and seldom suspects another, however far it grew', () => {
  const filter = new IdFilter()
  const added: Uint8Array[] = []
  for (const count of [100, 32_668, 200_000]) {
    for (let i = 0; i < count; i++) {
      const id = randomBytes(32)
      filter.add(id)
      if (i % 50 === 0) added.push(id)
    }
    expect(added.every((id) => filter.mayHave(id))).toBe(true)
    let suspected = 0
    for (let i = 0; i < 5_000; i++) if (filter.mayHave(randomBytes(32))) suspected++
    // Three levels at about 0.24 % each when full.
    expect(suspected).toBeLessThan(100)
  }
})

it('knows nothing at first', () => {
  expect(new IdFilter().mayHave(new Uint8Array(32))).toBe(false)
})
