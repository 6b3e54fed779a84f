import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesToDigits, digitsModuloOrder, isScalar } from './scalar.ts'

const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n

function littleEndian(value: bigint, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))
}

function sumOf(digits: ArrayLike<number>, bits: number): bigint {
  return Array.from(digits).reduceRight((sum, digit) => (sum << BigInt(bits)) + BigInt(digit), 0n)
}

/** Around multiples of L as much as anywhere. */
const wide = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 512n - 1n }),
  fc
    .tuple(fc.bigInt({ min: 0n, max: 2n ** 512n / groupOrder - 1n }), fc.integer({ min: -3, max: 3 }))
    .map(([times, more]) => times * groupOrder + BigInt(more))
    .filter((value) => value >= 0n),
  fc.constantFrom(0n, 1n, 2n ** 252n, 2n ** 252n - 1n, groupOrder, groupOrder - 1n, 2n ** 512n - 1n, 2n ** 256n),
)

test('digits of a digest are the digest modulo L, each within its table', () => {
  const digits = new Int8Array(64)
  fc.assert(
    fc.property(wide, (value) => {
      digitsModuloOrder(String.fromCharCode(...littleEndian(value, 64)), digits)
      expect(sumOf(digits, 4)).toBe(value % groupOrder)
      expect(digits.every((digit) => digit >= -8 && digit <= 7)).toBe(true)
    }),
    { numRuns: 5000 },
  )
})

const scalar = fc.oneof(
  fc.bigInt({ min: 0n, max: groupOrder - 1n }),
  fc.constantFrom(0n, 1n, groupOrder - 1n, 2n ** 252n, 128n, 127n, BigInt(`0x0${'80'.repeat(31)}`)),
)

test('digits of a scalar are that scalar, each within its table', () => {
  const digits = new Int16Array(32)
  fc.assert(
    fc.property(scalar, (value) => {
      bytesToDigits(Uint8Array.of(9, ...littleEndian(value, 32)), 1, digits)
      expect(sumOf(digits, 8)).toBe(value)
      expect(digits.every((digit) => digit >= -128 && digit <= 127)).toBe(true)
    }),
  )
})

test('a scalar is below L', () => {
  const any = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), fc.constantFrom(groupOrder, groupOrder + 1n))
  fc.assert(fc.property(any, (value) => isScalar(littleEndian(value, 32), 0) === value < groupOrder))
  fc.assert(fc.property(scalar, (value) => isScalar(littleEndian(value, 32), 0)))
})
