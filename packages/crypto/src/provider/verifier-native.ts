/** Ed25519 signatures on servers: by OpenSSL, and under keys that are seen often by tables of their multiples (SPEC.md §1, "Known keys"). */
import crypto, { type KeyObject } from 'node:crypto'
import { concatBytes } from '@healthblock/encoding/bytes'
import { type KnownKey, KnownKeys, sightingsMin } from '../edwards/known-keys.ts'
import type { SignatureCheck, VerifyingHandle } from './provider.ts'

// DER around the raw 32 bytes (RFC 8410).
const spkiPrefix = Uint8Array.of(0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0)

/** Of this thread, from the first key on that is seen often; null where the platform cannot have them. */
let knownKeys: KnownKeys | null | undefined

/** A key of 32 bytes; SPEC.md §1, point 1, is for the caller to check. */
export class Ed25519Verifier implements VerifyingHandle {
  readonly #publicKey: Uint8Array
  readonly #key: KeyObject
  #known: KnownKey | undefined
  /** Good signatures since it last had no tables. */
  #sightings = 0

  constructor(publicKey: Uint8Array) {
    this.#publicKey = publicKey
    const der = Buffer.from(concatBytes(spkiPrefix, publicKey))
    this.#key = crypto.createPublicKey({ key: der, format: 'der', type: 'spki' })
  }

  /** Itself among the known keys, if it is one now. */
  get known(): KnownKey | undefined {
    return this.#known?.isKnown === true ? this.#known : undefined
  }

  verify(signature: Uint8Array, message: Uint8Array): boolean {
    return this.#isConfirmed(signature, message) || this.judge(signature, message)
  }

  async verifyAsync(signature: Uint8Array, message: Uint8Array): Promise<boolean> {
    if (signature.length !== 64) return false
    // That costs less than a job of the thread pool; what is not confirmed may be anybody's and would hold up the caller.
    if (this.#isConfirmed(signature, message)) return true
    const isGood = await new Promise<boolean>((resolve, reject) => {
      crypto.verify(null, message, this.#key, signature, (error, good) => (error ? reject(error) : resolve(good)))
    })
    if (isGood) this.#sight(signature, message)
    return isGood
  }

  #isConfirmed(signature: Uint8Array, message: Uint8Array): boolean {
    const key = this.known
    if (key === undefined || signature.length !== 64) return false
    return knownKeys?.confirm([{ key, signature, message }])[0] === true
  }

  /** OpenSSL's answer. */
  judge(signature: Uint8Array, message: Uint8Array): boolean {
    const isGood = signature.length === 64 && crypto.verify(null, message, this.#key, signature)
    if (isGood) this.#sight(signature, message)
    return isGood
  }

  /** Of a good signature. */
  #sight(signature: Uint8Array, message: Uint8Array): void {
    if (knownKeys === null || this.known !== undefined) return
    this.#sightings++
    if (this.#sightings < (knownKeys?.sightingsNeeded ?? sightingsMin)) return
    this.#sightings = 0
    knownKeys ??= KnownKeys.create((input) => crypto.hash('sha512', input, 'binary')) ?? null
    const key = knownKeys?.add(this.#publicKey)
    // Tables that are not this key's, for whatever fault, do not confirm what OpenSSL just did.
    if (key !== undefined && knownKeys?.confirm([{ key, signature, message }])[0] === true) this.#known = key
  }
}

/** True for each signature that is its key's. Only keys of this provider. */
export function verifyAll(checks: readonly SignatureCheck[]): boolean[] {
  const handles = checks.map(({ handle }) => handle as Ed25519Verifier)
  const claims = checks.flatMap(({ signature, message }, index) => {
    const key = handles[index]?.known
    return key === undefined || signature.length !== 64 ? [] : [{ key, signature, message, index }]
  })
  const isGood: boolean[] = Array(checks.length).fill(false)
  const confirmed = claims.length === 0 ? [] : (knownKeys?.confirm(claims) ?? [])
  for (const [i, { index }] of claims.entries()) isGood[index] = confirmed[i] === true
  // After that, since what is seen now may take another key's tables.
  for (const [i, { signature, message }] of checks.entries())
    if (isGood[i] !== true) isGood[i] = handles[i]?.judge(signature, message) === true
  return isGood
}
