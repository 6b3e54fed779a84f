/**
 * MLKEM768-X25519 (X-Wing) over node:crypto, as the KEM of an HPKE suite. node:crypto's ML-KEM and X25519 are used
 * rather than WebCrypto's, which warns on every process that its algorithm is experimental and is many times slower.
 *
 * @see SPEC.md §5, draft-connolly-cfrg-xwing-kem, draft-ietf-hpke-pq
 */
import crypto, { type KeyObject } from 'node:crypto'
import { concatBytes } from '@healthblock/encoding/bytes'
import type { KEM, Key } from 'hpke'
import type { Bytes } from './provider.ts'

const name = 'MLKEM768-X25519'
// DER around raw keys (RFC 8410; RFC 9935, private key as seed only).
const x25519Pkcs8 = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20)
const x25519Spki = Uint8Array.of(0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 3, 0x21, 0)
const mlKemOid = Uint8Array.of(0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 4, 2)
const mlKemPkcs8 = concatBytes(Uint8Array.of(0x30, 0x54, 2, 1, 0), mlKemOid, Uint8Array.of(4, 0x42, 0x80, 0x40))
const mlKemSpki = concatBytes(Uint8Array.of(0x30, 0x82, 4, 0xb2), mlKemOid, Uint8Array.of(3, 0x82, 4, 0xa1, 0))
const label = Uint8Array.of(0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c)
const mlKemKeySize = 1184
const mlKemCiphertextSize = 1088

function copy(buffer: Uint8Array): Bytes {
  return Uint8Array.from(buffer)
}

function importPrivate(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  const der = Buffer.from(concatBytes(prefix, raw))
  const key = crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  der.fill(0)
  return key
}

function importPublic(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  return crypto.createPublicKey({ key: Buffer.from(concatBytes(prefix, raw)), format: 'der', type: 'spki' })
}

function rawPublic(key: KeyObject, prefix: Uint8Array): Bytes {
  const publicKey = key.type === 'public' ? key : crypto.createPublicKey(key)
  return copy(publicKey.export({ format: 'der', type: 'spki' }).subarray(prefix.length))
}

class PublicKey implements Key {
  readonly algorithm = { name }
  readonly extractable = true
  readonly type = 'public'
  readonly bytes: Bytes
  readonly mlKem: KeyObject
  readonly x25519: KeyObject
  constructor(bytes: Uint8Array) {
    this.bytes = copy(bytes)
    this.mlKem = importPublic(mlKemSpki, bytes.subarray(0, mlKemKeySize))
    this.x25519 = importPublic(x25519Spki, bytes.subarray(mlKemKeySize))
  }
}

class PrivateKey implements Key {
  readonly algorithm = { name }
  readonly extractable: boolean
  readonly type = 'private'
  readonly seed: Bytes
  readonly mlKem: KeyObject
  readonly x25519: KeyObject
  readonly x25519Public: Bytes
  constructor(seed: Uint8Array, extractable: boolean) {
    this.seed = copy(seed)
    this.extractable = extractable
    const expanded = crypto.createHash('shake256', { outputLength: 96 }).update(seed).digest()
    this.mlKem = importPrivate(mlKemPkcs8, expanded.subarray(0, 64))
    this.x25519 = importPrivate(x25519Pkcs8, expanded.subarray(64))
    expanded.fill(0)
    this.x25519Public = rawPublic(this.x25519, x25519Spki)
  }

  publicKey(): PublicKey {
    return new PublicKey(concatBytes(rawPublic(this.mlKem, mlKemSpki), this.x25519Public))
  }
}

function combine(mlKemSecret: Uint8Array, x25519Secret: Uint8Array, share: Uint8Array, publicKey: Uint8Array): Bytes {
  const secret = concatBytes(mlKemSecret, x25519Secret, share, publicKey, label)
  const combined = copy(crypto.hash('sha3-256', secret, 'buffer'))
  secret.fill(0)
  return combined
}

/** True if this node:crypto has ML-KEM (Node 24.7 with OpenSSL 3.5, and later). */
export function hasKemNative(): boolean {
  if (typeof crypto.encapsulate !== 'function') return false
  try {
    importPrivate(mlKemPkcs8, new Uint8Array(64))
    return true
  } catch {
    return false
  }
}

/** The 1,216-byte public key of a 32-byte seed. */
export function kemPublicKeyNative(seed: Uint8Array): Bytes {
  return new PrivateKey(seed, false).publicKey().bytes
}

function requireKey<K extends PublicKey | PrivateKey>(key: Key, type: new (...args: never[]) => K): K {
  if (key instanceof type) return key
  throw new TypeError('the key belongs to another implementation')
}

/** The KEM over node:crypto, or undefined where it has no ML-KEM. */
export function createKemNative(): (() => KEM<Key>) | undefined {
  if (!hasKemNative()) return undefined
  const generate = async (seed: Uint8Array, extractable: boolean) => {
    const privateKey = new PrivateKey(seed, extractable)
    return { privateKey, publicKey: privateKey.publicKey() }
  }
  const kem: KEM<Key> = {
    id: 0x647a,
    type: 'KEM',
    name,
    Nsecret: 32,
    Nenc: 1120,
    Npk: 1216,
    Nsk: 32,
    DeriveKeyPair: async () => {
      throw new TypeError('keys are made from a seed, never derived')
    },
    GenerateKeyPair: (extractable) => generate(crypto.getRandomValues(new Uint8Array(32)), extractable),
    SerializePublicKey: async (key) => copy(requireKey(key, PublicKey).bytes),
    DeserializePublicKey: async (bytes) => new PublicKey(bytes),
    SerializePrivateKey: async (key) => copy(requireKey(key, PrivateKey).seed),
    DeserializePrivateKey: async (seed, extractable) => new PrivateKey(seed, extractable),
    Encap: async (recipient) => {
      const { mlKem, x25519, bytes } = requireKey(recipient, PublicKey)
      const { sharedKey, ciphertext } = crypto.encapsulate(mlKem)
      const ephemeral = crypto.generateKeyPairSync('x25519')
      const secret = crypto.diffieHellman({ privateKey: ephemeral.privateKey, publicKey: x25519 })
      const share = rawPublic(ephemeral.publicKey, x25519Spki)
      const shared_secret = combine(sharedKey, secret, share, bytes.subarray(mlKemKeySize))
      return { shared_secret, enc: concatBytes(ciphertext, share) }
    },
    Decap: async (encapsulation, recipient) => {
      const { mlKem, x25519, x25519Public } = requireKey(recipient, PrivateKey)
      const share = encapsulation.subarray(mlKemCiphertextSize)
      const sharedKey = crypto.decapsulate(mlKem, encapsulation.subarray(0, mlKemCiphertextSize))
      const secret = crypto.diffieHellman({ privateKey: x25519, publicKey: importPublic(x25519Spki, share) })
      return combine(sharedKey, secret, share, x25519Public)
    },
  }
  return () => kem
}
