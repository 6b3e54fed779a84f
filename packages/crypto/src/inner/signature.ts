/**
 * Ed25519 under one rule (SPEC.md §1), for a provider given by the caller. A key is checked once, when it is parsed: the
 * type `VerifyingKey` is the proof of that check, so nothing can be verified under a key of small or mixed order.
 */
import { toHex } from '@healthblock/encoding/bytes'
import { ed25519 } from '@noble/curves/ed25519.js'
import { CryptoError } from '../errors.ts'
import type { Provider, SigningHandle, VerifyingHandle } from '../provider/provider.ts'
import { isPrimeOrder } from './prime-order.ts'

/** A private Ed25519 key in memory. */
export class SigningKey {
  /** 32 bytes; read, never written. */
  readonly publicKey: Uint8Array<ArrayBuffer>
  readonly #seed: Uint8Array<ArrayBuffer>
  readonly #handle: SigningHandle
  constructor(seed: Uint8Array, provider: Provider) {
    this.#seed = Uint8Array.from(seed)
    this.#handle = provider.ed25519Signer(seed)
    this.publicKey = provider.ed25519PublicKey(seed)
  }

  /** Signs a message: 64 bytes, the same for the same message. */
  sign(message: Uint8Array): Uint8Array<ArrayBuffer> {
    return this.#handle.sign(message)
  }

  /** The 32-byte seed (RFC 8032 private key), for storage inside the vault or the hot store. A copy. */
  exportSeed(): Uint8Array<ArrayBuffer> {
    return this.#seed.slice()
  }
}

/**
 * R as the encoding of the identity satisfies the equation (whoever has the key can make such a signature), yet OpenSSL
 * 3.5.8 refuses an R of small order and 3.5.4 does not. Refusing it here leaves one answer everywhere;
 * under a key of prime order no other R of small order can satisfy the equation.
 */
function isAdmissible(signature: Uint8Array): boolean {
  if (signature.length !== 64) return false
  let rest = (signature[0] as number) ^ 1
  for (let i = 1; i < 32; i++) rest |= signature[i] as number
  return rest !== 0
}

/** A public Ed25519 key that passed the check of SPEC.md §1. Only `parseVerifyingKey` makes one. */
export class VerifyingKey {
  /** 32 bytes; read, never written. */
  readonly publicKey: Uint8Array<ArrayBuffer>
  readonly #handle: VerifyingHandle
  constructor(publicKey: Uint8Array<ArrayBuffer>, handle: VerifyingHandle) {
    this.publicKey = publicKey
    this.#handle = handle
  }

  /** True if the signature is this key's, by the one rule. */
  static check(key: VerifyingKey, signature: Uint8Array, message: Uint8Array): boolean {
    return isAdmissible(signature) && key.#handle.verify(signature, message)
  }

  /** The same answer, computed in the thread pool where there is one. */
  static async checkAsync(key: VerifyingKey, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
    return isAdmissible(signature) && (await key.#handle.verifyAsync(signature, message))
  }
}

/** How many parsed keys a provider keeps; beyond it the one unused for longest is dropped. */
export const verifyingKeysMax = 65_536
const parsed = new WeakMap<Provider, Map<string, VerifyingKey>>()

/** What a cache has. A map keeps insertion order: moving the entry to the end makes the first one the longest unused. */
function recalled<T>(cache: Map<string, T>, text: string): T | undefined {
  const known = cache.get(text)
  if (known === undefined) return undefined
  cache.delete(text)
  cache.set(text, known)
  return known
}

/** True if the bytes are the canonical encoding of a point of prime order. */
function isKey(bytes: Uint8Array): boolean {
  let point: InstanceType<typeof ed25519.Point>
  try {
    point = ed25519.Point.fromBytes(bytes, false)
  } catch {
    return false
  }
  // A decoded point has Z = 1, which spares an inversion.
  return isPrimeOrder(point.Z === 1n ? { x: point.X, y: point.Y } : point.toAffine())
}

/** `parseVerifyingKey` of a provider. */
export function parseVerifyingKeyWith(provider: Provider, bytes: Uint8Array): VerifyingKey {
  const invalid = () => new CryptoError('not an Ed25519 public key of prime order', { code: 'ERR_KEY_INVALID' })
  if (bytes.length !== 32) throw invalid()
  let cache = parsed.get(provider)
  if (cache === undefined) {
    cache = new Map()
    parsed.set(provider, cache)
  }
  const text = toHex(bytes)
  const known = recalled(cache, text)
  if (known !== undefined) return known
  if (!isKey(bytes)) throw invalid()
  const publicKey = Uint8Array.from(bytes)
  const key = new VerifyingKey(publicKey, provider.ed25519Verifier(publicKey))
  if (cache.size >= verifyingKeysMax) cache.delete(cache.keys().next().value as string)
  cache.set(text, key)
  return key
}

const handles = new WeakMap<Provider, Map<string, VerifyingHandle>>()
/** How many handles of unchecked keys a provider keeps; beyond it the one unused for longest is dropped. */
const aheadKeysMax = 8192

/** A signature to be checked ahead of its key. */
export interface SignatureAhead {
  readonly signature: Uint8Array
  readonly message: Uint8Array
  readonly publicKey: Uint8Array
}

function handleAhead(provider: Provider, publicKey: Uint8Array): VerifyingHandle | undefined {
  if (publicKey.length !== 32) return undefined
  let cache = handles.get(provider)
  if (cache === undefined) {
    cache = new Map()
    handles.set(provider, cache)
  }
  const text = toHex(publicKey)
  const known = recalled(cache, text)
  if (known !== undefined) return known
  try {
    const handle = provider.ed25519Verifier(Uint8Array.from(publicKey))
    if (cache.size >= aheadKeysMax) cache.delete(cache.keys().next().value as string)
    cache.set(text, handle)
    return handle
  } catch {
    return undefined
  }
}

/** `areSignaturesAhead` of a provider. */
export function areSignaturesAheadWith(provider: Provider, asked: readonly SignatureAhead[]): boolean[] {
  const places: number[] = []
  const checks = asked.flatMap(({ publicKey, signature, message }, place) => {
    const handle = isAdmissible(signature) ? handleAhead(provider, publicKey) : undefined
    if (handle === undefined) return []
    places.push(place)
    return [{ handle, signature, message }]
  })
  const isGood: boolean[] = Array(asked.length).fill(false)
  for (const [i, good] of provider.ed25519VerifyAll(checks).entries()) isGood[places[i] as number] = good
  return isGood
}
