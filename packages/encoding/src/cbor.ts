/**
 * The subset of CBOR (RFC 8949) that HealthBlock's formats allow, in exactly one form: unsigned integers to 2^53 - 1,
 * byte strings, text of `[a-z0-9._-]{1,64}`, arrays and maps with text keys, all of definite length, shortest heads,
 * keys in dag-cbor's order (shorter first, then bytewise). Whatever decodes re-encodes to the same bytes, so the
 * decoder needs no second pass. It is written out here because general decoders accept more than one form.
 */
import { EncodingError } from './errors.ts'

/** A decoded value. Maps are objects without a prototype, so no key can reach one. */
export type CborValue = number | string | Uint8Array | CborValue[] | CborMap
/** A map with text keys. */
export interface CborMap {
  [key: string]: CborValue
}

/** Deepest nesting of arrays and maps. */
export const cborDepthMax = 8
/** Most elements of one array, or entries of one map. */
export const cborItemsMax = 65_536

const textPattern = /^[a-z0-9._-]{1,64}$/
const textDecoder = new TextDecoder('latin1')
/** Longest text whose length and bytes fit into one exact number. */
const shortTextMax = 6
const shortTextsMax = 1024
/** Good texts by length and bytes. */
const shortTexts = new Map<number, string>()

const majorUnsigned = 0
const majorBytes = 2
const majorText = 3
const majorArray = 4
const majorMap = 5

/** Writes into one growing buffer; bytes behind `length` are scratch. */
class Writer {
  bytes = new Uint8Array(1024)
  length = 0

  reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  head(major: number, value: number): void {
    this.reserve(9)
    const first = major << 5
    if (value < 24) this.bytes[this.length++] = first | value
    else if (value < 0x100) this.#big(first | 24, value, 1)
    else if (value < 0x10000) this.#big(first | 25, value, 2)
    else if (value < 0x100000000) this.#big(first | 26, value, 4)
    else this.#big(first | 27, value, 8)
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  text(text: string): void {
    this.head(majorText, text.length)
    this.reserve(text.length)
    for (let i = 0; i < text.length; i++) this.bytes[this.length++] = text.charCodeAt(i)
  }

  #big(first: number, value: number, width: number): void {
    this.bytes[this.length++] = first
    for (let i = width - 1; i >= 0; i--) {
      this.bytes[this.length + i] = value % 256
      value = Math.floor(value / 256)
    }
    this.length += width
  }
}

/** Encoding never waits and never calls itself, so one buffer serves all calls; what they return are copies. */
const writer = new Writer()

function forbidden(what: string, offset = 0): EncodingError {
  return new EncodingError(`${what} is not allowed`, { code: 'ERR_CBOR_FORBIDDEN', offset })
}

/** dag-cbor's order of map keys: by length, then bytewise. Texts here are ASCII, so code units are bytes. */
export function compareCborKeys(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : a > b ? 1 : 0
}

/** The keys of a map's entries, in order. Most maps have theirs so already, and are not sorted. */
function keysOf(map: CborMap): string[] {
  const keys = Object.keys(map)
  for (let i = 0; i < keys.length; i++) {
    const isInPlace = i === 0 || compareCborKeys(keys[i - 1] as string, keys[i] as string) < 0
    if (isInPlace && map[keys[i] as string] !== undefined) continue
    return keys.filter((one) => map[one] !== undefined).sort(compareCborKeys)
  }
  return keys
}

function write(writer: Writer, value: CborValue, depth: number): void {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) throw forbidden(`the number ${value}`)
    writer.head(majorUnsigned, value)
  } else if (typeof value === 'string') {
    if (!textPattern.test(value)) throw forbidden('text outside [a-z0-9._-]{1,64}')
    writer.text(value)
  } else if (value instanceof Uint8Array) {
    writer.head(majorBytes, value.length)
    writer.raw(value)
  } else if (depth >= cborDepthMax) {
    throw new EncodingError('nested too deep', { code: 'ERR_CBOR_LIMIT', offset: 0 })
  } else if (Array.isArray(value)) {
    if (value.length > cborItemsMax) throw new EncodingError('too many items', { code: 'ERR_CBOR_LIMIT', offset: 0 })
    writer.head(majorArray, value.length)
    for (const item of value) write(writer, item, depth + 1)
  } else if (value !== null && typeof value === 'object') {
    const keys = keysOf(value)
    writer.head(majorMap, keys.length)
    for (const key of keys) {
      if (!textPattern.test(key)) throw forbidden('a key outside [a-z0-9._-]{1,64}')
      writer.text(key)
      write(writer, value[key] as CborValue, depth + 1)
    }
  } else {
    throw forbidden(`a value of type ${value === null ? 'null' : typeof value}`)
  }
}

/**
 * Encodes a value in its one canonical form. Entries whose value is `undefined` are left out.
 *
 * @throws {EncodingError} `ERR_CBOR_FORBIDDEN` or `ERR_CBOR_LIMIT` for a value outside the subset.
 */
export function encodeCbor(value: CborValue): Uint8Array<ArrayBuffer> {
  writer.length = 0
  write(writer, value, 0)
  return writer.bytes.slice(0, writer.length)
}

/** Reads one value; `offset` is the next unread byte. */
class Reader {
  readonly bytes: Uint8Array
  offset: number
  argument = 0

  constructor(bytes: Uint8Array, offset: number) {
    this.bytes = bytes
    this.offset = offset
  }

  /** Reads a head and leaves its argument in `argument`. */
  head(): number {
    const at = this.offset
    const first = this.bytes[this.offset++]
    if (first === undefined) throw this.#truncated()
    const low = first & 31
    if (low < 24) this.argument = low
    else if (low > 27) throw forbidden('an indefinite or reserved length', at)
    else this.#long(1 << (low - 24), at)
    return first >> 5
  }

  #long(width: number, at: number): void {
    if (this.offset + width > this.bytes.length) throw this.#truncated()
    let value = 0
    for (let i = 0; i < width; i++) value = value * 256 + (this.bytes[this.offset + i] as number)
    this.offset += width
    const least = width === 1 ? 24 : 2 ** (width * 4)
    if (value < least) {
      throw new EncodingError('a head is not the shortest', { code: 'ERR_CBOR_NOT_CANONICAL', offset: at })
    }
    if (value > Number.MAX_SAFE_INTEGER) throw forbidden('an integer above 2^53 - 1', at)
    this.argument = value
  }

  #truncated(): EncodingError {
    return new EncodingError('the bytes end early', { code: 'ERR_CBOR_TRUNCATED', offset: this.bytes.length })
  }

  take(length: number): Uint8Array {
    const end = this.offset + length
    if (end > this.bytes.length) throw this.#truncated()
    const taken = this.bytes.subarray(this.offset, end)
    this.offset = end
    return taken
  }

  text(at: number): string {
    const length = this.argument
    if (length > 64) throw forbidden('text outside [a-z0-9._-]{1,64}', at)
    if (length <= shortTextMax) return this.#shortText(length, at)
    const text = textDecoder.decode(this.take(length))
    if (!textPattern.test(text)) throw forbidden('text outside [a-z0-9._-]{1,64}', at)
    return text
  }

  /** Keys of maps are few and short: each is decoded and tested once. */
  #shortText(length: number, at: number): string {
    const { bytes, offset } = this
    if (offset + length > bytes.length) throw this.#truncated()
    let number = length
    for (let i = offset; i < offset + length; i++) number = number * 256 + (bytes[i] as number)
    let text = shortTexts.get(number)
    if (text === undefined) {
      text = textDecoder.decode(bytes.subarray(offset, offset + length))
      if (!textPattern.test(text)) throw forbidden('text outside [a-z0-9._-]{1,64}', at)
      if (shortTexts.size < shortTextsMax) shortTexts.set(number, text)
    }
    this.offset = offset + length
    return text
  }

  value(depth: number): CborValue {
    const at = this.offset
    const major = this.head()
    switch (major) {
      case majorUnsigned:
        return this.argument
      case majorBytes:
        return this.take(this.argument)
      case majorText:
        return this.text(at)
      case majorArray:
      case majorMap:
        if (depth >= cborDepthMax || this.argument > cborItemsMax) {
          throw new EncodingError('nested too deep or too many items', { code: 'ERR_CBOR_LIMIT', offset: at })
        }
        return major === majorArray ? this.#array(depth) : this.#map(depth)
      default:
        throw forbidden(`CBOR major type ${major}`, at)
    }
  }

  /** Passes over one value without making it. */
  skip(): void {
    for (let open = 1; open > 0; open--) {
      const at = this.offset
      const major = this.head()
      if (major === majorBytes || major === majorText) this.skipBytes(this.argument)
      else if (major === majorArray || major === majorMap) {
        if (this.argument > cborItemsMax) {
          throw new EncodingError('too many items', { code: 'ERR_CBOR_LIMIT', offset: at })
        }
        open += major === majorArray ? this.argument : 2 * this.argument
      } else if (major !== majorUnsigned) throw forbidden(`CBOR major type ${major}`, at)
    }
  }

  skipBytes(length: number): void {
    if (this.offset + length > this.bytes.length) throw this.#truncated()
    this.offset += length
  }

  #array(depth: number): CborValue[] {
    const count = this.argument
    const items: CborValue[] = []
    for (let i = 0; i < count; i++) items.push(this.value(depth + 1))
    return items
  }

  #map(depth: number): CborMap {
    const count = this.argument
    const map: CborMap = Object.create(null)
    let previous = ''
    for (let i = 0; i < count; i++) {
      const at = this.offset
      if (this.head() !== majorText) throw forbidden('a key that is not text', at)
      const key = this.text(at)
      if (i > 0 && compareCborKeys(previous, key) >= 0) {
        throw new EncodingError('keys are not in order', { code: 'ERR_CBOR_NOT_CANONICAL', offset: at })
      }
      previous = key
      map[key] = this.value(depth + 1)
    }
    return map
  }
}

/**
 * Decodes exactly one canonical value that fills `bytes`. Byte strings in the result are views into `bytes`.
 *
 * @throws {EncodingError} for anything that `encodeCbor` would not have written.
 */
export function decodeCbor(bytes: Uint8Array): CborValue {
  const { value, end } = decodeCborAt(bytes, 0)
  if (end !== bytes.length) {
    throw new EncodingError('bytes follow the value', { code: 'ERR_CBOR_TRAILING', offset: end })
  }
  return value
}

/**
 * Decodes one canonical value that begins at `offset` and says where it ends: for CBOR sequences (RFC 8742).
 *
 * @throws {EncodingError} as `decodeCbor`.
 */
export function decodeCborAt(bytes: Uint8Array, offset: number): { value: CborValue; end: number } {
  const reader = new Reader(bytes, offset)
  const value = reader.value(0)
  return { value, end: reader.offset }
}

/**
 * Says where the value that begins at `offset` ends, without making it. Whether it is canonical shows when it is decoded; what decodes
 * ends there.
 *
 * @throws {EncodingError} if no value can be that begins so.
 */
export function skipCborAt(bytes: Uint8Array, offset: number): number {
  const reader = new Reader(bytes, offset)
  reader.skip()
  return reader.offset
}
