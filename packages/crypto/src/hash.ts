import { provider } from '#provider'
import type { Bytes } from './provider/provider.ts'

/** SHA-256 of the parts joined: 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Bytes {
  return provider.sha256(parts)
}

/**
 * HKDF-SHA256 (RFC 5869), extract then expand.
 *
 * @param options - `salt` absent means none (32 zero bytes); `length` in bytes, 1 to 8,160.
 */
export function hkdfSha256(options: { ikm: Uint8Array; salt?: Uint8Array; info: Uint8Array; length: number }): Bytes {
  return provider.hkdfSha256(options)
}
