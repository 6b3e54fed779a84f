/** Blocks are encrypted once more on disk, under the node's own key, so that a stolen disk is twice sealed. */
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto'

const nonceBytes = 12
const tagBytes = 16
const pieceBytes = 65_536
/** How much longer a block is on disk: nonce and tag. */
export const atRestOverheadBytes = nonceBytes + tagBytes

/**
 * Encrypts a block for the disk: nonce || AES-256-GCM ciphertext || tag, bound to its digest. Nonces are random, so one
 * key must not encrypt more than 2^32 blocks (NIST SP 800-38D §8.3).
 *
 * @param key - 32 bytes.
 */
export function sealAtRest(key: Uint8Array, digest: Uint8Array, bytes: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(nonceBytes + bytes.length + tagBytes)
  const nonce = randomFillSync(sealed.subarray(0, nonceBytes))
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(digest)
  sealed.set(cipher.update(bytes), nonceBytes)
  cipher.final()
  sealed.set(cipher.getAuthTag(), nonceBytes + bytes.length)
  return sealed
}

/**
 * As {@link sealAtRest}, piece by piece: a large block in one piece would take a fresh buffer of its size, which costs
 * more than to encrypt it.
 */
export function* sealInPieces(key: Uint8Array, digest: Uint8Array, bytes: Uint8Array): Generator<Uint8Array> {
  const nonce = randomFillSync(new Uint8Array(nonceBytes))
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(digest)
  yield nonce
  for (let at = 0; at < bytes.length; at += pieceBytes) yield cipher.update(bytes.subarray(at, at + pieceBytes))
  cipher.final()
  yield cipher.getAuthTag()
}

/** Decrypts what {@link sealAtRest} or {@link sealInPieces} wrote; undefined if one bit is not as it was written. */
export function openAtRest(key: Uint8Array, digest: Uint8Array, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < atRestOverheadBytes) return undefined
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes))
    decipher.setAAD(digest)
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    const opened = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes))
    decipher.final()
    return opened
  } catch {
    return undefined
  }
}
