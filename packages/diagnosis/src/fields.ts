/** Reads the parts of a decoded CBOR map, strictly: every key named, nothing else, every value of its type and in its bounds. */
import { type CborMap, type CborValue, decodeCbor } from '@healthblock/encoding/cbor'
import type { DiagnosisError } from './errors.ts'

/** Makes the error for a field that is wrong. */
export type FieldError = (field: string, reason: string, cause?: unknown) => DiagnosisError

/** Strict reader of decoded values; the error is the caller's. */
export interface FieldReader {
  map(value: CborValue | undefined, field: string, keys: readonly string[], optional?: readonly string[]): CborMap
  array(value: CborValue | undefined, field: string, lengthMax: number): CborValue[]
  integer(value: CborValue | undefined, field: string, max?: number, min?: number): number
  text(value: CborValue | undefined, field: string): string
  bytes(value: CborValue | undefined, field: string, lengthMax: number, lengthMin?: number): Uint8Array
  utf8(value: CborValue | undefined, field: string, lengthMax: number): string
  decode(bytes: Uint8Array, sizeMax: number): CborValue
}

/** A reader that throws what `error` makes. */
export function createFieldReader(error: FieldError): FieldReader {
  const array: FieldReader['array'] = (value, field, lengthMax) => {
    if (!Array.isArray(value)) throw error(field, 'is not an array')
    if (value.length > lengthMax) throw error(field, `has more than ${lengthMax} items`)
    return value
  }
  const bytes: FieldReader['bytes'] = (value, field, lengthMax, lengthMin = 0) => {
    if (!(value instanceof Uint8Array)) throw error(field, 'is not a byte string')
    if (value.length > lengthMax || value.length < lengthMin) throw error(field, 'has a wrong length')
    return value
  }
  return {
    array,
    bytes,
    map(value, field, keys, optional = []) {
      if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array)
        throw error(field, 'is not a map')
      for (const key of keys) if (!Object.hasOwn(value, key)) throw error(`${field}.${key}`, 'is missing')
      const known = new Set([...keys, ...optional])
      for (const key of Object.keys(value)) if (!known.has(key)) throw error(`${field}.${key}`, 'is not known')
      return value
    },
    integer(value, field, max = Number.MAX_SAFE_INTEGER, min = 0) {
      if (typeof value !== 'number') throw error(field, 'is not an integer')
      if (value > max || value < min) throw error(field, `is not in ${min}..${max}`)
      return value
    },
    text(value, field) {
      if (typeof value !== 'string') throw error(field, 'is not a text')
      return value
    },
    utf8(value, field, lengthMax) {
      const raw = bytes(value, field, lengthMax)
      try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw)
      } catch (cause) {
        throw error(field, 'is not UTF-8', cause)
      }
    },
    decode(raw, sizeMax) {
      if (raw.length > sizeMax) throw error('size', `is above ${sizeMax} bytes`)
      try {
        return decodeCbor(raw)
      } catch (cause) {
        throw error('cbor', 'is not canonical', cause)
      }
    },
  }
}
