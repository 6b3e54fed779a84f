import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteMap, byteKey } from './byte-map.ts'

describe('ByteMap', () => {
  it('holds what a map of texts holds, in the same order', () => {
    const keys = fc.uint8Array({ maxLength: 3, max: 3 })
    const steps = fc.array(fc.tuple(keys, fc.option(fc.nat(9), { nil: undefined })), { maxLength: 300 })
    fc.assert(
      fc.property(steps, keys, (sets, other) => {
        const map = new ByteMap<number | undefined>()
        const expected = new Map<string, number | undefined>()
        for (const [key, value] of sets) {
          map.set(byteKey(key), value)
          expected.set(String(key), value)
          // What the caller does with its array afterwards is no matter of the map's.
          key.fill(9)
        }
        expect(map.size).toBe(expected.size)
        expect([...map.entries()].map(([key, value]) => [String(key), value])).toEqual([...expected])
        for (const [key] of map.entries()) expect(map.get(byteKey(key))).toBe(expected.get(String(key)))
        expect(map.has(byteKey(other))).toBe(expected.has(String(other)))
      }),
    )
  })

  it('tells keys apart that share a place, and those that differ only far behind', () => {
    const map = new ByteMap<string>()
    const [one, other] = [Uint8Array.of(1), Uint8Array.of(2)]
    for (const bytes of [one, other]) map.set({ bytes, hash: 7 }, String(bytes))
    expect(map.get({ bytes: one, hash: 7 })).toBe('1')
    expect(map.get({ bytes: other, hash: 7 })).toBe('2')
    expect(map.has({ bytes: Uint8Array.of(3), hash: 7 })).toBe(false)
    const long = new Uint8Array(1000)
    const longer = Uint8Array.from(long, (_, i) => (i === 999 ? 1 : 0))
    expect(byteKey(long).hash).toBe(byteKey(longer).hash)
    map.set(byteKey(long), 'long')
    expect(map.get(byteKey(longer))).toBeUndefined()
  })

  it('spreads keys that somebody chose to look alike', () => {
    // Counters at one end, as stream ids can be chosen: 4,096 of them meet in few places, whatever was drawn.
    const places = new Set<number>()
    for (let i = 0; i < 4096; i++) {
      const bytes = new Uint8Array(50)
      bytes[48] = i >> 8
      bytes[49] = i & 255
      places.add(byteKey(bytes).hash >>> 19)
    }
    expect(places.size).toBeGreaterThan(1024)
  })
})
