/** The equation of SPEC.md §1 with tables of multiples: the memory of a `Kernel` and what is done there. */
import { toHex } from '@healthblock/encoding/bytes'
import { ed25519 } from '@noble/curves/ed25519.js'
import { fieldOrder, rootOfRatio } from '../inner/prime-order.ts'
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
import { bytesToDigits, digitsModuloOrder, isScalar } from './scalar.ts'

const pageSizeBytes = 65_536

/** Tables in a row: the first has 1 to `entryCount` times the point, each next one 2^bits times what the one before has. */
interface TableShape {
  readonly bits: number
  readonly count: number
  readonly entryCount: number
}
const sizeBytesOf = ({ count, entryCount }: TableShape) => count * entryCount * entrySizeBytes
/** Of the base point: one digit of eight bits each. */
const baseShape: TableShape = { bits: 8, count: 32, entryCount: 128 }
/** Of a key: eight digits of four bits each. */
const keyShape: TableShape = { bits: 32, count: 8, entryCount: 8 }
const keyTablesSizeBytes = sizeBytesOf(keyShape)

/** Signatures of which the divisions are done together. */
export const togetherMax = 64

// Where things are in memory. All but entries are at multiples of 16.
let end = 0
function place(sizeBytes: number): number {
  const start = end
  end += Math.ceil(sizeBytes / 16) * 16
  return start
}
const pointAt = place(pointSizeBytes)
const heldAt = place(pointSizeBytes)
const inverseAt = place(elementSizeBytes)
const ownAt = place(elementSizeBytes)
const xAt = place(elementSizeBytes)
const yAt = place(elementSizeBytes)
const powerAt = [place(elementSizeBytes), place(elementSizeBytes), place(elementSizeBytes)] as const
const entryAt = place(3 * elementSizeBytes)
const identityAt = place(entrySizeBytes)
const recordsAt = place(recordSizeBytes * (roundCount * keyShape.count + baseShape.count))
/** Points whose divisions are done together, and the products of their Z up to each. */
const pointsMax = baseShape.entryCount
const pointsAt = place(pointsMax * pointSizeBytes)
const productsAt = place(pointsMax * elementSizeBytes)
const baseAt = place(sizeBytesOf(baseShape))
const keysAt = place(0)
const [yOffset, zOffset, tOffset] = [elementSizeBytes, 2 * elementSizeBytes, 3 * elementSizeBytes]

/** A point of the curve, of any order. */
export interface AffinePoint {
  readonly x: bigint
  readonly y: bigint
}

/** A signature of 64 bytes over a message, and the place of its key's tables. */
export interface PlacedClaim {
  readonly tables: number
  readonly publicKey: Uint8Array
  readonly signature: Uint8Array
  readonly message: Uint8Array
}

/** One memory with tables. */
export class Equation {
  readonly #sha512: (input: Uint8Array) => string
  readonly #kernel: Kernel
  readonly #doubles: Float64Array
  readonly #words: Int32Array
  #joined = new Uint8Array(1024)
  readonly #keyDigits = new Int8Array(64)
  readonly #baseDigits = new Int16Array(32)
  readonly #x = new Float64Array(5)
  readonly #y = new Float64Array(5)

  /**
   * @param sha512 - The digest as a text of 64 characters below 256.
   * @param keysMax - Keys that there is memory for; the platform takes it when it is written.
   * @returns undefined where the platform lacks vectors with a fused multiply-add.
   */
  static create(sha512: (input: Uint8Array) => string, keysMax: number): Equation | undefined {
    const kernel = createKernel(Math.ceil((keysAt + keysMax * keyTablesSizeBytes) / pageSizeBytes))
    if (kernel === undefined) return undefined
    const equation = new Equation(sha512, kernel)
    if (!equation.#isFused()) return undefined
    equation.#makeTables(ed25519.Point.BASE.toAffine(), baseShape, baseAt)
    return equation
  }

  private constructor(sha512: (input: Uint8Array) => string, kernel: Kernel) {
    this.#sha512 = sha512
    this.#kernel = kernel
    this.#doubles = new Float64Array(kernel.memory.buffer)
    this.#words = new Int32Array(kernel.memory.buffer)
    this.#doubles[identityAt / 8] = 1
    this.#doubles[identityAt / 8 + 5] = 1
  }

  /** Whether products are exact: a relaxed multiply-add may round twice. */
  #isFused(): boolean {
    const value = BigInt(`0x${'35a7c96b'.repeat(8)}`) % fieldOrder
    for (const lane of [0, 1] as const) this.#put(xAt, lane, value)
    this.#kernel.multiply(yAt, xAt, xAt)
    return this.#valueAt(yAt) === (value * value) % fieldOrder
  }

  /** Place `index` for a key's tables, 0 to `keysMax` - 1. */
  placeOf(index: number): number {
    return keysAt + index * keyTablesSizeBytes
  }

  /** The point that 32 bytes encode (RFC 8032 §5.1.3), if there is one. */
  decode(publicKey: Uint8Array): AffinePoint | undefined {
    const encoded = BigInt(`0x${toHex(publicKey.toReversed())}`)
    const [y, sign] = [BigInt.asUintN(255, encoded), encoded >> 255n]
    if (y >= fieldOrder) return undefined
    const square = (y * y) % fieldOrder
    // The root is found by the kernel, and squared by other arithmetic.
    const root = rootOfRatio((square + fieldOrder - 1n) % fieldOrder, (curveD * square + 1n) % fieldOrder, (value) => {
      this.#put(xAt, 0, value)
      this.#rootPower(yAt, xAt)
      return this.#valueAt(yAt)
    })
    if (root === undefined || (root === 0n && sign === 1n)) return undefined
    return { x: (root & 1n) === sign ? root : fieldOrder - root, y }
  }

  /** Writes a key's tables. */
  writeKey(tables: number, point: AffinePoint): void {
    this.#makeTables(point, keyShape, tables)
  }

  /**
   * True for each claim that holds. False says nothing where S is not below L, or a table was damaged.
   *
   * @param claims - Up to `togetherMax`.
   */
  holds(claims: readonly PlacedClaim[]): boolean[] {
    const alone = claims.length === 1 ? claims[0] : undefined
    if (alone !== undefined) {
      this.#sumAlone(alone)
      this.#copy(pointsAt, pointAt, pointSizeBytes)
      this.#divide(1, () => {})
      return [this.#isEncoding(alone.signature, 0)]
    }
    const held: boolean[] = []
    // The last of an odd number has both lanes.
    const pairCount = Math.ceil(claims.length / 2)
    const second = (pair: number) => claims[2 * pair + 1] ?? (claims[2 * pair] as PlacedClaim)
    for (let pair = 0; pair < pairCount; pair++) {
      this.#sumTwo(claims[2 * pair] as PlacedClaim, second(pair))
      this.#copy(pointsAt + pair * pointSizeBytes, pointAt, pointSizeBytes)
    }
    this.#divide(pairCount, (pair) => {
      held[2 * pair] = this.#isEncoding((claims[2 * pair] as PlacedClaim).signature, 0)
      held[2 * pair + 1] = this.#isEncoding(second(pair).signature, 1)
    })
    held.length = claims.length
    return held
  }

  /** [S]B - [k]A, S and k in halves: one lane has the lower ones. */
  #sumAlone(claim: PlacedClaim): void {
    this.#readDigits(claim)
    let to = recordsAt / 4
    const half = keyShape.count / 2
    for (let round = roundCount - 1; round >= 0; round--)
      for (let table = 0; table < half; table++) {
        this.#words[to++] = this.#keyEntry(claim.tables, table, round)
        this.#words[to++] = this.#keyEntry(claim.tables, table + half, round)
      }
    for (let window = 0; window < baseShape.count / 2; window++) {
      this.#words[to++] = this.#baseEntry(window)
      this.#words[to++] = this.#baseEntry(window + baseShape.count / 2)
    }
    this.#run(half, baseShape.count / 2)
    this.#kernel.addLanes(pointAt)
  }

  /** [S]B - [k]A of one claim in each lane. */
  #sumTwo(low: PlacedClaim, high: PlacedClaim): void {
    for (const [lane, claim] of [low, high].entries()) {
      this.#readDigits(claim)
      let to = recordsAt / 4 + lane
      for (let round = roundCount - 1; round >= 0; round--)
        for (let table = 0; table < keyShape.count; table++, to += 2)
          this.#words[to] = this.#keyEntry(claim.tables, table, round)
      for (let window = 0; window < baseShape.count; window++, to += 2) this.#words[to] = this.#baseEntry(window)
    }
    this.#run(keyShape.count, baseShape.count)
  }

  #run(perRound: number, last: number): void {
    this.#beginSum()
    this.#kernel.run(pointAt, recordsAt, perRound, last)
  }

  /** The identity, in both lanes. */
  #beginSum(): void {
    this.#doubles.fill(0, pointAt / 8, (pointAt + pointSizeBytes) / 8)
    for (const offset of [yOffset, zOffset]) this.#doubles.fill(1, (pointAt + offset) / 8, (pointAt + offset) / 8 + 2)
  }

  /** k = SHA-512(R || A || M) modulo L, and S. */
  #readDigits({ publicKey, signature, message }: PlacedClaim): void {
    const length = 64 + message.length
    if (this.#joined.length < length) this.#joined = new Uint8Array(2 * length)
    this.#joined.set(signature.subarray(0, 32))
    this.#joined.set(publicKey, 32)
    this.#joined.set(message, 64)
    const digest = this.#sha512(this.#joined.subarray(0, length))
    digitsModuloOrder(digest, this.#keyDigits)
    bytesToDigits(signature, 32, this.#baseDigits)
  }

  /** What is added for a digit of k, which is taken away: the sign is the other one. */
  #keyEntry(tables: number, table: number, round: number): number {
    const digit = this.#keyDigits[roundCount * table + round] as number
    return entryOf(tables + table * keyShape.entryCount * entrySizeBytes, -digit)
  }

  #baseEntry(window: number): number {
    const digit = this.#baseDigits[window] as number
    return entryOf(baseAt + window * baseShape.entryCount * entrySizeBytes, digit)
  }

  /** True if what `#divide` left in a lane has the encoding that a signature begins with, and S is below L. */
  #isEncoding(signature: Uint8Array, lane: 0 | 1): boolean {
    const [x, y] = [this.#x, this.#y]
    this.#readCanonical(xAt, lane, x)
    this.#readCanonical(yAt, lane, y)
    const [y0, y1, y2, y3, y4] = y as unknown as [number, number, number, number, number]
    const sign = (x[0] as number) & 1
    const words = [
      y0,
      Math.floor(y0 / 2 ** 32) + (y1 % 2 ** 13) * 2 ** 19,
      Math.floor(y1 / 2 ** 13),
      Math.floor(y1 / 2 ** 45) + (y2 % 2 ** 26) * 2 ** 6,
      Math.floor(y2 / 2 ** 26) + (y3 % 2 ** 7) * 2 ** 25,
      Math.floor(y3 / 2 ** 7),
      Math.floor(y3 / 2 ** 39) + (y4 % 2 ** 20) * 2 ** 12,
      Math.floor(y4 / 2 ** 20) + sign * 2 ** 31,
    ]
    for (const [i, word] of words.entries()) {
      const own = (signature[4 * i] as number) | ((signature[4 * i + 1] as number) << 8)
      const all = own | ((signature[4 * i + 2] as number) << 16) | ((signature[4 * i + 3] as number) << 24)
      if ((word | 0) !== all) return false
    }
    // x is 0 for the identity, which no R may be, and where something was divided by 0.
    return x.some((limb) => limb !== 0) && isScalar(signature, 32)
  }

  /** The limbs of one lane, 0 <= limb < 2^51, of a number below p. */
  #readCanonical(address: number, lane: 0 | 1, limbs: Float64Array): void {
    for (let i = 0; i < 5; i++) limbs[i] = this.#doubles[address / 8 + 2 * i + lane] as number
    for (let over = 1; over !== 0; ) {
      over = 0
      for (let i = 0; i < 5; i++) {
        const limb = (limbs[i] as number) + over
        over = Math.floor(limb / 2 ** 51)
        limbs[i] = limb - over * 2 ** 51
      }
      limbs[0] = (limbs[0] as number) + 19 * over
    }
    const [x0, ...rest] = limbs as unknown as [number, ...number[]]
    if (x0 >= 2 ** 51 - 19 && rest.every((limb) => limb === 2 ** 51 - 1)) {
      limbs.fill(0)
      limbs[0] = x0 - (2 ** 51 - 19)
    }
  }

  /** What lane 0 has there. */
  #valueAt(address: number): bigint {
    this.#readCanonical(address, 0, this.#y)
    return this.#y.reduceRight((sum, limb) => (sum << 51n) + BigInt(limb), 0n)
  }

  #put(address: number, lane: 0 | 1, value: bigint): void {
    for (const [i, limb] of limbsOf(value).entries()) this.#doubles[address / 8 + 2 * i + lane] = limb
  }

  #copy(target: number, from: number, sizeBytes: number): void {
    this.#doubles.copyWithin(target / 8, from / 8, (from + sizeBytes) / 8)
  }

  #makeTables(affine: AffinePoint, { bits, count, entryCount }: TableShape, target: number): void {
    const tableSizeBytes = entryCount * entrySizeBytes
    for (const lane of [0, 1] as const) {
      this.#put(heldAt, lane, affine.x)
      this.#put(heldAt + yOffset, lane, affine.y)
      this.#put(heldAt + zOffset, lane, 1n)
      this.#put(heldAt + tOffset, lane, (affine.x * affine.y) % fieldOrder)
    }
    const pairCount = count / 2
    const tablesOf = (pair: number) => target + 2 * pair * tableSizeBytes
    const pointOf = (index: number) => pointsAt + index * pointSizeBytes
    // The first point of each table; lane 1 is one table ahead.
    for (let pair = 0; pair < pairCount; pair++) {
      this.#copy(pointOf(pair), heldAt, pointSizeBytes)
      this.#doubleTimes(heldAt, bits)
      for (let i = 1; i < pointSizeBytes / 8; i += 2)
        this.#doubles[pointOf(pair) / 8 + i] = this.#doubles[heldAt / 8 + i] as number
      if (pair < pairCount - 1) this.#doubleTimes(heldAt, bits)
    }
    this.#divide(pairCount, (pair) => this.#writeEntry(tablesOf(pair), tableSizeBytes))
    const together = Math.min(pairCount, pointsMax / entryCount)
    for (let pair = 0; pair < pairCount; pair += together) {
      for (let index = 0; index < together * entryCount; index++) {
        if (index % entryCount === 0) {
          this.#beginSum()
          this.#words[recordsAt / 4] = tablesOf(pair + index / entryCount)
          this.#words[recordsAt / 4 + 1] = tablesOf(pair + index / entryCount) + tableSizeBytes
        }
        this.#kernel.addEntries(pointAt, recordsAt)
        this.#copy(pointOf(index), pointAt, pointSizeBytes)
      }
      this.#divide(together * entryCount, (index) => {
        const tables = tablesOf(pair + Math.floor(index / entryCount))
        this.#writeEntry(tables + (index % entryCount) * entrySizeBytes, tableSizeBytes)
      })
    }
  }

  #doubleTimes(address: number, count: number): void {
    for (let i = 0; i < count; i++) this.#kernel.double(address)
  }

  /** What `#divide` left, as entries: that of lane 0 to `target`, that of lane 1 so much behind it. */
  #writeEntry(target: number, distance: number): void {
    this.#kernel.entry(entryAt, xAt, yAt)
    for (const lane of [0, 1]) {
      const first = (target + lane * distance) / 8
      for (let limb = 0; limb < entrySizeBytes / 8; limb++)
        this.#doubles[first + limb] = this.#doubles[entryAt / 8 + 2 * limb + lane] as number
    }
  }

  /** For each of the first points of `pointsAt`, from the last: puts x = X / Z and y = Y / Z to `xAt` and `yAt`. One inversion for all (Montgomery). */
  #divide(count: number, use: (index: number) => void): void {
    const kernel = this.#kernel
    const zOf = (i: number) => pointsAt + i * pointSizeBytes + zOffset
    const productOf = (i: number) => productsAt + i * elementSizeBytes
    this.#copy(productOf(0), zOf(0), elementSizeBytes)
    for (let i = 1; i < count; i++) kernel.multiply(productOf(i), productOf(i - 1), zOf(i))
    this.#invert(inverseAt, productOf(count - 1))
    for (let i = count - 1; i >= 0; i--) {
      if (i > 0) kernel.multiply(ownAt, inverseAt, productOf(i - 1))
      else this.#copy(ownAt, inverseAt, elementSizeBytes)
      kernel.multiply(inverseAt, inverseAt, zOf(i))
      const point = pointsAt + i * pointSizeBytes
      kernel.multiply(xAt, point, ownAt)
      kernel.multiply(yAt, point + yOffset, ownAt)
      use(i)
    }
  }

  /** a^(p - 2) = a^(2^255 - 21): 254 squares and eleven products. */
  #invert(target: number, a: number): void {
    const eleventh = this.#longPower(target, a)
    this.#extend(target, target, 5, eleventh)
  }

  /** a^((p - 5) / 8) = a^(2^252 - 3). */
  #rootPower(target: number, a: number): void {
    this.#longPower(target, a)
    this.#extend(target, target, 2, a)
  }

  /** a^(2^250 - 1); where a^11 is. `target` is not `a`. */
  #longPower(target: number, a: number): number {
    const { multiply, squareTimes } = this.#kernel
    const [low, chain, next] = powerAt
    squareTimes(low, a, 1)
    squareTimes(next, low, 2)
    multiply(chain, a, next) // 9
    multiply(low, low, chain) // 11
    this.#extend(chain, low, 1, chain) // 2^5 - 1
    this.#extend(chain, chain, 5, chain) // 10
    this.#extend(target, chain, 10, chain) // 20
    this.#extend(target, target, 20, target) // 40
    this.#extend(chain, target, 10, chain) // 50
    this.#extend(target, chain, 50, chain) // 100
    this.#extend(target, target, 100, target) // 200
    this.#extend(target, target, 50, chain) // 250
    return low
  }

  /** from^(2^count) times `by`: with `count` ones more, if `by` is the power of so many. */
  #extend(target: number, from: number, count: number, by: number): void {
    const next = powerAt[2]
    this.#kernel.squareTimes(next, from, count)
    this.#kernel.multiply(target, next, by)
  }
}

/** The entry of a digit in a table, as `Kernel.run` wants it. */
function entryOf(table: number, digit: number): number {
  if (digit === 0) return identityAt
  return digit > 0 ? table + (digit - 1) * entrySizeBytes : table + (-digit - 1) * entrySizeBytes + 1
}
