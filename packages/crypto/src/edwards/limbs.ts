/** Whole numbers in pieces. */

/**
 * Signed limbs of a whole number, the least significant first: each but the last is from -2^(bits - 1) to 2^(bits - 1) - 1, and the last
 * one takes what is left.
 */
export function signedLimbs(value: bigint, { count, bits }: { count: number; bits: number }): number[] {
  let rest = value
  return Array.from({ length: count }, (_, i) => {
    const limb = i < count - 1 ? BigInt.asIntN(bits, rest) : rest
    rest = (rest - limb) >> BigInt(bits)
    return Number(limb)
  })
}
