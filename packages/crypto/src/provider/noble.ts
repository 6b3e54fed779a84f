/**
 * The portable provider: browsers, the offline verifier, and the cross-check of the native one. Ed25519's equation is
 * written out over the curve's points, because the library's own verification multiplies by the cofactor and so accepts
 * signatures that node:crypto refuses.
 */

import { equalBytes } from '@healthblock/encoding/bytes'
import { gcm } from '@noble/ciphers/aes.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { scryptAsync } from '@noble/hashes/scrypt.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { MLKEM768X25519 } from '@noble/post-quantum/hybrid.js'
import { AEAD_AES_256_GCM, KDF_HKDF_SHA256, KEM_MLKEM768_X25519 } from '@panva/hpke-noble'
import { CipherSuite, type Key } from 'hpke'
import type { Bytes, Provider, SigningHandle, VerifyingHandle } from './provider.ts'

const { Point } = ed25519
const scalarField = Point.Fn

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number)
  return value
}

function ed25519Signer(seed: Uint8Array): SigningHandle {
  const secret = Uint8Array.from(seed)
  return { sign: (message) => ed25519.sign(message, secret) as Bytes }
}

function ed25519Verifier(publicKey: Uint8Array): VerifyingHandle {
  const point = Point.fromBytes(publicKey, false)
  const verify = (signature: Uint8Array, message: Uint8Array): boolean => {
    if (signature.length !== 64) return false
    const r = signature.subarray(0, 32)
    const s = littleEndian(signature.subarray(32))
    if (s >= scalarField.ORDER) return false
    const digest = sha512.create().update(r).update(publicKey).update(message).digest()
    const k = littleEndian(digest) % scalarField.ORDER
    const expected = Point.BASE.multiplyUnsafe(s).subtract(point.multiplyUnsafe(k)).toBytes()
    return equalBytes(expected, r)
  }
  return { verify, verifyAsync: async (signature, message) => verify(signature, message) }
}

function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number)
  return difference === 0
}

let suite: CipherSuite<Key> | undefined

/** @noble's implementations; pure JavaScript, the same bytes as the native provider. */
export const provider: Provider = {
  name: 'noble',
  randomBytes: (length) => {
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536))
    return bytes
  },
  sha256: (parts) => {
    const hash = sha256.create()
    for (const part of parts) hash.update(part)
    return hash.digest() as Bytes
  },
  hkdfSha256: ({ ikm, salt, info, length }) => hkdf(sha256, ikm, salt, info, length) as Bytes,
  ed25519PublicKey: (seed) => ed25519.getPublicKey(seed) as Bytes,
  ed25519Signer,
  ed25519Verifier,
  ed25519VerifyAll: (checks) => checks.map(({ handle, signature, message }) => handle.verify(signature, message)),
  aesGcmSeal: ({ key, nonce, aad, plaintext }) => gcm(key, nonce, aad).encrypt(plaintext) as Bytes,
  aesGcmOpen: ({ key, nonce, aad, sealed }) => {
    if (sealed.length < 16) return undefined
    try {
      return gcm(key, nonce, aad).decrypt(sealed) as Bytes
    } catch {
      return undefined
    }
  },
  scrypt: async (passphrase, salt, { n, r, p }) =>
    (await scryptAsync(passphrase, salt, { N: n, r, p, dkLen: 32, maxmem: 128 * r * (n + p) + 65_536 })) as Bytes,
  kemPublicKey: (seed) => MLKEM768X25519.getPublicKey(seed) as Bytes,
  get hpke() {
    suite ??= new CipherSuite<Key>(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_AES_256_GCM)
    return suite
  },
  equalConstantTime,
}
