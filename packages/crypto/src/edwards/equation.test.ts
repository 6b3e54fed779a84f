import crypto from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fieldOrder } from '../inner/prime-order.ts'
import { Equation } from './equation.ts'

const equation = Equation.create((input) => crypto.hash('sha512', input, 'binary'), 1) as Equation

function encoded(y: bigint, sign: bigint): Uint8Array {
  const value = y + (sign << 255n)
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))
}

function decodedByNoble(bytes: Uint8Array) {
  try {
    return ed25519.Point.fromBytes(bytes, false).toAffine()
  } catch {
    return undefined
  }
}

test('32 bytes are decoded to the point that they encode, and to none if they encode none', () => {
  // Half of all y have no x; 1 and -1 have x = 0 alone.
  const few = fc.constantFrom(0n, 1n, 2n, 3n, 4n, 5n, fieldOrder - 1n, fieldOrder, fieldOrder + 1n, 2n ** 255n - 1n)
  const y = fc.oneof(few, fc.bigInt({ min: 0n, max: 2n ** 255n - 1n }))
  fc.assert(
    fc.property(y, fc.constantFrom(0n, 1n), (value, sign) => {
      const bytes = encoded(value, sign)
      expect(equation.decode(bytes)).toEqual(decodedByNoble(bytes))
    }),
    { numRuns: 500 },
  )
})
