/**
 * The cryptographic provider of the simulator. Everything is the native provider's but for three things. Verification answers at
 * once: the thread pool's order is nobody's to repeat. A signature of a fixed transaction is verified once a process. And the keys of
 * the simulated nodes sign by SHA-256 over seed and message: nobody here can make one without the seed, a different message has a
 * different signature, and it costs a fiftieth of Ed25519, of which a run would make thousands.
 */
import { provider as native } from '../../packages/crypto/src/provider/native.ts'
import type { Bytes, Provider, VerifyingHandle } from '../../packages/crypto/src/provider/provider.ts'

/** Seeds of nodes' keys begin with these bytes. */
export const nodeSeedMark = Uint8Array.of(0x68, 0x62, 0x73, 0x69)
/** Seeds of nodes' keys by public key, as texts of one character a byte. */
const nodeSeeds = new Map<string, Uint8Array>()
const verified = new Map<string, boolean>()

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function isNodeSeed(seed: Uint8Array): boolean {
  return nodeSeedMark.every((byte, i) => seed[i] === byte)
}

function tagOf(seed: Uint8Array, message: Uint8Array): Bytes {
  const digest = native.sha256([seed, message])
  const signature = new Uint8Array(64)
  signature.set(digest)
  signature.set(digest, 32)
  return signature
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

function realVerifier(publicKey: Uint8Array): (signature: Uint8Array, message: Uint8Array) => boolean {
  const handle = native.ed25519Verifier(publicKey)
  const name = text(publicKey)
  return (signature, message) => {
    const claim = name + text(signature) + text(native.sha256([message]))
    let good = verified.get(claim)
    if (good === undefined) {
      good = handle.verify(signature, message)
      verified.set(claim, good)
    }
    return good
  }
}

/** The provider that hooks put in the place of the native one. */
export const provider: Provider = {
  ...native,
  get hpke() {
    return native.hpke
  },
  ed25519PublicKey(seed) {
    const publicKey = native.ed25519PublicKey(seed)
    if (isNodeSeed(seed)) nodeSeeds.set(text(publicKey), Uint8Array.from(seed))
    return publicKey
  },
  ed25519Signer(seed) {
    if (!isNodeSeed(seed)) return native.ed25519Signer(seed)
    const own = Uint8Array.from(seed)
    return { sign: (message) => tagOf(own, message) }
  },
  ed25519Verifier(publicKey): VerifyingHandle {
    const seed = nodeSeeds.get(text(publicKey))
    const verify =
      seed === undefined
        ? realVerifier(publicKey)
        : (signature: Uint8Array, message: Uint8Array) => same(tagOf(seed, message), signature)
    return { verify, verifyAsync: async (signature, message) => verify(signature, message) }
  },
}
