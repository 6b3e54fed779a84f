import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import {
  compareBytes,
  encodeU64,
  encodeUtf8,
  equalBytes,
  fromBase64,
  fromBase64Url,
  fromHex,
  toBase58,
  toBase64,
  toBase64Url,
  toHex,
} from './bytes.ts'
import { EncodingError } from './errors.ts'

test('long byte strings are equal exactly if no byte differs, wherever they begin', () => {
  for (const [from, length] of [
    [0, 1024],
    [0, 4099],
    [3, 2050],
    [4, 2047],
  ] as const) {
    const bytes = crypto.getRandomValues(new Uint8Array(from + length)).subarray(from)
    const copy = Uint8Array.from(bytes)
    expect(equalBytes(bytes, copy)).toBe(true)
    expect(equalBytes(bytes, copy.subarray(1))).toBe(false)
    for (const at of [0, 1, 1023, length - 1]) {
      const other = copy.with(at, (copy[at] as number) ^ 1)
      expect(equalBytes(bytes, other)).toBe(false)
    }
  }
})

test.each([true, false])('texts of bytes are the same with the platform’s own ways and without: %s', async (own) => {
  const kept = [Uint8Array.prototype, Buffer.prototype].map((prototype) => Object.getOwnPropertyDescriptors(prototype))
  if (!own) {
    Reflect.deleteProperty(Uint8Array.prototype, 'toHex')
    Reflect.deleteProperty(Buffer.prototype, 'latin1Slice')
  }
  try {
    vi.resetModules()
    const { byteText: textOf, toHex: hexOf } = await import('./bytes.ts')
    const all = Uint8Array.from({ length: 300 }, (_, i) => i & 255).subarray(7, 290)
    expect(Array.from(textOf(all), (character) => character.charCodeAt(0))).toEqual([...all])
    expect(hexOf(all)).toBe(Array.from(all, (byte) => byte.toString(16).padStart(2, '0')).join(''))
    expect([textOf(new Uint8Array()), hexOf(new Uint8Array())]).toEqual(['', ''])
  } finally {
    Object.defineProperties(Uint8Array.prototype, kept[0] as PropertyDescriptorMap)
    Object.defineProperties(Buffer.prototype, kept[1] as PropertyDescriptorMap)
  }
})

test('texts of bytes read back', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(fromHex(toHex(bytes))).toEqual(Uint8Array.from(bytes))
      expect(fromBase64(toBase64(bytes))).toEqual(Uint8Array.from(bytes))
      expect(fromBase64Url(toBase64Url(bytes))).toEqual(Uint8Array.from(bytes))
    }),
  )
})

test('engines without texts of bytes of their own give the same', async () => {
  const { toHex: hex, toBase64: base64 } = Uint8Array.prototype as unknown as Record<string, unknown>
  const { fromBase64: from } = Uint8Array as unknown as Record<string, unknown>
  const natives = [
    [Uint8Array.prototype, 'toHex', hex],
    [Uint8Array.prototype, 'toBase64', base64],
    [Uint8Array, 'fromBase64', from],
  ] as const
  for (const [owner, name] of natives) Reflect.deleteProperty(owner, name)
  try {
    const old = await import('./bytes.ts?without-natives' as string)
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(old.toHex(bytes)).toBe(toHex(bytes))
        expect(old.toBase64(bytes)).toBe(toBase64(bytes))
        expect(old.fromBase64(toBase64(bytes))).toEqual(Uint8Array.from(bytes))
      }),
    )
    for (const text of refusedBase64) expect(() => old.fromBase64(text)).toThrow('base64')
  } finally {
    for (const [owner, name, value] of natives) {
      if (value !== undefined) Object.defineProperty(owner, name, { value, writable: true, configurable: true })
    }
  }
})

test.each(['AB', 'abc', 'zz', ' ab'])('refuses the hexadecimal %j', (text) => {
  expect(() => fromHex(text)).toThrow(EncodingError)
})

const refusedBase64 = ['AA=', 'AB==', 'AA==\n', 'A A=', '_w==', 'AA', 'AA\n\nA', 'AAAAA===', '====', '\n\n\n\n']

test.each(refusedBase64)('refuses the base64 %j', (text) => {
  expect(() => fromBase64(text)).toThrow(EncodingError)
})

test.each(['AA==', 'AB', '/w', 'A'])('refuses the base64url %j', (text) => {
  expect(() => fromBase64Url(text)).toThrow(EncodingError)
})

test('compares as unsigned numbers, prefixes first', () => {
  expect(compareBytes(Uint8Array.of(0x7f), Uint8Array.of(0x80))).toBeLessThan(0)
  expect(compareBytes(Uint8Array.of(1), Uint8Array.of(1, 0))).toBeLessThan(0)
  expect(compareBytes(Uint8Array.of(2), Uint8Array.of(1, 0))).toBeGreaterThan(0)
})

test('encodes eight bytes, most significant first', () => {
  expect(toHex(encodeU64(2 ** 53 - 1))).toBe('001fffffffffffff')
})

test('encodes base58 as draft-msporny-base58-03 has it', () => {
  expect(toBase58(encodeUtf8('Hello World!'))).toBe('2NEpo7TZRRrLZSi2U')
  expect(toBase58(fromHex('0000287fb4cd'))).toBe('11233QC4')
})
