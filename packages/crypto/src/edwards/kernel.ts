/**
 * Arithmetic of edwards25519 for signatures whose keys are known (SPEC.md §1, "Known keys"), as a WebAssembly module that is written here
 * instruction by instruction. Two independent computations run at once, one in each lane of a vector of two doubles. Everything is public:
 * nothing takes constant time.
 *
 * A field element is x = sum of x_i 2^(51 i), i = 0 .. 4, with whole numbers x_i in doubles. It is *reduced* if |x_i| <= 2^50 + 2^12.
 * A product of two limbs has up to 102 bits, and a fused multiply-add splits it into two doubles without an error: with C = 1.5 * 2^103,
 * whose neighbours are 2^51 apart, fma(a, b, C) - C is the multiple of 2^51 next to a b, and what is left, at most 2^50, is a second fma
 * away (Emmart, Zheng, Weems, Faster modular exponentiation using double precision floating point arithmetic on the GPU, 2018). It needs
 * |a b| <= 2^102: reduced times the sum of up to three reduced ones. Both parts are added up as integers, by the bits of the doubles.
 *
 * Points are (X : Y : Z : T), x = X / Z, y = Y / Z, T Z = X Y, and the formulas those of Hisil, Wong, Carter, Dawson, Twisted Edwards curves
 * revisited, 2008. For a = -1 and this d they have no exceptions.
 */
import { fieldOrder } from '../inner/prime-order.ts'
import { doubleBits, type FunctionBody, instantiate, type Local, type ModuleMemory, ModuleText } from './assembler.ts'
import { signedLimbs } from './limbs.ts'

const limbCount = 5
const limbBits = 51
const limbSizeBytes = 16
/** A field element of two lanes: five vectors. */
export const elementSizeBytes = limbCount * limbSizeBytes
/** X, Y, Z, T of two lanes, in this order. */
export const pointSizeBytes = 4 * elementSizeBytes
/** An entry of a table, one affine point of no lane: five doubles each of y + x, y - x, 2 d x y. */
export const entrySizeBytes = 3 * limbCount * 8
/** A step of `run`: for each lane the address of an entry, and 1 more if its negative is to be added. */
export const recordSizeBytes = 8
/** A round is four doublings, but for the first, and some additions: scalars are cut into pieces of 32 bits, of eight digits each. */
export const roundCount = 8

/** d = -121665 / 121666 (RFC 8032 §5.1). */
export const curveD = 37095705934669439343138083508754565189542113879843219016388785533085940283555n
const twiceD = (2n * curveD) % fieldOrder

/** C above. */
const split = 1.5 * 2 ** 103
/** Numbers up to 2^51 added to it are in the low bits of the sum. */
const unit = 1.5 * 2 ** 52

/** The limbs of a field element 0 <= value < p, reduced. */
export function limbsOf(value: bigint): number[] {
  // Between -p / 2 and p / 2, so that the last limb is small as well.
  const nearest = value > fieldOrder / 2n ? value - fieldOrder : value
  return signedLimbs(nearest, { count: limbCount, bits: limbBits })
}

/** Limbs in locals. */
type Element = readonly Local[]

function loadElement(f: FunctionBody, pointer: Local, offset = 0): Element {
  return Array.from({ length: limbCount }, (_, i) =>
    f
      .get(pointer)
      .load(offset + limbSizeBytes * i)
      .name(),
  )
}

function storeElement(f: FunctionBody, pointer: Local, element: Element, offset = 0): void {
  for (const [i, limb] of element.entries())
    f.get(pointer)
      .get(limb)
      .store(offset + limbSizeBytes * i)
}

function limbwise(f: FunctionBody, operation: 'f64x2.add' | 'f64x2.sub', a: Element, b: Element): Element {
  return a.map((limb, i) =>
    f
      .get(limb)
      .get(b[i] as Local)
      .vector(operation)
      .name(),
  )
}

const add = (f: FunctionBody, a: Element, b: Element): Element => limbwise(f, 'f64x2.add', a, b)
const subtract = (f: FunctionBody, a: Element, b: Element): Element => limbwise(f, 'f64x2.sub', a, b)

/** Reduced, of limbs up to 2^53. */
function carry(f: FunctionBody, a: Element): Element {
  // Adding C rounds to a multiple of 2^51.
  const tops = a.map((limb) => f.get(limb).double(split).vector('f64x2.add').double(split).vector('f64x2.sub').name())
  return a.map((limb, k) => {
    f.get(tops[(k + 4) % limbCount] as Local).double((k === 0 ? 19 : 1) * 2 ** -limbBits)
    f.get(limb)
      .get(tops[k] as Local)
      .vector('f64x2.sub')
    return f.vector('f64x2.relaxed_madd').name()
  })
}

/** A product of two limbs, and in which column it is: the sum of their places. */
type Term = readonly [column: number, a: Local, b: Local]

/** Sums of one column as bits of doubles, and what the bits have too much of. */
interface Column {
  readonly sum: Local
  readonly bias: bigint
}

/** The columns of the split products: low parts in their own, high parts in the next one. */
function columnsOf(f: FunctionBody, terms: readonly Term[]): Column[] {
  const columns: Column[] = []
  const gather = (k: number, part: Local, bits: bigint) => {
    const known = columns[k]
    if (known !== undefined) f.get(known.sum).get(part).vector('i64x2.add').set(known.sum)
    columns[k] = { sum: known?.sum ?? part, bias: (known?.bias ?? 0n) + bits }
  }
  for (const [k, a, b] of terms) {
    const high = f.get(a).get(b).double(split).vector('f64x2.relaxed_madd').name()
    // unit - (high - C), which is exact.
    f.get(a).get(b)
    f.double(split + unit)
      .get(high)
      .vector('f64x2.sub')
    const low = f.vector('f64x2.relaxed_madd').name()
    gather(k, low, doubleBits(unit))
    gather(k + 1, high, doubleBits(split))
  }
  return columns
}

/**
 * The reduced sum of products. A column is at most 5 2^51 + 5 2^50, with 19 times the one five places above it less than 2^58.3; 2^60 more
 * makes it positive, and 2^50 more rounds what is carried, which is then 512 too much and at most 150 else.
 */
function reducedSum(f: FunctionBody, terms: readonly Term[]): Element {
  const columns = columnsOf(f, terms)
  const tooMuch = (1n << 60n) >> BigInt(limbBits)
  const folded = Array.from({ length: limbCount }, (_, k) => {
    const [own, upper] = [columns[k], columns[k + limbCount]] as [Column, Column]
    f.get(upper.sum).i32(4).vector('i64x2.shl').get(upper.sum).i32(1).vector('i64x2.shl').vector('i64x2.add')
    f.get(upper.sum).vector('i64x2.add').get(own.sum).vector('i64x2.add')
    return f
      .constant((1n << 60n) + (1n << 50n) - own.bias - 19n * upper.bias)
      .vector('i64x2.add')
      .name()
  })
  const carries = folded.map((limb) => f.get(limb).i32(limbBits).vector('i64x2.shr_u').name())
  return folded.map((limb, k) => {
    const weight = k === 0 ? 19n : 1n
    f.get(limb)
      .constant((1n << BigInt(limbBits)) - 1n)
      .vector('v128.and')
    f.get(carries[(k + limbCount - 1) % limbCount] as Local)
    if (k === 0) f.constant(weight).vector('i32x4.mul')
    f.vector('i64x2.add')
    // From a whole number below 2^52 to a double.
    f.constant(doubleBits(2 ** 52)).vector('i64x2.add')
    f.double(2 ** 52 + 2 ** 50 + Number(weight * tooMuch)).vector('f64x2.sub')
    return f.name()
  })
}

function multiply(f: FunctionBody, a: Element, b: Element): Element {
  return reducedSum(
    f,
    a.flatMap((x, i) => b.map((y, j): Term => [i + j, x, y])),
  )
}

function square(f: FunctionBody, a: Element): Element {
  const twice = add(f, a, a)
  return reducedSum(
    f,
    a.flatMap((x, i) => a.slice(i).map((y, j): Term => [2 * i + j, x, j === 0 ? y : (twice[i + j] as Local)])),
  )
}

function constantElement(f: FunctionBody, value: bigint): Element {
  return limbsOf(value).map((limb) => f.double(limb).name())
}

interface Coordinates {
  readonly x: Element
  readonly y: Element
  readonly z: Element
  readonly t: Element
}

function loadPoint(f: FunctionBody, pointer: Local): Coordinates {
  const coordinate = (i: number) => loadElement(f, pointer, i * elementSizeBytes)
  return { x: coordinate(0), y: coordinate(1), z: coordinate(2), t: coordinate(3) }
}

/** (E F : G H : F G : E H), where E, F and G are sums of up to four reduced elements and H of up to three. */
function storePoint(f: FunctionBody, pointer: Local, sums: { e: Element; f: Element; g: Element; h: Element }): void {
  // The last one is only multiplied by reduced ones.
  const [ee, ff, gg, hh] = [carry(f, sums.e), carry(f, sums.f), carry(f, sums.g), sums.h]
  for (const [i, [a, b]] of (
    [
      [ee, ff],
      [gg, hh],
      [ff, gg],
      [ee, hh],
    ] as const
  ).entries())
    storeElement(f, pointer, multiply(f, a, b), i * elementSizeBytes)
}

function double(f: FunctionBody, pointer: Local): void {
  const { x, y, z } = loadPoint(f, pointer)
  const [xx, yy, zz, xy] = [square(f, x), square(f, y), square(f, z), multiply(f, x, y)]
  const g = subtract(f, yy, xx)
  const sum = add(f, yy, xx)
  const h = sum.map((limb) => f.double(0).get(limb).vector('f64x2.sub').name())
  storePoint(f, pointer, { e: add(f, xy, xy), f: subtract(f, g, add(f, zz, zz)), g, h })
}

/** What two points' sum is made of: (Y1 - X1)(Y2 - X2), (Y1 + X1)(Y2 + X2), 2 d T1 T2, 2 Z1 Z2. */
function storeSum(f: FunctionBody, pointer: Local, a: Element, b: Element, c: Element, d: Element): void {
  const sums = { e: subtract(f, b, a), f: subtract(f, d, c), g: add(f, d, c), h: add(f, b, a) }
  storePoint(f, pointer, sums)
}

/** The entries that a record names, of both lanes; those of negatives as the negatives are. */
function loadEntries(f: FunctionBody, record: Local): { plus: Element; minus: Element; product: Element } {
  const [low, high] = [0, 4].map((offset) => {
    const word = f.get(record).loadWord(offset).name('i32')
    const sign = f.get(word).i32(1).integer('and').name('i32')
    const base = f.get(word).get(sign).integer('sub').name('i32')
    // y + x and y - x change places.
    const shift = f
      .get(sign)
      .i32(limbCount * 8)
      .integer('mul')
      .name('i32')
    const plus = f.get(base).get(shift).integer('add').name('i32')
    const minus = f
      .get(base)
      .i32(limbCount * 8)
      .integer('add')
      .get(shift)
      .integer('sub')
      .name('i32')
    return { sign, base, plus, minus }
  }) as [Record<'sign' | 'base' | 'plus' | 'minus', Local>, Record<'sign' | 'base' | 'plus' | 'minus', Local>]
  const both = (of: 'base' | 'plus' | 'minus', offset: number): Element =>
    Array.from({ length: limbCount }, (_, i) => {
      f.get(high[of])
      return f
        .get(low[of])
        .loadLow(offset + 8 * i)
        .loadHigh(offset + 8 * i)
        .name()
    })
  const signs = f.get(low.sign).splat().get(high.sign).replaceHigh().i32(63).vector('i64x2.shl').name()
  const product = both('base', 2 * limbCount * 8).map((limb) => f.get(limb).get(signs).vector('v128.xor').name())
  return { plus: both('plus', 0), minus: both('minus', 0), product }
}

function addEntries(f: FunctionBody, pointer: Local, record: Local): void {
  const { x, y, z, t } = loadPoint(f, pointer)
  const { plus, minus, product } = loadEntries(f, record)
  const a = multiply(f, subtract(f, y, x), minus)
  const b = multiply(f, add(f, y, x), plus)
  storeSum(f, pointer, a, b, multiply(f, t, product), add(f, z, z))
}

function addLanes(f: FunctionBody, pointer: Local): void {
  const { x, y, z, t } = loadPoint(f, pointer)
  const timesOther = (element: Element) =>
    multiply(
      f,
      element,
      element.map((limb) => f.get(limb).get(limb).swap().name()),
    )
  const a = timesOther(carry(f, subtract(f, y, x)))
  const b = timesOther(carry(f, add(f, y, x)))
  const zz = timesOther(z)
  storeSum(f, pointer, a, b, multiply(f, timesOther(t), constantElement(f, twiceD)), add(f, zz, zz))
}

/** The module's functions: of addresses, multiples of 16, but an entry's of 8, and of counts, which are named so. Results are reduced. */
export interface Kernel {
  readonly memory: ModuleMemory
  /** a b, of reduced elements. */
  multiply(target: number, a: number, b: number): void
  /** a^(2^count), count at least 1. */
  squareTimes(target: number, a: number, count: number): void
  /** Reduces limbs up to 2^53. */
  carry(target: number, a: number): void
  /** Of affine x and y: the three elements of an entry, still in two lanes. */
  entry(target: number, x: number, y: number): void
  double(point: number): void
  /** Adds what one record names. */
  addEntries(point: number, record: number): void
  /** Both lanes become the sum of the two. */
  addLanes(point: number): void
  /** `roundCount` rounds of additions, then some more, at least one of each: records in their order. */
  run(point: number, records: number, perRoundCount: number, lastCount: number): void
}

/** A kernel with so many pages of 64 KiB; undefined where the platform lacks relaxed vector instructions, or so much memory. */
export function createKernel(pages: number): Kernel | undefined {
  const text = new ModuleText()
  const three = (f: FunctionBody) => f.parameters as [Local, Local, Local]
  text.add('multiply', 3, (f) => {
    const [target, a, b] = three(f)
    storeElement(f, target, multiply(f, loadElement(f, a), loadElement(f, b)))
  })
  text.add('squareTimes', 3, (f) => {
    const [target, a, count] = three(f)
    const limbs = loadElement(f, a)
    f.repeat(count, () => {
      for (const [i, limb] of square(f, limbs).entries()) f.get(limb).set(limbs[i] as Local)
    })
    storeElement(f, target, limbs)
  })
  text.add('carry', 2, (f) => {
    const [target, a] = three(f)
    storeElement(f, target, carry(f, loadElement(f, a)))
  })
  text.add('entry', 3, (f) => {
    const [target, xAt, yAt] = three(f)
    const [x, y] = [loadElement(f, xAt), loadElement(f, yAt)]
    const product = multiply(f, multiply(f, x, y), constantElement(f, twiceD))
    for (const [i, element] of [carry(f, add(f, y, x)), carry(f, subtract(f, y, x)), product].entries())
      storeElement(f, target, element, i * elementSizeBytes)
  })
  const doubleIndex = text.add('double', 1, (f) => double(f, three(f)[0]))
  const addIndex = text.add('addEntries', 2, (f) => addEntries(f, three(f)[0], three(f)[1]))
  text.add('addLanes', 1, (f) => addLanes(f, three(f)[0]))
  text.add('run', 4, (f) => {
    const [point, record, perRound, last] = f.parameters as [Local, Local, Local, Local]
    const additions = (count: Local) => {
      const left = f.get(count).name('i32')
      f.repeat(left, () => {
        f.get(point).get(record).call(addIndex)
        f.get(record).i32(recordSizeBytes).integer('add').set(record)
      })
    }
    additions(perRound)
    const rounds = f.i32(roundCount - 1).name('i32')
    f.repeat(rounds, () => {
      for (let i = 0; i < 4; i++) f.get(point).call(doubleIndex)
      additions(perRound)
    })
    additions(last)
  })
  return instantiate(text.bytes(pages)) as Kernel | undefined
}
