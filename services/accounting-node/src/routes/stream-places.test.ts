import { describe, expect, it } from 'vitest'
import { StreamPlaces } from './stream-places.ts'

const full = expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_STATE_BUSY' }) })

describe('places for streams', () => {
  it('are not all taken by one reader', () => {
    const places = new StreamPlaces()
    const leave = Array.from({ length: 16 }, () => places.take('a'))
    expect(() => places.take('a')).toThrow(full)
    const other = places.take('b')
    leave[3]?.()
    places.take('a')
    expect(() => places.take('a')).toThrow(full)
    other()
    places.take('b')
  })

  it('end at the node', () => {
    const places = new StreamPlaces()
    const leave = Array.from({ length: 256 }, (_, i) => places.take(`reader-${i >> 3}`))
    expect(() => places.take('late')).toThrow(full)
    leave[0]?.()
    places.take('late')
    expect(() => places.take('later')).toThrow(full)
  })
})
