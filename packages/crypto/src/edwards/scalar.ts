/** Scalars of edwards25519 as signed digits. Everything is public: nothing takes constant time. */
import { signedLimbs } from './limbs.ts'

/** L, the order of the base point (RFC 8032 §5.1), as 32 bytes, the least significant first. */
const groupOrder = Uint8Array.of(
  ...[0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14],
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10],
)

/** True if the 32 bytes from `start` on, the least significant first, are less than L. */
export function isScalar(bytes: Uint8Array, start: number): boolean {
  for (let i = 31; i >= 0; i--) {
    const difference = (bytes[start + i] as number) - (groupOrder[i] as number)
    if (difference !== 0) return difference < 0
  }
  return false
}

const limbBits = 21
const limbMax = 2 ** limbBits
/** 2^252 = 2^(12 * 21) modulo L, in signed limbs of 21 bits: -(L - 2^252). */
const order252 = signedLimbs(-27742317777372353535851937790883648493n, { count: 6, bits: limbBits })

const limbs = new Float64Array(25)
/** Of each bit: its limb, and its place there. */
const limbOfBit = Uint8Array.from({ length: 513 }, (_, bit) => Math.floor(bit / limbBits))
const bitInLimb = Uint8Array.from({ length: 513 }, (_, bit) => bit % limbBits)

/** Limb i of 12 and more becomes six limbs from i - 12 on. */
function fold(from: number, to: number): void {
  for (let i = from; i >= to; i--) {
    const limb = limbs[i] as number
    for (let m = 0; m < 6; m++) limbs[i - 12 + m] = (limbs[i - 12 + m] as number) + limb * (order252[m] as number)
    limbs[i] = 0
  }
}

/** Limbs `from` to `to` become 0 <= limb < 2^21; the rest goes to the one above. */
function carryUp(from: number, to: number): void {
  for (let i = from; i <= to; i++) {
    const over = Math.floor((limbs[i] as number) / limbMax)
    limbs[i] = (limbs[i] as number) - over * limbMax
    limbs[i + 1] = (limbs[i + 1] as number) + over
  }
}

/**
 * A number of 64 bytes, the least significant first, modulo L: 64 digits from -8 to 7, the least significant first. The limbs stay below
 * 2^48.
 *
 * @param number - A text whose characters are the bytes.
 */
export function digitsModuloOrder(number: string, digits: Int8Array): void {
  limbs.fill(0)
  for (let place = 0; place < 64; place++) {
    const limb = limbOfBit[8 * place] as number
    // A byte that lies across two limbs is carried below.
    limbs[limb] = (limbs[limb] as number) + (number.charCodeAt(place) << (bitInLimb[8 * place] as number))
  }
  carryUp(0, 23)
  fold(24, 18)
  carryUp(6, 17)
  fold(18, 12)
  carryUp(0, 11)
  // Limb 12 is now c = floor(rest / 2^252), and c L is taken away. Less than L is left and more than -2^150: c is not below -1, since what
  // was folded was at most 2^126 - 1, and where it is -1, the rest is negative.
  fold(12, 12)
  carryUp(0, 11)
  if ((limbs[12] as number) < 0) {
    fold(12, 12)
    carryUp(0, 11)
  }
  let over = 0
  for (let i = 0; i < 64; i++) {
    const limb = limbOfBit[4 * i] as number
    const shift = bitInLimb[4 * i] as number
    const bits = ((limbs[limb] as number) >>> shift) | ((limbs[limb + 1] as number) << (limbBits - shift))
    const digit = (bits & 15) + over
    over = (digit + 8) >> 4
    digits[i] = digit - (over << 4)
  }
}

/** Of a scalar below L, 32 bytes from `start` on: 32 digits from -128 to 127. */
export function bytesToDigits(bytes: Uint8Array, start: number, digits: Int16Array): void {
  let over = 0
  for (let i = 0; i < 32; i++) {
    const digit = (bytes[start + i] as number) + over
    over = (digit + 128) >> 8
    digits[i] = digit - (over << 8)
  }
}
