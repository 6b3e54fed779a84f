/**
 * Shapes of decoded CBOR, declared once as tables of fields; the TypeScript type of a value follows from its table. A
 * check is a plain predicate, so a transaction costs a few microseconds, and it never copies: what passed is the decoded
 * value itself.
 */
import type { CborMap, CborValue } from '@healthblock/encoding/cbor'

/** A predicate that says whether a decoded value has the shape T. */
export interface Check<out T> {
  (value: CborValue): boolean
  /** Never set; carries the type. */
  readonly type?: T
}

/** A field that may be absent. */
export interface OptionalField<out T> {
  readonly optional: Check<T>
}

/** The fields of a map. */
export type Shape = Readonly<Record<string, Check<unknown> | OptionalField<unknown>>>

type Of<F> = F extends Check<infer T> ? T : F extends OptionalField<infer T> ? T : never
type OptionalKeys<S extends Shape> = { [K in keyof S]: S[K] extends OptionalField<unknown> ? K : never }[keyof S]

/** The type of a map with the fields of S. */
export type Fields<S extends Shape> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Of<S[K]> } & {
  readonly [K in OptionalKeys<S>]?: Of<S[K]>
}

/** An integer from `least` to `most`. */
export function uint(least = 0, most = Number.MAX_SAFE_INTEGER): Check<number> {
  return (value) => typeof value === 'number' && value >= least && value <= most
}

/** A byte string of exactly `length` bytes. */
export function bytes(length: number): Check<Uint8Array> {
  return (value) => value instanceof Uint8Array && value.length === length
}

/** A byte string of at most `lengthMax` bytes. */
export function bytesMax(lengthMax: number): Check<Uint8Array> {
  return (value) => value instanceof Uint8Array && value.length <= lengthMax
}

/** Any text of the subset. */
export const text: Check<string> = (value) => typeof value === 'string'

/** Exactly this integer or text. */
export function literal<const T extends number | string>(expected: T): Check<T> {
  return (value) => value === expected
}

/** An array of `least` to `most` such elements. */
export function list<T>(check: Check<T>, least: number, most: number): Check<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value) || value.length < least || value.length > most) return false
    for (const item of value) if (!check(item)) return false
    return true
  }
}

/** An array with one check per position; positions from `optionalFrom` on may be absent at the end. */
export function tuple<T extends readonly unknown[]>(
  checks: { readonly [K in keyof T]-?: Check<T[K]> },
  optionalFrom = checks.length,
): Check<T> {
  return (value) => {
    if (!Array.isArray(value) || value.length < optionalFrom || value.length > checks.length) return false
    for (let i = 0; i < value.length; i++) {
      if (!(checks[i] as Check<unknown>)(value[i] as CborValue)) return false
    }
    return true
  }
}

/** A map with exactly these fields. */
export function map<S extends Shape>(shape: S): Check<Fields<S>> {
  const faultIn = faultFinder(shape)
  return (value) => isMap(value) && faultIn(value) === undefined
}

/** Marks a field that may be absent. */
export function optional<T>(check: Check<T>): OptionalField<T> {
  return { optional: check }
}

/** True for a decoded map. */
export function isMap(value: CborValue | undefined): value is CborMap {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array)
}

/**
 * Prepares a table for use: the returned function names the first field of a decoded map that is missing, wrong or
 * unknown, or gives `undefined` if the map has the shape.
 */
export function faultFinder(shape: Shape): (map: CborMap) => string | undefined {
  const fields = Object.entries(shape).map(([name, field]) =>
    'optional' in field
      ? { name, check: field.optional, required: false }
      : { name, check: field as Check<unknown>, required: true },
  )
  const known = new Set(Object.keys(shape))
  return (decoded) => {
    let present = 0
    for (const { name, check, required } of fields) {
      const value = decoded[name]
      if (value === undefined) {
        if (required) return name
        continue
      }
      if (!check(value)) return name
      present++
    }
    // Every declared field that is present was counted: another number of keys means an undeclared one.
    const names = Object.keys(decoded)
    return names.length === present ? undefined : names.find((name) => !known.has(name))
  }
}
