/** Time-based one-time passwords (RFC 6238, HMAC-SHA-1, 6 digits, 30 s), as authenticator apps have them. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

const stepMs = 30_000
const digits = 6
/** Steps before and after now that are taken: clocks of phones are off by some seconds, and typing takes time. */
const driftSteps = 1
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** A new secret: 20 bytes, the length of the hash (RFC 4226 §4). */
export function createTotpSecret(): Uint8Array {
  return new Uint8Array(randomBytes(20))
}

/** The code of a step (RFC 4226 §5.3): its counter is `floor(ms / 30,000)`. */
export function totpOf(secret: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const mac = createHmac('sha1', secret).update(counter).digest()
  const offset = (mac[mac.length - 1] as number) & 0x0f
  const number = mac.readUInt32BE(offset) & 0x7fff_ffff
  return String(number % 10 ** digits).padStart(digits, '0')
}

/**
 * Checks a code.
 *
 * @param options - `lastStep`: the step of the last code that was taken; a code is taken once.
 * @returns The step to keep as `lastStep`, or undefined for a wrong or used code.
 */
export function checkTotp(options: {
  secret: Uint8Array
  code: string
  nowMs: number
  lastStep?: number | undefined
}): number | undefined {
  const { secret, code, nowMs, lastStep } = options
  if (!/^\d{6}$/.test(code)) return undefined
  const now = Math.floor(nowMs / stepMs)
  let found: number | undefined
  for (let step = now - driftSteps; step <= now + driftSteps; step++) {
    const isRight = timingSafeEqual(Buffer.from(totpOf(secret, step)), Buffer.from(code))
    if (isRight && step > (lastStep ?? -1)) found ??= step
  }
  return found
}

function toBase32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = (value << 8) | byte
    bits += 8
    while (bits >= 5) {
      text += alphabet[(value >>> (bits - 5)) & 31]
      bits -= 5
    }
    value &= (1 << bits) - 1
  }
  return bits === 0 ? text : text + alphabet[(value << (5 - bits)) & 31]
}

/** What an authenticator app reads from a QR code (the `otpauth` key URI format). */
export function totpUri(options: { secret: Uint8Array; account: string; issuer: string }): string {
  const label = `${encodeURIComponent(options.issuer)}:${encodeURIComponent(options.account)}`
  const query = `secret=${toBase32(options.secret)}&issuer=${encodeURIComponent(options.issuer)}&algorithm=SHA1&digits=${digits}&period=30`
  return `otpauth://totp/${label}?${query}`
}
