/** Remembers signatures that verified, so that no node verifies one twice between intake and sealing. */
import { parseVerifyingKey, verifySignature, verifySignatureAsync } from '@healthblock/crypto/signature'
import { byteText } from './state.ts'

/** One signature to check. `message` is M of SPEC.md §1, and `id` the transaction id, which stands for it. */
export interface SignatureClaim {
  readonly id: Uint8Array
  readonly publicKey: Uint8Array
  readonly signature: Uint8Array
  readonly message: () => Uint8Array
}

const entriesMaxDefault = 131_072

function nameOf({ id, publicKey, signature }: SignatureClaim): string {
  return byteText(id) + byteText(publicKey) + byteText(signature)
}

/** Good signatures by (transaction id, public key, signature). Bad ones are not remembered. When full, the oldest entry goes. */
export class SignatureCache {
  readonly #good = new Set<string>()
  readonly #entriesMax: number

  constructor(entriesMax = entriesMaxDefault) {
    this.#entriesMax = entriesMax
  }

  /** True if the signature is good; verifies on this thread what is not remembered. */
  isGood(claim: SignatureClaim): boolean {
    const name = nameOf(claim)
    if (this.#good.has(name)) return true
    try {
      const key = parseVerifyingKey(claim.publicKey)
      verifySignature({ signature: claim.signature, message: claim.message(), key })
    } catch {
      return false
    }
    this.#remember(name)
    return true
  }

  /** Verifies off the event loop, where the platform can, and remembers the signature if it is good. Never rejects. */
  async prepare(claim: SignatureClaim): Promise<void> {
    const name = nameOf(claim)
    if (this.#good.has(name)) return
    try {
      const key = parseVerifyingKey(claim.publicKey)
      await verifySignatureAsync({ signature: claim.signature, message: claim.message(), key })
      this.#remember(name)
    } catch {
      // Not good: execution finds that again, and names the rule.
    }
  }

  #remember(name: string): void {
    if (this.#good.size >= this.#entriesMax) {
      for (const oldest of this.#good) {
        this.#good.delete(oldest)
        break
      }
    }
    this.#good.add(name)
  }
}
