import { EncodingError } from './errors.ts'

/** Joins byte strings into one new array. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

/** True if both have the same length and bytes. Not for secrets: it stops at the first difference. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let i = a.length >= wordsFrom && (a.byteOffset & 3) === 0 && (b.byteOffset & 3) === 0 ? equalWords(a, b) : 0
  for (; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** From this length on, comparing by words pays. */
const wordsFrom = 1024

/** How many bytes of the beginning are equal, as far as whole words go. */
function equalWords(a: Uint8Array, b: Uint8Array): number {
  const count = a.length >>> 2
  const [left, right] = [a, b].map(({ buffer, byteOffset }) => new Uint32Array(buffer, byteOffset, count)) as [
    Uint32Array,
    Uint32Array,
  ]
  let i = 0
  while (i < count && left[i] === right[i]) i++
  return 4 * i
}

/** Orders byte strings as unsigned numbers, a prefix before what it begins: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** What newer engines bring along (ECMAScript 2026); a tenth to a twentieth of the time. */
type NativeText = Partial<{
  toHex(): string
  toBase64(): string
}>
const native = Uint8Array.prototype as NativeText
const nativeFromBase64 = (
  Uint8Array as { fromBase64?: (text: string, options: { lastChunkHandling: 'strict' }) => Uint8Array<ArrayBuffer> }
).fromBase64?.bind(Uint8Array)

/** Node's own, a fifth of the time. */
const nativeByteText = (
  globalThis as { Buffer?: { prototype: { latin1Slice?: (from: number, to: number) => string } } }
).Buffer?.prototype.latin1Slice

/** Lower-case hexadecimal text. */
export function toHex(bytes: Uint8Array): string {
  if (native.toHex !== undefined) return native.toHex.call(bytes)
  let text = ''
  for (const byte of bytes) text += hexPairs[byte]
  return text
}

/** A text with one character per byte, U+0000 to U+00FF: a key for maps. */
export function byteText(bytes: Uint8Array): string {
  if (nativeByteText !== undefined) return nativeByteText.call(bytes, 0, bytes.length)
  return String.fromCharCode.apply(null, bytes as unknown as number[])
}

/**
 * Reads lower-case hexadecimal text.
 *
 * @throws {EncodingError} `ERR_TEXT_INVALID` for upper case, odd length or any other character.
 */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const wrong = text.search(/[^0-9a-f]/)
  if (wrong !== -1 || text.length % 2 !== 0) {
    const offset = wrong === -1 ? text.length : wrong
    throw new EncodingError('not lower-case hexadecimal', { code: 'ERR_TEXT_INVALID', offset })
  }
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** base64 text with padding (RFC 4648 §4), as signed notes carry it. */
export function toBase64(bytes: Uint8Array): string {
  if (native.toBase64 !== undefined) return native.toBase64.call(bytes)
  let binary = ''
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192))
  return btoa(binary)
}

/**
 * Reads padded base64 text, in its one canonical form.
 *
 * @throws {EncodingError} `ERR_TEXT_INVALID` for white space, missing padding, or unused bits that are not zero.
 */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = nativeFromBase64?.(text, { lastChunkHandling: 'strict' }) ?? decodeBase64(text)
  } catch (cause) {
    throw new EncodingError('not base64', { code: 'ERR_TEXT_INVALID', offset: 0 }, { cause })
  }
  // Nothing but white space makes a text longer than its bytes need.
  if (text.length !== 4 * Math.ceil(bytes.length / 3)) {
    throw new EncodingError('not canonical base64', { code: 'ERR_TEXT_INVALID', offset: 0 })
  }
  return bytes
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text)
  // Re-encoding refuses white space, missing padding, and stray bits in the last character.
  if (btoa(binary) !== text) throw new TypeError('not canonical')
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}

/** base64url text without padding (RFC 4648 §5). */
export function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/**
 * Reads base64url text without padding, in its one canonical form.
 *
 * @throws {EncodingError} `ERR_TEXT_INVALID` for padding, other characters, or unused bits that are not zero.
 */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const wrong = text.search(/[^A-Za-z0-9_-]/)
  if (wrong !== -1) throw new EncodingError('not base64url', { code: 'ERR_TEXT_INVALID', offset: wrong })
  const padding = '='.repeat((4 - (text.length % 4)) % 4)
  return fromBase64(text.replaceAll('-', '+').replaceAll('_', '/') + padding)
}

const base58Alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

/** base58 text in Bitcoin's alphabet, as libp2p's peer ids and `did:key` use it. Meant for short strings: it is quadratic. */
export function toBase58(bytes: Uint8Array): string {
  let zeros = 0
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++
  let value = BigInt(`0x0${toHex(bytes)}`)
  let text = ''
  while (value > 0n) {
    text = (base58Alphabet[Number(value % 58n)] as string) + text
    value /= 58n
  }
  return '1'.repeat(zeros) + text
}

/** The eight bytes, most significant first, of an integer from 0 to 2^53 - 1. */
export function encodeU64(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value))
  return bytes
}

const textEncoder = new TextEncoder()

/** UTF-8 bytes of a text. */
export function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  return textEncoder.encode(text) as Uint8Array<ArrayBuffer>
}
