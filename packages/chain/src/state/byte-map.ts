/**
 * Maps whose keys are byte strings: no text is made for a key that is asked for. Keys come from anybody, so their places follow from secret
 * numbers: the sum of each byte times the number of its position, modulo 2^32, then stirred. Of two keys chosen without the numbers the
 * sums are equal with a chance of at most 2^-25; stirring spreads those that follow each other.
 */
import { randomBytes } from '@healthblock/crypto/random'

/** Bytes of a key that decide its place. Records have shorter keys; longer ones are told apart all the same. */
const hashedSizeBytes = 256
/** Drawn when the first key is asked for; the last one is the length's. */
let factors: Int32Array | undefined

/** A key with its place, to be looked up in any map of this process. */
export interface ByteKey {
  readonly bytes: Uint8Array
  readonly hash: number
}

/** The key of these bytes. They must not change while it is used; no map keeps them. */
export function byteKey(bytes: Uint8Array): ByteKey {
  factors ??= new Int32Array(randomBytes(4 * (hashedSizeBytes + 1)).slice().buffer)
  const { length } = bytes
  const end = Math.min(length, hashedSizeBytes)
  let hash = Math.imul(factors[hashedSizeBytes] as number, length)
  for (let i = 0; i < end; i++) hash = (hash + Math.imul(factors[i] as number, bytes[i] as number)) | 0
  // The last step of MurmurHash3: one to one, each bit depends on all.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return { bytes, hash: hash ^ (hash >>> 16) }
}

/** Never fewer slots than this for each entry: what is searched meets few others. */
const slotsPerEntry = 2
const slotBitsMin = 6
const keySizeBytesUsual = 64

/** A map from byte strings, of which it keeps copies side by side. It iterates in the order in which keys came, and forgets none. */
export class ByteMap<Value> {
  readonly #values: Value[] = []
  readonly #hashes: number[] = []
  /** Where each key ends in `#bytes`, in which it begins where the one before it ends. */
  readonly #ends: number[] = [0]
  #bytes = new Uint8Array(keySizeBytesUsual)
  /** Number of an entry, from 1; 0: free. */
  #slots = new Int32Array(2 ** slotBitsMin)
  #shift = 32 - slotBitsMin

  /** Number of keys. */
  get size(): number {
    return this.#values.length
  }

  /** The value; undefined if the key has none. */
  get(key: ByteKey): Value | undefined {
    return this.#values[this.#find(key)]
  }

  /** True if the key has a value, which may be `undefined`. */
  has(key: ByteKey): boolean {
    return this.#find(key) >= 0
  }

  /** Sets a value. */
  set(key: ByteKey, value: Value): void {
    const position = this.#find(key)
    if (position >= 0) {
      this.#values[position] = value
      return
    }
    const start = this.#ends.at(-1) as number
    const end = start + key.bytes.length
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(2 * end)
      grown.set(this.#bytes.subarray(0, start))
      this.#bytes = grown
    }
    this.#bytes.set(key.bytes, start)
    this.#ends.push(end)
    this.#hashes.push(key.hash)
    this.#values.push(value)
    if (this.size * slotsPerEntry > this.#slots.length) this.#grow()
    else this.#occupy(key.hash, this.size)
  }

  /** Copies of the keys, and their values. */
  *entries(): Iterable<readonly [key: Uint8Array, value: Value]> {
    for (const [position, value] of this.#values.entries()) {
      yield [this.#bytes.slice(this.#ends[position], this.#ends[position + 1]), value]
    }
  }

  /** Position of the key's entry, or -1. */
  #find({ hash, bytes }: ByteKey): number {
    const slots = this.#slots
    const last = slots.length - 1
    for (let slot = hash >>> this.#shift; ; slot = (slot + 1) & last) {
      const position = (slots[slot] as number) - 1
      if (position < 0 || (this.#hashes[position] === hash && this.#isAt(position, bytes))) return position
    }
  }

  #isAt(position: number, key: Uint8Array): boolean {
    const bytes = this.#bytes
    const start = this.#ends[position] as number
    if ((this.#ends[position + 1] as number) - start !== key.length) return false
    for (let i = 0; i < key.length; i++) if (bytes[start + i] !== key[i]) return false
    return true
  }

  #occupy(hash: number, number: number): void {
    const slots = this.#slots
    const last = slots.length - 1
    let slot = hash >>> this.#shift
    while (slots[slot] !== 0) slot = (slot + 1) & last
    slots[slot] = number
  }

  #grow(): void {
    this.#shift--
    this.#slots = new Int32Array(2 * this.#slots.length)
    for (const [position, hash] of this.#hashes.entries()) this.#occupy(hash, position + 1)
  }
}
