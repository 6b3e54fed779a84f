/**
 * What the formats of SPEC.md need from a cryptographic library. Both implementations give the same bytes for the same
 * input (vectors and property tests run through both). Lengths are checked by the callers.
 */
import type { CipherSuite, Key } from 'hpke'

/** A byte string in memory of its own or a view; never shared memory. */
export type Bytes = Uint8Array<ArrayBuffer>

/** A private Ed25519 key as the provider wants it. */
export interface SigningHandle {
  /** Signs a message: 64 bytes. */
  sign(message: Uint8Array): Bytes
}

/** A public Ed25519 key, already checked (SPEC.md §1), as the provider wants it. */
export interface VerifyingHandle {
  /** True if the 64 bytes are this key's signature by the one rule. */
  verify(signature: Uint8Array, message: Uint8Array): boolean
  /** The same answer, computed off the main thread where the platform can. */
  verifyAsync(signature: Uint8Array, message: Uint8Array): Promise<boolean>
}

/** A signature to be checked. */
export interface SignatureCheck {
  readonly handle: VerifyingHandle
  readonly signature: Uint8Array
  readonly message: Uint8Array
}

/** scrypt's cost (RFC 7914): N, r, p. */
export interface ScryptCost {
  readonly n: number
  readonly r: number
  readonly p: number
}

/** One implementation of every primitive. */
export interface Provider {
  readonly name: 'native' | 'noble'
  randomBytes(length: number): Bytes
  sha256(parts: readonly Uint8Array[]): Bytes
  /** HKDF-SHA256 (RFC 5869), extract and expand; an absent salt is 32 zero bytes. */
  hkdfSha256(options: { ikm: Uint8Array; salt?: Uint8Array; info: Uint8Array; length: number }): Bytes
  ed25519PublicKey(seed: Uint8Array): Bytes
  ed25519Signer(seed: Uint8Array): SigningHandle
  ed25519Verifier(publicKey: Uint8Array): VerifyingHandle
  /** `verify` of many, with handles that this provider made: several under keys that come again and again cost less at once. */
  ed25519VerifyAll(checks: readonly SignatureCheck[]): boolean[]
  /** AES-256-GCM: ciphertext || 16-byte tag. */
  aesGcmSeal(options: { key: Uint8Array; nonce: Uint8Array; aad: Uint8Array; plaintext: Uint8Array }): Bytes
  /** The plaintext, or undefined when the tag is wrong. */
  aesGcmOpen(options: { key: Uint8Array; nonce: Uint8Array; aad: Uint8Array; sealed: Uint8Array }): Bytes | undefined
  scrypt(passphrase: Uint8Array, salt: Uint8Array, cost: ScryptCost): Promise<Bytes>
  /** The 1,216-byte public key of a KEM seed of 32 bytes. */
  kemPublicKey(seed: Uint8Array): Bytes
  /** HPKE with the default suite of SPEC.md §5. */
  readonly hpke: CipherSuite<Key>
  equalConstantTime(a: Uint8Array, b: Uint8Array): boolean
}
