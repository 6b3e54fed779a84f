/** Remembers signatures that verified, so that no node verifies one twice between intake and sealing. */
import { parseVerifyingKey, verifySignature, verifySignatureAsync } from '@healthblock/crypto/signature'
import { byteText } from '@healthblock/encoding/bytes'
import { type ByteKey, ByteMap, byteKey } from '../state/byte-map.ts'
import { RecentMap } from '../state/recent-map.ts'

/** One signature to check. `message` is what it is over, and `id` stands for that, 32 bytes: the transaction id, or its SHA-256. */
export interface SignatureClaim {
  readonly id: Uint8Array
  readonly publicKey: Uint8Array
  readonly signature: Uint8Array
  readonly message: () => Uint8Array
}

/** The half that is always kept is more than gateway, pool and leader have between intake and sealing. */
const entriesMaxDefault = 40_960

/**
 * Good signatures with their transaction id and public key. Bad ones are not remembered. When full, the oldest go.
 * No two claims of honest signers share a signature; if two do, the newer is remembered and the older is verified again.
 */
export class SignatureCache {
  /** By signature. The names are texts, which are a fifth of what byte arrays with their buffers take. */
  readonly #good: RecentMap<ByteKey, string>

  constructor(entriesMax = entriesMaxDefault) {
    this.#good = new RecentMap(entriesMax, () => new ByteMap())
  }

  /** True if the signature is good; verifies on this thread what is not remembered. */
  isGood(claim: SignatureClaim): boolean {
    if (this.remembers(claim)) return true
    try {
      const key = parseVerifyingKey(claim.publicKey)
      verifySignature({ signature: claim.signature, message: claim.message(), key })
    } catch {
      return false
    }
    this.remember(claim)
    return true
  }

  /** Verifies off the event loop, where the platform can, and remembers the signature if it is good. Never rejects. */
  async prepare(claim: SignatureClaim): Promise<void> {
    if (this.remembers(claim)) return
    try {
      const key = parseVerifyingKey(claim.publicKey)
      await verifySignatureAsync({ signature: claim.signature, message: claim.message(), key })
      this.remember(claim)
    } catch {
      // Not good: execution finds that again, and names the rule.
    }
  }

  /** True if the signature was good for some transaction and key: most likely for what it is asked about. */
  hasSeen(signature: Uint8Array): boolean {
    return this.#good.has(byteKey(signature))
  }

  /** True if this very signature was found good, for this key and message. */
  remembers({ id, publicKey, signature }: Omit<SignatureClaim, 'message'>): boolean {
    const known = this.#good.get(byteKey(signature))
    return known !== undefined && known === nameOf(id, publicKey)
  }

  /** Remembers a signature that the caller verified. */
  remember({ id, publicKey, signature }: Omit<SignatureClaim, 'message'>): void {
    this.#good.set(byteKey(signature), nameOf(id, publicKey))
  }
}

// Naming never waits: a new array for each name would cost as much as the name.
const joined = new Uint8Array(64)

/** Both are 32 bytes. */
function nameOf(id: Uint8Array, publicKey: Uint8Array): string {
  joined.set(id)
  joined.set(publicKey, 32)
  return byteText(joined)
}
