import * as dagCbor from '@ipld/dag-cbor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex, toHex } from './bytes.ts'
import { type CborValue, decodeCbor, decodeCborAt, encodeCbor, skipCborAt } from './cbor.ts'
import { EncodingError } from './errors.ts'

const text = fc.stringMatching(/^[a-z0-9._-]{1,64}$/)
const value: fc.Arbitrary<CborValue> = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.maxSafeNat(),
    fc.integer({ min: 0, max: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    text,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(text, tie('value'), { maxKeys: 5, noNullPrototype: false }),
  ),
})).value
const shallow = value.filter((v) => {
  try {
    encodeCbor(v)
    return true
  } catch {
    return false
  }
})

describe('canonical CBOR', () => {
  test('encodes as @ipld/dag-cbor does, and decodes to the same value', () => {
    fc.assert(
      fc.property(shallow, (v) => {
        const bytes = encodeCbor(v)
        expect(toHex(bytes)).toBe(toHex(dagCbor.encode(v)))
        expect(toHex(encodeCbor(decodeCbor(bytes)))).toBe(toHex(bytes))
        expect(dagCbor.decode(bytes)).toEqual(dagCbor.decode(dagCbor.encode(decodeCbor(bytes))))
      }),
      { numRuns: 500 },
    )
  })

  test('whatever it accepts, of any bytes at all, re-encodes to the same bytes', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 40 }), shallow.map(encodeCbor)),
        fc.nat(),
        fc.nat(255),
        (b, at, x) => {
          const bytes = Uint8Array.from(b)
          if (bytes.length > 0) bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ x
          let decoded: CborValue
          try {
            decoded = decodeCbor(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(EncodingError)
            return
          }
          expect(toHex(encodeCbor(decoded))).toBe(toHex(bytes))
        },
      ),
      { numRuns: 5000 },
    )
  })

  test.each([
    ['1817', 'ERR_CBOR_NOT_CANONICAL', 'integer with a long head'],
    ['1900ff', 'ERR_CBOR_NOT_CANONICAL', 'two bytes where one suffices'],
    ['1b0000000000000001', 'ERR_CBOR_NOT_CANONICAL', 'eight bytes where one suffices'],
    ['1b0020000000000000', 'ERR_CBOR_FORBIDDEN', '2^53'],
    ['20', 'ERR_CBOR_FORBIDDEN', 'negative integer'],
    ['f6', 'ERR_CBOR_FORBIDDEN', 'null'],
    ['f7', 'ERR_CBOR_FORBIDDEN', 'undefined'],
    ['f5', 'ERR_CBOR_FORBIDDEN', 'true'],
    ['fb3ff0000000000000', 'ERR_CBOR_FORBIDDEN', 'float'],
    ['f93c00', 'ERR_CBOR_FORBIDDEN', 'half float'],
    ['d82a450001020304', 'ERR_CBOR_FORBIDDEN', 'tag'],
    ['9f01ff', 'ERR_CBOR_FORBIDDEN', 'indefinite array'],
    ['5f4100ff', 'ERR_CBOR_FORBIDDEN', 'indefinite bytes'],
    ['a2616201616102', 'ERR_CBOR_NOT_CANONICAL', 'unsorted map'],
    ['a2616101616102', 'ERR_CBOR_NOT_CANONICAL', 'repeated key'],
    ['a1010a', 'ERR_CBOR_FORBIDDEN', 'integer key'],
    ['6141', 'ERR_CBOR_FORBIDDEN', 'upper case'],
    ['60', 'ERR_CBOR_FORBIDDEN', 'empty text'],
    ['62c328', 'ERR_CBOR_FORBIDDEN', 'invalid UTF-8'],
    ['0102', 'ERR_CBOR_TRAILING', 'two values'],
    ['', 'ERR_CBOR_TRUNCATED', 'nothing'],
    ['4400', 'ERR_CBOR_TRUNCATED', 'short bytes'],
    ['5b001fffffffffffff', 'ERR_CBOR_TRUNCATED', 'a length far beyond the input'],
    ['9b001fffffffffffff', 'ERR_CBOR_LIMIT', 'an array of 2^53 items'],
    ['818181818181818181', 'ERR_CBOR_LIMIT', 'nine arrays'],
  ])('refuses %s with %s (%s)', (hex, code) => {
    expect(() => decodeCbor(fromHex(hex))).toThrow(
      expect.objectContaining({ name: 'EncodingError', detail: expect.objectContaining({ code }) }),
    )
  })

  test('a key named __proto__ stays a key', () => {
    const decoded = decodeCbor(encodeCbor({ ['__proto__']: 7 })) as Record<string, CborValue>
    expect(Object.getPrototypeOf(decoded)).toBeNull()
    expect(Object.keys(decoded)).toEqual(['__proto__'])
  })

  test('reads a sequence value by value', () => {
    const bytes = fromHex('0182020341ff')
    expect(decodeCborAt(bytes, 0)).toEqual({ value: 1, end: 1 })
    expect(decodeCborAt(bytes, 1)).toEqual({ value: [2, 3], end: 4 })
  })

  test('finds the end of a value without making it', () => {
    fc.assert(
      fc.property(value, fc.uint8Array({ maxLength: 8 }), (one, rest) => {
        const encoded = encodeCbor(one)
        expect(skipCborAt(Uint8Array.from([...encoded, ...rest]), 0)).toBe(encoded.length)
        expect(() => skipCborAt(encoded.subarray(0, -1), 0)).toThrow(EncodingError)
      }),
    )
  })

  test('finds an end, or says that there is none, for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          const end = skipCborAt(bytes, 0)
          expect(end).toBeGreaterThan(0)
          expect(end).toBeLessThanOrEqual(bytes.length)
        } catch (error) {
          expect(error).toBeInstanceOf(EncodingError)
        }
      }),
    )
  })

  test.each([2, 16, 17, 60])(
    'writes %i keys in their one order, whatever the order in which they were set',
    (count) => {
      fc.assert(
        fc.property(fc.uniqueArray(text, { minLength: count, maxLength: count }), (keys) => {
          const map = Object.fromEntries(keys.map((key, i) => [key, i]))
          expect(toHex(encodeCbor(map))).toBe(toHex(dagCbor.encode(map)))
        }),
        { numRuns: 20 },
      )
    },
  )

  test.each([[-1], [1.5], [-0], [2 ** 53], [null], [true], ['A'], [undefined]])('does not encode %s', (v) => {
    expect(() => encodeCbor(v as CborValue)).toThrow(EncodingError)
  })
})
