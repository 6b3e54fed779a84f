/**
 * HKDF-SHA256 and AES-256-GCM over node:crypto, as KDF and AEAD of an HPKE suite. WebCrypto makes a job of the thread pool of each HMAC and
 * each key, and an envelope takes two dozen: waiting for them costs more than what they do.
 *
 * @see SPEC.md §5, RFC 5869, RFC 9180 §7.2 and §7.3
 */
import crypto from 'node:crypto'
import { concatBytes } from '@healthblock/encoding/bytes'
import type { AEAD, KDF } from 'hpke'
import type { Bytes, Provider } from './provider.ts'

const hashSizeBytes = 32

function hmac(key: Uint8Array, message: Uint8Array): Bytes {
  return Uint8Array.from(crypto.createHmac('sha256', key).update(message).digest())
}

function expand(prk: Uint8Array, info: Uint8Array, length: number): Bytes {
  if (prk.length < hashSizeBytes || length > 255 * hashSizeBytes) throw new RangeError('HKDF-SHA256: lengths')
  const blocks: Uint8Array[] = []
  for (let i = 0; i * hashSizeBytes < length; i++) {
    blocks.push(hmac(prk, concatBytes(blocks.at(-1) ?? new Uint8Array(0), info, Uint8Array.of(i + 1))))
  }
  const joined = concatBytes(...blocks)
  return joined.length === length ? joined : joined.slice(0, length)
}

/** HKDF-SHA256. */
export function createKdfNative(): KDF {
  return {
    id: 0x0001,
    type: 'KDF',
    name: 'HKDF-SHA256',
    Nh: hashSizeBytes,
    stages: 2,
    Extract: async (salt, ikm) => hmac(salt, ikm),
    Expand: async (prk, info, length) => expand(prk, info, length),
    Derive: async () => {
      throw new TypeError('HKDF has two stages')
    },
  }
}

/** AES-256-GCM, by the provider's own functions. */
export function createAeadNative(aes: Pick<Provider, 'aesGcmSeal' | 'aesGcmOpen'>): AEAD {
  return {
    id: 0x0002,
    type: 'AEAD',
    name: 'AES-256-GCM',
    Nk: 32,
    Nn: 12,
    Nt: 16,
    Seal: async (key, nonce, aad, plaintext) => aes.aesGcmSeal({ key, nonce, aad, plaintext }),
    Open: async (key, nonce, aad, sealed) => {
      const plaintext = aes.aesGcmOpen({ key, nonce, aad, sealed })
      if (plaintext === undefined) throw new TypeError('not sealed with this key')
      return plaintext
    },
  }
}
