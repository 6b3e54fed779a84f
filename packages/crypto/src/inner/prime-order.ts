/**
 * Whether a point of edwards25519 is of prime order, without multiplying it by that order (SPEC.md §1).
 *
 * The points form a cyclic group of order 8 L, so those of order L or 1 are exactly the multiples of 8. On the Montgomery form
 * v^2 = u^3 + A u^2 + u let T2 = (0, 0), of order 2, and T4 = (1, t) with t^2 = A + 2, of order 4. P is a multiple of 8 if and only if it
 * has a half Q that is a multiple of 4; either half will do, since they differ by T2, which is a multiple of 4.
 *
 * - P has a half if and only if u is a square. Let u = s^2 and h = 2 (u + v / s). For exactly one of the two signs of s, h + A has a root e,
 *   since the product of both h + A is A^2 - 4, which is no square. Then Q = (w, w e) with w = h / 2 + s e is a half: doubling it gives P
 *   (halving: Pornin, Point-Halving and Subgroup Membership in Twisted Edwards Curves, 2022).
 * - Q is a multiple of 4 if and only if its Tate pairing with T4 is 1: f(Q)^((p - 1) / 4) = 1 for f = (v - t u)^2 / u, whose divisor is
 *   4 (T4) - 4 (O) (Koshelev, Subgroup membership testing on elliptic curves via the Tate pairing, 2022). 4 divides p - 1.
 *
 * Three or four powers in place of some 250 doublings. Points are public: nothing here takes constant time.
 */

/** The order of the field. */
export const fieldOrder = 2n ** 255n - 19n
const p = fieldOrder
const half = (p + 1n) / 2n
const montgomeryA = 486_662n
/** 2^((p - 1) / 4), a root of -1. */
const rootOfMinusOne = 19681161376707505956807079304988542015446066515923890162744021073123829784752n
/** A root of A + 2. */
const t = 48802004052532134862652268456126542835229456083994414501085850622543968879637n
/** v = c u / x takes a point (x, y) to the Montgomery form, with c^2 = -(A + 2). The sign of c does not matter: -P is a multiple of 8 if P is. */
const c = (rootOfMinusOne * t) % p

function mod(value: bigint): bigint {
  const rest = value % p
  return rest < 0n ? rest + p : rest
}

/** x^(2^n). */
function squared(x: bigint, n: number): bigint {
  let result = x
  for (let i = 0; i < n; i++) result = (result * result) % p
  return result
}

/** x^((p - 5) / 8) = x^(2^252 - 3). `oN` = x^(2^N - 1). */
function power(x: bigint): bigint {
  const o2 = (((x * x) % p) * x) % p
  const o4 = (squared(o2, 2) * o2) % p
  const o5 = (squared(o4, 1) * x) % p
  const o10 = (squared(o5, 5) * o5) % p
  const o20 = (squared(o10, 10) * o10) % p
  const o40 = (squared(o20, 20) * o20) % p
  const o80 = (squared(o40, 40) * o40) % p
  const o160 = (squared(o80, 80) * o80) % p
  const o240 = (squared(o160, 80) * o80) % p
  const o250 = (squared(o240, 10) * o10) % p
  return (squared(o250, 2) * x) % p
}

/**
 * A root of numerator / denominator; undefined if there is none (RFC 8032 §5.1.3).
 *
 * @param numerator - 0 to p - 1; the denominator 1 to p - 1.
 * @param powerOf - Gives x^((p - 5) / 8), 0 to p - 1. Of another number no root would come: what it leads to is squared.
 */
export function rootOfRatio(numerator: bigint, denominator: bigint, powerOf = power): bigint | undefined {
  const cube = (((denominator * denominator) % p) * denominator) % p
  const first = (numerator * cube) % p
  const last = (((first * cube) % p) * denominator) % p
  const root = (first * powerOf(last)) % p
  const check = (((root * root) % p) * denominator) % p
  if (check === numerator) return root
  return check === p - numerator ? (root * rootOfMinusOne) % p : undefined
}

/**
 * True if the point is of order L.
 *
 * @param point - A point of the curve -x^2 + y^2 = 1 + d x^2 y^2, both coordinates from 0 to p - 1; that it lies there is not checked.
 */
export function isPrimeOrder({ x, y }: { readonly x: bigint; readonly y: bigint }): boolean {
  // Orders 1 and 2. For all others neither 1 + y nor 1 - y is 0, and Q is neither O nor T2, T4 or -T4: f(Q) is a number and not 0.
  if (x === 0n) return false
  let s = rootOfRatio(mod(1n + y), mod(1n - y))
  if (s === undefined) return false
  // v / s = c u / (x s) = c s / x.
  const even = ((2n * s * s + montgomeryA) * x) % p
  const odd = (2n * c * s) % p
  let e = rootOfRatio((even + odd) % p, x)
  if (e === undefined) {
    s = p - s
    e = rootOfRatio(mod(even - odd), x)
  }
  // Off the curve there may be no root.
  if (e === undefined) return false
  const w = mod((e * e - montgomeryA) * half + s * e)
  const f = mod(w * (((e - t) * (e - t)) % p))
  // (p - 1) / 4 = 2 (p - 5) / 8 + 1.
  return (squared(power(f), 1) * f) % p === 1n
}
