import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RecentMap } from './recent-map.ts'

describe('RecentMap', () => {
  it('keeps the newest half and never gives an old value', () => {
    const steps = fc.array(fc.tuple(fc.nat(11), fc.option(fc.nat(9), { nil: undefined })), { maxLength: 80 })
    fc.assert(
      fc.property(steps, (sets) => {
        const recent = new RecentMap<number, number | undefined>(8)
        const all = new Map<number, number | undefined>()
        for (const [key, value] of sets) {
          recent.set(key, value)
          // Deleted first, so that the order is that of the newest set.
          all.delete(key)
          all.set(key, value)
          for (const [position, [known, expected]] of [...all].reverse().entries()) {
            if (position < 4) expect(recent.has(known)).toBe(true)
            // `has` alone does not make an entry new.
            if (position < 4 && known === key) expect(recent.get(known)).toBe(expected)
          }
        }
        let count = 0
        for (const [key, value] of all) {
          if (!recent.has(key)) continue
          count++
          expect(recent.get(key)).toBe(value)
        }
        expect(count).toBeLessThanOrEqual(8)
      }),
    )
  })

  it('keeps what is asked for, and forgets what is not', () => {
    const recent = new RecentMap<number, string>(4)
    recent.set(0, 'asked for')
    recent.set(1, 'not asked for')
    for (let key = 2; key < 40; key++) {
      expect(recent.get(0)).toBe('asked for')
      recent.set(key, '')
    }
    expect(recent.has(1)).toBe(false)
  })

  it('forgets everything when it is cleared', () => {
    const recent = new RecentMap<number, string>(2)
    for (let key = 0; key < 2; key++) recent.set(key, '')
    recent.clear()
    expect([recent.has(0), recent.has(1)]).toEqual([false, false])
  })
})
