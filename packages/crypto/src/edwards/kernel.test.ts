import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createKernel, elementSizeBytes, fieldOrder, type Kernel, limbsOf } from './kernel.ts'

const kernel = createKernel(1) as Kernel
const doubles = new Float64Array(kernel.memory.buffer)
const [a, b, c] = [0, elementSizeBytes, 2 * elementSizeBytes] as const

type Limbs = readonly number[]

function put(address: number, lanes: readonly [Limbs, Limbs]): void {
  for (const [lane, limbs] of lanes.entries())
    for (const [i, limb] of limbs.entries()) doubles[address / 8 + 2 * i + lane] = limb
}

function limbsAt(address: number, lane: number): number[] {
  return Array.from({ length: 5 }, (_, i) => doubles[address / 8 + 2 * i + lane] as number)
}

function sumOf(limbs: Limbs): bigint {
  return limbs.reduceRight((sum, limb) => (sum << 51n) + BigInt(limb), 0n)
}

/** As few as 0 and as many as p - 1. */
function modulo(value: bigint): bigint {
  return ((value % fieldOrder) + fieldOrder) % fieldOrder
}

/** |limbs| up to a bound, the bound itself often. */
function limbsUpTo(bound: number): fc.Arbitrary<number[]> {
  const extreme = fc.constantFrom(bound, -bound, bound - 1, 1 - bound, 0, 1, -1, 2 ** 50, -(2 ** 50))
  const limb = fc.oneof(
    extreme,
    fc.maxSafeInteger().map((value) => (Math.abs(value) > bound ? value % bound : value)),
  )
  return fc.array(limb, { minLength: 5, maxLength: 5 })
}

const reduced = 2 ** 50 + 2 ** 12
const isReduced = (limbs: Limbs) => limbs.every((limb) => Number.isInteger(limb) && Math.abs(limb) <= reduced)
const two = <T>(arbitrary: fc.Arbitrary<T>) => fc.tuple(arbitrary, arbitrary)

test.each([
  ['reduced ones', reduced],
  ['one of them the sum of three', 3 * reduced],
])('products are exact up to the largest limbs, and reduced: %s', (_, bound) => {
  fc.assert(
    fc.property(two(limbsUpTo(reduced)), two(limbsUpTo(bound)), (first, second) => {
      put(a, first)
      put(b, second)
      kernel.multiply(c, a, b)
      for (const lane of [0, 1] as const) {
        const product = limbsAt(c, lane)
        expect(modulo(sumOf(product))).toBe(modulo(sumOf(first[lane]) * sumOf(second[lane])))
        expect(isReduced(product)).toBe(true)
      }
    }),
    { numRuns: 3000 },
  )
})

test('squares are exact up to the largest limbs, and reduced', () => {
  fc.assert(
    fc.property(two(limbsUpTo(reduced)), fc.integer({ min: 1, max: 20 }), (lanes, count) => {
      put(a, lanes)
      kernel.squareTimes(c, a, count)
      for (const lane of [0, 1] as const) {
        const square = limbsAt(c, lane)
        let expected = sumOf(lanes[lane])
        for (let i = 0; i < count; i++) expected = modulo(expected * expected)
        expect(modulo(sumOf(square))).toBe(expected)
        expect(isReduced(square)).toBe(true)
      }
    }),
    { numRuns: 2000 },
  )
})

test('sums are reduced by one carry', () => {
  fc.assert(
    fc.property(two(limbsUpTo(2 ** 53 - 1)), (lanes) => {
      put(a, lanes)
      kernel.carry(c, a)
      for (const lane of [0, 1] as const) {
        const carried = limbsAt(c, lane)
        expect(modulo(sumOf(carried))).toBe(modulo(sumOf(lanes[lane])))
        expect(isReduced(carried)).toBe(true)
      }
    }),
    { numRuns: 2000 },
  )
})

test('limbs of a field element are reduced', () => {
  const extreme = fc.constantFrom(0n, 1n, fieldOrder - 1n, fieldOrder / 2n, fieldOrder / 2n + 1n, 2n ** 254n)
  fc.assert(
    fc.property(fc.oneof(extreme, fc.bigInt({ min: 0n, max: fieldOrder - 1n })), (value) => {
      expect(modulo(sumOf(limbsOf(value)))).toBe(value)
      expect(isReduced(limbsOf(value))).toBe(true)
    }),
  )
})
