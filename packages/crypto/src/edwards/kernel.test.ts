import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fieldOrder } from '../inner/prime-order.ts'
import {
  createKernel,
  curveD,
  elementSizeBytes,
  entrySizeBytes,
  type Kernel,
  limbsOf,
  pointSizeBytes,
  recordSizeBytes,
  roundCount,
} from './kernel.ts'

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

/** A point, or three elements of an entry, of each lane; on the curve or not: the formulas hold for all numbers. */
type Elements = readonly Limbs[]
const elementsOf = (count: number) => fc.array(limbsUpTo(reduced), { minLength: count, maxLength: count })
const [point, record, entries] = [0, 1024, 2048]
const words = new Int32Array(kernel.memory.buffer)

function putAll(address: number, lanes: readonly [Elements, Elements]): void {
  for (const [i, low] of lanes[0].entries()) put(address + i * elementSizeBytes, [low, lanes[1][i] as Limbs])
}

/** Entries have no lanes; a record names two, and adds 1 for a negative. */
function putEntries(lanes: readonly [Elements, Elements], signs: readonly [number, number]): void {
  for (const [lane, elements] of lanes.entries()) {
    const address = entries + lane * entrySizeBytes
    doubles.set(elements.flat(), address / 8)
    words[record / 4 + lane] = address + (signs[lane] as number)
  }
}

function expectElements(address: number, lane: number, expected: readonly bigint[]): void {
  const limbs = expected.map((_, i) => limbsAt(address + i * elementSizeBytes, lane))
  expect(limbs.map((each) => modulo(sumOf(each)))).toEqual(expected.map(modulo))
  expect(limbs.every(isReduced)).toBe(true)
}

const product = (e: bigint, f: bigint, g: bigint, h: bigint) => [e * f, g * h, f * g, e * h]
/** Of (Y1 - X1)(Y2 - X2), (Y1 + X1)(Y2 + X2), 2 d T1 T2, 2 Z1 Z2. */
const sum = (a: bigint, b: bigint, c: bigint, d: bigint) => product(b - a, d - c, d + c, b + a)

test('a point is doubled as its formulas say, up to the largest limbs', () => {
  fc.assert(
    fc.property(two(elementsOf(4)), (lanes) => {
      putAll(point, lanes)
      kernel.double(point)
      for (const lane of [0, 1] as const) {
        const [x, y, z] = lanes[lane].map(sumOf) as [bigint, bigint, bigint]
        const g = y * y - x * x
        expectElements(point, lane, product(2n * x * y, g - 2n * z * z, g, -x * x - y * y))
      }
    }),
    { numRuns: 1000 },
  )
})

test('entries and their negatives are added as the formulas say, up to the largest limbs', () => {
  const sign = fc.constantFrom(0, 1)
  fc.assert(
    fc.property(two(elementsOf(4)), two(elementsOf(3)), two(sign), (lanes, added, signs) => {
      putAll(point, lanes)
      putEntries(added, signs)
      kernel.addEntries(point, record)
      for (const lane of [0, 1] as const) {
        const [x, y, z, t] = lanes[lane].map(sumOf) as [bigint, bigint, bigint, bigint]
        const [plus, minus, twiceDxy] = added[lane].map(sumOf) as [bigint, bigint, bigint]
        const expected =
          signs[lane] === 0
            ? sum((y - x) * minus, (y + x) * plus, t * twiceDxy, 2n * z)
            : sum((y - x) * plus, (y + x) * minus, -t * twiceDxy, 2n * z)
        expectElements(point, lane, expected)
      }
    }),
    { numRuns: 1000 },
  )
})

test('both lanes become the sum of the two, up to the largest limbs', () => {
  fc.assert(
    fc.property(two(elementsOf(4)), (lanes) => {
      putAll(point, lanes)
      kernel.addLanes(point)
      const [x1, y1, z1, t1] = lanes[0].map(sumOf) as [bigint, bigint, bigint, bigint]
      const [x2, y2, z2, t2] = lanes[1].map(sumOf) as [bigint, bigint, bigint, bigint]
      const expected = sum((y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2), 2n * curveD * t1 * t2, 2n * z1 * z2)
      for (const lane of [0, 1]) expectElements(point, lane, expected)
    }),
    { numRuns: 1000 },
  )
})

test('an entry is y + x, y - x, 2 d x y, up to the largest limbs', () => {
  fc.assert(
    fc.property(two(limbsUpTo(reduced)), two(limbsUpTo(reduced)), (xs, ys) => {
      put(a, xs)
      put(b, ys)
      kernel.entry(entries, a, b)
      for (const lane of [0, 1] as const) {
        const [x, y] = [sumOf(xs[lane]), sumOf(ys[lane])]
        expectElements(entries, lane, [y + x, y - x, 2n * curveD * x * y])
      }
    }),
    { numRuns: 1000 },
  )
})

test.each([
  [1, 1],
  [2, 3],
])(
  'a run is rounds of four doublings and %i additions, none before the first, and %i additions more',
  (perRound, last) => {
    const count = roundCount * perRound + last
    const [start] = fc.sample(two(elementsOf(4)), 1) as unknown as [[Elements, Elements]]
    const [added] = fc.sample(two(elementsOf(3)), 1) as unknown as [[Elements, Elements]]
    putEntries(added, [0, 0])
    // Four records, so that their order shows.
    const [low, high] = [entries, entries + entrySizeBytes]
    for (let i = 0; i < count; i++) {
      words[(record + i * recordSizeBytes) / 4] = [low, high + 1, low + 1, high][i % 4] as number
      words[(record + i * recordSizeBytes) / 4 + 1] = [high, high, low + 1, low][i % 4] as number
    }
    putAll(point, start)
    kernel.run(point, record, perRound, last)
    const ran = doubles.slice(point / 8, (point + pointSizeBytes) / 8)
    putAll(point, start)
    for (let i = 0; i < count; i++) {
      if (i > 0 && i % perRound === 0 && i < roundCount * perRound) for (let j = 0; j < 4; j++) kernel.double(point)
      kernel.addEntries(point, record + i * recordSizeBytes)
    }
    expect(ran).toEqual(doubles.slice(point / 8, (point + pointSizeBytes) / 8))
  },
)

test('limbs of a field element are reduced', () => {
  const extreme = fc.constantFrom(0n, 1n, fieldOrder - 1n, fieldOrder / 2n, fieldOrder / 2n + 1n, 2n ** 254n)
  fc.assert(
    fc.property(fc.oneof(extreme, fc.bigInt({ min: 0n, max: fieldOrder - 1n })), (value) => {
      expect(modulo(sumOf(limbsOf(value)))).toBe(value)
      expect(isReduced(limbsOf(value))).toBe(true)
    }),
  )
})
