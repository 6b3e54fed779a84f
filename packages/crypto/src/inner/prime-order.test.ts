import { readFileSync } from 'node:fs'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { ed25519 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isPrimeOrder } from './prime-order.ts'

const { Point } = ed25519
type CurvePoint = InstanceType<typeof Point>

/** [L]P, with no method in common with the code under test. */
function timesOrder(point: CurvePoint): CurvePoint {
  return point.multiplyUnsafe(Point.Fn.ORDER - 1n).add(point)
}

/** Points by their y, from 2 on; undefined if no point has it. */
function pointOf(y: number): CurvePoint | undefined {
  try {
    return Point.fromBytes(Uint8Array.of(y, ...new Uint8Array(31)), false)
  } catch {
    return undefined
  }
}

/** The eight points whose order divides 8, the identity first. */
function torsion(): CurvePoint[] {
  for (let y = 2; ; y++) {
    const point = pointOf(y)
    const generator = point === undefined ? Point.ZERO : timesOrder(point)
    if (generator.double().double().is0()) continue
    const points = [Point.ZERO]
    while (points.length < 8) points.push((points.at(-1) as CurvePoint).add(generator))
    return points
  }
}

const small = torsion()
const affine = (point: CurvePoint) => point.toAffine()

describe('prime order', () => {
  test('the small orders are those of a cyclic group of eight', () => {
    expect(new Set(small.map((point) => toHex(point.toBytes()))).size).toBe(8)
    expect((small[7] as CurvePoint).add(small[1] as CurvePoint).is0()).toBe(true)
  })

  test('no point of small order', () => {
    for (const point of small) expect(isPrimeOrder(affine(point))).toBe(false)
  })

  test('of a random point of prime order and its sums with all small orders, that one alone', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: Point.Fn.ORDER - 1n }), (scalar) => {
        const point = Point.BASE.multiply(scalar)
        for (const [position, other] of small.entries()) {
          const sum = point.add(other)
          const isPrime = position === 0
          expect(isPrimeOrder(affine(sum))).toBe(isPrime)
          expect(isPrimeOrder(affine(sum.negate()))).toBe(isPrime)
          expect(timesOrder(sum).is0()).toBe(isPrime)
        }
      }),
      { numRuns: 20 },
    )
  })

  test('random points of the curve, as multiplying by L says', () => {
    let prime = 0
    for (let y = 2; y < 100; y++) {
      const point = pointOf(y)
      if (point === undefined) continue
      const expected = timesOrder(point).is0()
      expect(isPrimeOrder(affine(point)), `y = ${y}`).toBe(expected)
      if (expected) prime++
    }
    expect(prime).toBeGreaterThan(0)
  })

  test.each(['ed25519-speccheck', 'ed25519-rule'])('keys of %s, as multiplying by L says', (name) => {
    const file = JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), 'utf8'))
    const keys: string[] = file.vectors.map((v: { publicKey: string }) => v.publicKey)
    let decoded = 0
    for (const key of keys) {
      let point: CurvePoint
      try {
        // Also what is not canonical: the order is looked at by itself.
        point = Point.fromBytes(fromHex(key), true)
      } catch {
        continue
      }
      decoded++
      const expected = !point.is0() && timesOrder(point).is0()
      expect(isPrimeOrder(affine(point)), key).toBe(expected)
    }
    expect(decoded).toBeGreaterThan(5)
  })
})
