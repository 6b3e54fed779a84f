/**
 * Damage for fuzzing, from a seed. Bytes are damaged as bytes; or, where they have a structure, by it: CBOR and JSON as trees, texts by
 * lines and words, base64 by what is in it, and so on inwards, each written again in its one form, so that damage gets past the outer
 * form to the checks behind it.
 */
import { concatBytes, encodeUtf8, fromBase64, toBase64 } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, decodeCborAt, encodeCbor } from '@healthblock/encoding/cbor'
import { seededRandom } from './seeded-random.ts'

/** Longest damaged input. */
export const inputBytesMax = 300_000
/** How far damage goes inwards: a CBOR map in a base64 in a JSON in … */
const depthMax = 5
const interesting = [0x00, 0x01, 0x0a, 0x17, 0x18, 0x20, 0x2b, 0x3d, 0x5f, 0x7f, 0x80, 0x9b, 0xa0, 0xbb, 0xf6, 0xff]
const numbers = [0, 1, 2, 3, 4, 7, 23, 24, 255, 256, 4096, 65_535, 65_536, 2 ** 31, 2 ** 32, 1_750_000_000_000]
const limits = [2 ** 53 - 1, 2 ** 53 - 2, 2 ** 48, 2 ** 40]
const keys = ['v', 't', 'a', 'state', 'trail', 'c', 'o', 'anchor', 'extra', 'constructor', '__proto__', 'witnesses']

/** Random numbers from a seed. */
export class Random {
  readonly #next: () => number

  constructor(seed: number) {
    this.#next = seededRandom(seed)
  }

  /** From 0 to below `below`, whole. */
  below(below: number): number {
    return (this.#next() * 2 ** 32) % below
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }
}

/** Changes bytes in a few of the ways in which damaged and hostile bytes differ from good ones. */
export function mutate(random: Random, corpus: readonly Uint8Array[]): Uint8Array {
  let bytes = Uint8Array.from(random.pick(corpus))
  const steps = 1 + random.below(6)
  for (let step = 0; step < steps; step++) {
    const at = random.below(bytes.length + 1)
    const length = 1 + random.below(random.below(4) === 0 ? 64 : 8)
    const splice = (removed: number, ...added: Uint8Array[]): void => {
      bytes = concatBytes(bytes.subarray(0, at), ...added, bytes.subarray(at + removed))
    }
    switch (random.below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = random.pick(interesting)
        break
      case 2:
        splice(0, random.bytes(length))
        break
      case 3:
        splice(length)
        break
      case 4:
        bytes = bytes.slice(0, at)
        break
      case 5:
        splice(0, bytes.subarray(at, at + length))
        break
      case 6: {
        const other = random.pick(corpus)
        const from = random.below(other.length + 1)
        splice(random.below(length), other.subarray(from, from + length * 4))
        break
      }
      default:
        splice(
          length,
          Uint8Array.from({ length }, () => random.pick(interesting)),
        )
    }
  }
  return bytes.subarray(0, inputBytesMax)
}

/** What JSON and CBOR hold. */
type Tree = null | boolean | number | string | Uint8Array | Tree[] | { [key: string]: Tree }

/** A form of bytes: how they come apart, and how they are written again. */
interface Form {
  /** Undefined for bytes of another form. */
  read(bytes: Uint8Array): Tree | undefined
  write(tree: Tree): Uint8Array
}

const isTree = (value: Tree | undefined): value is Tree[] | { [key: string]: Tree } =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array)

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}

/** The nearest tree that canonical CBOR can hold. */
function fitted(tree: Tree): CborValue {
  if (typeof tree === 'number') return Number.isFinite(tree) ? Math.min(Math.abs(Math.trunc(tree)), 2 ** 53 - 1) : 0
  if (typeof tree === 'string') return /^[a-z0-9._-]{1,64}$/.test(tree) ? tree : 'x'
  if (Array.isArray(tree)) return tree.map(fitted)
  if (!isTree(tree)) return tree instanceof Uint8Array ? tree : 0
  const entries = Object.entries(tree).map(([key, value]) => [fitted(key), fitted(value)] as const)
  return Object.fromEntries(entries)
}

const cborForm: Form = {
  read: (bytes) => attempt(() => decodeCbor(bytes) as Tree),
  write: (tree) => encodeCbor(fitted(tree)),
}

const sequenceForm: Form = {
  read: (bytes) =>
    attempt(() => {
      const items: Tree[] = []
      for (let at = 0; at < bytes.length; ) {
        const { value, end } = decodeCborAt(bytes, at)
        items.push(value as Tree)
        at = end
      }
      return items
    }),
  write: (tree) => concatBytes(...(Array.isArray(tree) ? tree : [tree]).map((item) => encodeCbor(fitted(item)))),
}

const jsonForm: Form = {
  read: (bytes) => attempt(() => JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Tree),
  write: (tree) => encodeUtf8((JSON.stringify(tree) ?? '').toWellFormed()),
}

/** As C2SP's entry bundles: each item behind its length in two bytes. */
const bundleForm: Form = {
  read(bytes) {
    const items: Tree[] = []
    let at = 0
    while (at + 2 <= bytes.length) {
      const length = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
      items.push(bytes.subarray(at + 2, at + 2 + length))
      at += 2 + length
    }
    return at === bytes.length && items.length > 0 ? items : undefined
  },
  write: (tree) =>
    concatBytes(
      ...(Array.isArray(tree) ? tree : []).flatMap((item) => {
        const bytes = item instanceof Uint8Array ? item : new Uint8Array(0)
        return [Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]
      }),
    ),
}

/** Texts: lines, of words and what is between them. */
const textForm: Form = {
  read(bytes) {
    const text = attempt(() => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
    if (text === undefined || !/[\n +/]/.test(text) || bytes.some((byte) => byte < 9)) return undefined
    return text.split(/(?<=\n)/).map((line) => line.split(/([ +/\n])/))
  },
  write: (tree) => encodeUtf8(flat(tree).toWellFormed()),
}

function flat(tree: Tree): string {
  if (Array.isArray(tree)) return tree.map(flat).join('')
  if (tree instanceof Uint8Array) return toBase64(tree)
  return isTree(tree) ? Object.values(tree).map(flat).join('') : String(tree)
}

const base64Pattern = /^[A-Za-z0-9+/_-]{8,}={0,2}$/

function formOf(bytes: Uint8Array): { form: Form; tree: Tree } | undefined {
  const first = bytes[0] as number
  const forms =
    first === 0x7b || first === 0x5b ? [jsonForm, cborForm, textForm] : [cborForm, sequenceForm, textForm, bundleForm]
  for (const form of forms) {
    const tree = form.read(bytes)
    if (isTree(tree)) return { form, tree }
  }
  return undefined
}

/** Every tree inside of another, itself included: what may be put elsewhere. */
function partsOf(tree: Tree, into: Tree[] = []): Tree[] {
  into.push(tree)
  if (isTree(tree) && into.length < 4096) for (const inner of Object.values(tree)) partsOf(inner as Tree, into)
  return into
}

/** Damages trees; `donors` are good parts that may stand where they do not belong. */
class Gardener {
  readonly #random: Random
  readonly #donors: readonly Tree[]
  readonly #depth: number

  constructor(random: Random, donors: readonly Tree[], depth: number) {
    this.#random = random
    this.#donors = donors
    this.#depth = depth
  }

  damage(tree: Tree): Tree {
    const random = this.#random
    if (random.below(40) === 0) return this.#other()
    if (Array.isArray(tree)) return this.#list(tree)
    if (isTree(tree)) return this.#map(tree)
    if (typeof tree === 'number') return this.#number(tree)
    if (tree instanceof Uint8Array) return this.#bytes(tree)
    if (typeof tree === 'string') return this.#text(tree)
    return this.#other()
  }

  #other(): Tree {
    const random = this.#random
    switch (random.below(6)) {
      case 0:
        return random.pick([...numbers, ...limits])
      case 1:
        return random.bytes(random.pick([0, 1, 8, 16, 31, 32, 33, 64]))
      case 2:
        return random.pick<Tree>(['', 'x', [], {}, null, true, [[]], [[[[[[]]]]]]])
      default:
        return random.pick(this.#donors)
    }
  }

  #list(list: readonly Tree[]): Tree {
    const random = this.#random
    const at = random.below(list.length + 1)
    if (at < list.length && random.below(4) > 0) return list.with(at, this.damage(list[at] as Tree))
    const copy = [...list]
    switch (random.below(6)) {
      case 0:
        copy.splice(at, 1)
        break
      case 1:
        copy.splice(at, 0, copy[at] ?? this.#other())
        break
      case 2:
        copy.splice(at, 0, this.#other())
        break
      case 3: {
        const other = random.below(list.length + 1)
        const [a, b] = [copy[at], copy[other]]
        if (a !== undefined && b !== undefined) [copy[at], copy[other]] = [b, a]
        break
      }
      case 4:
        copy.length = at
        break
      default:
        for (let i = random.below(2) === 0 ? 2 : random.below(300); i > 0; i--) copy.push(copy[at] ?? 0)
    }
    return copy
  }

  #map(map: { readonly [key: string]: Tree }): Tree {
    const random = this.#random
    const entries = Object.entries(map)
    const at = random.below(entries.length + 1)
    const entry = entries[at]
    if (entry !== undefined && random.below(4) > 0) entries[at] = [entry[0], this.damage(entry[1])]
    else {
      const other = random.pick([entries[0] ?? ['x', 0], ...entries])
      switch (random.below(4)) {
        case 0:
          entries.splice(at, 1)
          break
        case 1:
          entries.splice(at, 0, [random.pick(keys), this.#other()])
          break
        case 2:
          if (entry !== undefined) entries[at] = [random.pick(keys), entry[1]]
          break
        default:
          if (entry !== undefined) entries[at] = [entry[0], other[1]]
      }
    }
    // `fromEntries` makes own properties of every name.
    return Object.fromEntries(entries)
  }

  #number(value: number): Tree {
    const random = this.#random
    const near = [value + 1, value - 1, value * 2, Math.floor(value / 2), value ^ (1 << random.below(31)), -value]
    return random.pick([...near, ...near, ...numbers, ...limits])
  }

  #bytes(bytes: Uint8Array): Tree {
    const random = this.#random
    if (random.below(3) === 0) return random.pick([bytes.slice(1), bytes.slice(0, -1), new Uint8Array(bytes.length)])
    if (random.below(4) === 0) return random.pick(this.#donors.filter((one) => one instanceof Uint8Array).concat(bytes))
    return reshapeOne(random, bytes, this.#donors, this.#depth + 1)
  }

  #text(text: string): Tree {
    const random = this.#random
    if (/^[0-9]{1,16}$/.test(text) && random.below(4) > 0) return flat(this.#number(Number(text)))
    if (base64Pattern.test(text) && random.below(6) > 0) {
      const bytes = attempt(() => fromBase64(text))
      if (bytes !== undefined) return toBase64(this.#bytes(bytes) as Uint8Array)
    }
    if (random.below(8) === 0) return random.pick(this.#donors.filter((one) => typeof one === 'string').concat(text))
    const damaged = reshapeOne(random, encodeUtf8(text), this.#donors, this.#depth + 1)
    return new TextDecoder().decode(damaged)
  }
}

function reshapeOne(random: Random, bytes: Uint8Array, donors: readonly Tree[], depth: number): Uint8Array {
  const found = depth >= depthMax ? undefined : formOf(bytes)
  if (found === undefined) return mutate(random, [bytes])
  const gardener = new Gardener(random, donors, depth)
  let tree: Tree = found.tree
  for (let step = random.below(10) === 0 ? 3 : 1; step > 0; step--) tree = gardener.damage(tree)
  // What its form cannot write is damaged as bytes.
  return attempt(() => found.form.write(tree)) ?? mutate(random, [bytes])
}

const donorsOf = new WeakMap<Uint8Array, readonly Tree[]>()

/** Changes one good input by its structure, with parts of the others; as bytes, if it has none. */
export function reshape(random: Random, corpus: readonly Uint8Array[]): Uint8Array {
  const bytes = random.pick(corpus)
  const other = random.pick(corpus)
  let donors = donorsOf.get(other)
  if (donors === undefined) {
    const found = formOf(other)
    donors = found === undefined ? [other] : partsOf(found.tree)
    donorsOf.set(other, donors)
  }
  return reshapeOne(random, bytes, donors, 0).subarray(0, inputBytesMax)
}
