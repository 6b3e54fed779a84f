/**
 * How a part of the analyser is carried from one diagnosis to the next. Each part lists its state once, in `carry`; a writer and a
 * reader walk the same list, so that what is written is what is read. Numbers are IEEE 754 doubles, little-endian,
 * or singles where they are kept as such; whole numbers count from their least value, seven bits a byte: all exact.
 */
import { DiagnosisError } from '../errors.ts'

/** Walks over the state of a part: the writer returns what it is given, the reader returns what it read, checked. */
export interface Carry {
  /** A finite number from `min` to `max`. */
  number(field: string, value: number, min: number, max: number): number
  /** A number that has single precision. */
  single(field: string, value: number, min: number, max: number): number
  /** A whole number from `min` to `max`. */
  integer(field: string, value: number, min: number, max: number): number
  /** A fixed number of integers. */
  int16(field: string, values: Int16Array): void
  /** A fixed number of finite numbers from `min` to `max`. */
  numbers(field: string, values: Float64Array, min: number, max: number): void
  /** A fixed number of whole numbers from `min` to `max`. */
  integers(field: string, values: Float64Array, min: number, max: number): void
}

function wrong(field: string, reason: string): DiagnosisError {
  return new DiagnosisError(`carried state: ${field} ${reason}`, { code: 'ERR_STATE_INVALID', field })
}

/** Collects the state of parts as bytes. */
export class StateWriter implements Carry {
  #bytes = new Uint8Array(8192)
  #length = 0

  number(_field: string, value: number): number {
    const bytes = this.#reserve(8)
    new DataView(bytes.buffer, bytes.byteOffset).setFloat64(0, value, true)
    return value
  }

  single(_field: string, value: number): number {
    const bytes = this.#reserve(4)
    new DataView(bytes.buffer, bytes.byteOffset).setFloat32(0, value, true)
    return value
  }

  integer(_field: string, value: number, min: number): number {
    // Seven bits a byte, the low ones first; the top bit says that more follow.
    let rest = value - min
    while (rest >= 128) {
      this.#reserve(1)[0] = (rest % 128) + 128
      rest = Math.floor(rest / 128)
    }
    this.#reserve(1)[0] = rest
    return value
  }

  int16(_field: string, values: Int16Array): void {
    const bytes = this.#reserve(2 * values.length)
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    for (let i = 0; i < values.length; i++) view.setInt16(2 * i, values[i] as number, true)
  }

  numbers(field: string, values: Float64Array): void {
    for (const value of values) this.number(field, value)
  }

  integers(field: string, values: Float64Array, min: number): void {
    for (const value of values) this.integer(field, value, min)
  }

  /** The bytes collected so far. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length)
  }

  #reserve(size: number): Uint8Array {
    if (this.#length + size > this.#bytes.length) {
      const grown = new Uint8Array(this.#bytes.length * 2)
      grown.set(this.#bytes)
      this.#bytes = grown
    }
    this.#length += size
    return this.#bytes.subarray(this.#length - size, this.#length)
  }
}

/** Reads what a `StateWriter` wrote, and refuses anything else. */
export class StateReader implements Carry {
  readonly #view: DataView
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  number(field: string, _value: number, min: number, max: number): number {
    const value = this.#view.getFloat64(this.#take(field, 8), true)
    if (!(value >= min && value <= max)) throw wrong(field, 'is out of range')
    return value
  }

  single(field: string, _value: number, min: number, max: number): number {
    const value = this.#view.getFloat32(this.#take(field, 4), true)
    if (!(value >= min && value <= max)) throw wrong(field, 'is out of range')
    return value
  }

  integer(field: string, _value: number, min: number, max: number): number {
    let [read, place] = [0, 1]
    for (;;) {
      const byte = this.#view.getUint8(this.#take(field, 1))
      read += (byte % 128) * place
      if (read > max - min) throw wrong(field, 'is out of range')
      if (byte < 128) {
        if (byte === 0 && place > 1) throw wrong(field, 'is not the shortest form')
        return read + min
      }
      place *= 128
    }
  }

  int16(field: string, values: Int16Array): void {
    const offset = this.#take(field, 2 * values.length)
    for (let i = 0; i < values.length; i++) values[i] = this.#view.getInt16(offset + 2 * i, true)
  }

  numbers(field: string, values: Float64Array, min: number, max: number): void {
    for (let i = 0; i < values.length; i++) values[i] = this.number(field, 0, min, max)
  }

  integers(field: string, values: Float64Array, min: number, max: number): void {
    for (let i = 0; i < values.length; i++) values[i] = this.integer(field, 0, min, max)
  }

  /** @throws {DiagnosisError} `ERR_STATE_INVALID` when bytes are left over. */
  finish(): void {
    if (this.#offset !== this.#view.byteLength) throw wrong('length', 'is too long')
  }

  #take(field: string, size: number): number {
    const offset = this.#offset
    if (offset + size > this.#view.byteLength) throw wrong(field, 'is missing')
    this.#offset += size
    return offset
  }
}
