import { provider } from '#provider'
import { CryptoError } from './errors.ts'
import { argumentInvalid } from './inner/failures.ts'
import {
  areSignaturesAheadWith,
  parseVerifyingKeyWith,
  type SignatureAhead,
  SigningKey,
  VerifyingKey,
} from './inner/signature.ts'

export type { SigningKey, VerifyingKey } from './inner/signature.ts'

/** Length of an Ed25519 public key or seed. */
export const signingKeySizeBytes = 32
/** Length of a signature: R || S. */
export const signatureSizeBytes = 64

/** A new random Ed25519 key. */
export function generateSigningKey(): SigningKey {
  return new SigningKey(provider.randomBytes(signingKeySizeBytes), provider)
}

/**
 * The Ed25519 key of a 32-byte seed (RFC 8032 private key), as `exportSeed` gave it.
 *
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID` for any other length.
 */
export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  if (seed.length !== signingKeySizeBytes) throw argumentInvalid('seed')
  return new SigningKey(seed, provider)
}

/**
 * Reads an Ed25519 public key: 32 bytes, canonical, of prime order, not the identity. The expensive check is done once
 * per key while the key stays among the `verifyingKeysMax` most recently used.
 *
 * @throws {CryptoError} `ERR_KEY_INVALID`.
 * @see SPEC.md §1
 */
export function parseVerifyingKey(bytes: Uint8Array): VerifyingKey {
  return parseVerifyingKeyWith(provider, bytes)
}

function signatureInvalid(): CryptoError {
  return new CryptoError('the signature is not valid', { code: 'ERR_SIGNATURE_INVALID' })
}

/**
 * Checks a signature by the one rule: S < L, the cofactorless equation, R compared as bytes.
 *
 * @param check - `signature` 64 bytes; any other length is an invalid signature.
 * @throws {CryptoError} `ERR_SIGNATURE_INVALID`.
 */
export function verifySignature(check: { signature: Uint8Array; message: Uint8Array; key: VerifyingKey }): void {
  if (!VerifyingKey.check(check.key, check.signature, check.message)) throw signatureInvalid()
}

/**
 * As `verifySignature`; on servers the work is done in the thread pool, so several run at once. The inputs must not
 * change until the promise settles.
 *
 * @throws {CryptoError} `ERR_SIGNATURE_INVALID`, as a rejection.
 */
export async function verifySignatureAsync(check: {
  signature: Uint8Array
  message: Uint8Array
  key: VerifyingKey
}): Promise<void> {
  const good = await VerifyingKey.checkAsync(check.key, check.signature, check.message)
  if (!good) throw signatureInvalid()
}

/**
 * True for each signature that fits its key, which is **not** checked: an answer to be used only once `parseVerifyingKey` has accepted the
 * same key elsewhere. For threads that verify ahead: checking a key costs as much as three signatures, and one thread has done it.
 *
 * @see SPEC.md §1, points 2 to 4
 */
export function areSignaturesAhead(asked: readonly SignatureAhead[]): boolean[] {
  return areSignaturesAheadWith(provider, asked)
}
