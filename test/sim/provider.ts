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
/** What verifies for each public key. */
const handles = new Map<string, VerifyingHandle>()

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
  return Buffer.compare(a, b) === 0
}

function handleOf(verify: VerifyingHandle['verify']): VerifyingHandle {
  return { verify, verifyAsync: async (signature, message) => verify(signature, message) }
}

/** A verification that was made: of these bytes, for one key and one signature. */
interface Judged {
  readonly message: Uint8Array
  readonly good: boolean
}

/** Verifies each signature once, as long as it comes with the message that it came with last. */
function remembering(verify: VerifyingHandle['verify']): VerifyingHandle['verify'] {
  const judged = new Map<string, Judged>()
  return (signature, message) => {
    const name = text(signature)
    const known = judged.get(name)
    if (known !== undefined && same(known.message, message)) return known.good
    const good = verify(signature, message)
    judged.set(name, { message: message.slice(), good })
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
  ed25519Verifier(publicKey) {
    const name = text(publicKey)
    const known = handles.get(name)
    if (known !== undefined) return known
    const seed = nodeSeeds.get(name)
    const real = native.ed25519Verifier(publicKey)
    const handle = handleOf(
      seed === undefined
        ? remembering((signature, message) => real.verify(signature, message))
        : (signature, message) => same(tagOf(seed, message), signature),
    )
    handles.set(name, handle)
    return handle
  },
  ed25519VerifyAll: (checks) => checks.map(({ handle, signature, message }) => handle.verify(signature, message)),
}
