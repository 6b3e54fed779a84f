/** The provider of servers: node:crypto (OpenSSL). Buffers never leave this file. */
import crypto, { type KeyObject } from 'node:crypto'
import { concatBytes } from '@healthblock/encoding/bytes'
import { CipherSuite, type Key } from 'hpke'
import { createAeadNative, createKdfNative } from './hpke-native.ts'
import { createKemNative, kemPublicKeyNative } from './kem-native.ts'
import type { Bytes, Provider, SigningHandle } from './provider.ts'
import { Ed25519Verifier, verifyAll } from './verifier-native.ts'

// DER around the raw 32 bytes (RFC 8410).
const pkcs8Prefix = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20)
const spkiPrefixSizeBytes = 12
const joinedSizeBytesMax = 4096
// What is hashed in one go is joined here: hashing never waits, and a new array for each would cost as much.
const joined = new Uint8Array(joinedSizeBytesMax)

function view(buffer: Buffer): Bytes {
  return new Uint8Array(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.length)
}

/** One-shot SHA-256. The digest comes as a text of 32 characters: Node makes one in half the time that a buffer takes. */
function digestOf(input: Uint8Array): Bytes {
  const text = crypto.hash('sha256', input, 'binary')
  const digest = new Uint8Array(32)
  for (let i = 0; i < 32; i++) digest[i] = text.charCodeAt(i)
  return digest
}

function sha256(parts: readonly Uint8Array[]): Bytes {
  const only = parts[0]
  if (parts.length === 1 && only !== undefined) return digestOf(only)
  let length = 0
  for (const part of parts) length += part.length
  // One-shot hashing costs less than a hash object as long as joining is cheap.
  if (length <= joinedSizeBytesMax) {
    let at = 0
    for (const part of parts) {
      joined.set(part, at)
      at += part.length
    }
    return digestOf(joined.subarray(0, length))
  }
  const hash = crypto.createHash('sha256')
  for (const part of parts) hash.update(part)
  return view(hash.digest())
}

function privateKey(seed: Uint8Array): KeyObject {
  return crypto.createPrivateKey({ key: Buffer.from(concatBytes(pkcs8Prefix, seed)), format: 'der', type: 'pkcs8' })
}

function ed25519Signer(seed: Uint8Array): SigningHandle {
  const key = privateKey(seed)
  return { sign: (message) => view(crypto.sign(null, message, key)) }
}

const kem = createKemNative()
// Loaded only where it is needed: it takes 12 MB of memory and most of the time that loading this file would take.
const fallback = kem === undefined ? (await import('./noble.ts')).provider : undefined
let suite: CipherSuite<Key> | undefined

/** node:crypto's implementations. The KEM falls back to @noble where OpenSSL lacks ML-KEM. */
export const provider: Provider = {
  name: 'native',
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  sha256,
  hkdfSha256: ({ ikm, salt, info, length }) =>
    new Uint8Array(crypto.hkdfSync('sha256', ikm, salt ?? new Uint8Array(), info, length)),
  ed25519PublicKey: (seed) => {
    const der = crypto.createPublicKey(privateKey(seed)).export({ format: 'der', type: 'spki' })
    return Uint8Array.from(der.subarray(spkiPrefixSizeBytes))
  },
  ed25519Signer,
  ed25519Verifier: (publicKey) => new Ed25519Verifier(publicKey),
  ed25519VerifyAll: verifyAll,
  aesGcmSeal: ({ key, nonce, aad, plaintext }) => {
    const cipher = crypto.createCipheriv('aes-256-gcm', key, nonce).setAAD(aad)
    return concatBytes(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
  },
  aesGcmOpen: ({ key, nonce, aad, sealed }) => {
    if (sealed.length < 16) return undefined
    const decipher = crypto.createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 }).setAAD(aad)
    decipher.setAuthTag(sealed.subarray(sealed.length - 16))
    const plaintext = decipher.update(sealed.subarray(0, sealed.length - 16))
    try {
      decipher.final()
    } catch {
      plaintext.fill(0)
      return undefined
    }
    return view(plaintext)
  },
  scrypt: (passphrase, salt, { n, r, p }) =>
    new Promise((resolve, reject) => {
      const maxmem = 128 * r * (n + p) + 65_536
      crypto.scrypt(passphrase, salt, 32, { N: n, r, p, maxmem }, (error, key) => {
        if (error) reject(error)
        else resolve(view(key))
      })
    }),
  kemPublicKey: (seed) => fallback?.kemPublicKey(seed) ?? kemPublicKeyNative(seed),
  get hpke() {
    if (kem === undefined) return (fallback as Provider).hpke
    suite ??= new CipherSuite<Key>(kem, createKdfNative, () => createAeadNative(provider))
    return suite
  },
  equalConstantTime: (a, b) => a.length === b.length && crypto.timingSafeEqual(a, b),
}
