/** KEM keys that accounts register: only such as envelopes can be sealed to (crypto's SPEC.md §5). */
import { kemSuiteDefault, parseKemPublicKey } from '@healthblock/crypto/envelope'
import { CryptoError } from '@healthblock/crypto/errors'
import { sha256 } from '@healthblock/crypto/hash'
import { byteText } from '@healthblock/encoding/bytes'

/** The check takes more than a millisecond and is made at intake, when a block is built and when it is checked. */
const rememberedMax = 16_384
/** Hashes of keys that are good: a fact about the bytes alone, whatever the ledger. */
const good = new Set<string>()

/** True if the suite is known and envelopes can be sealed to the key. Keys that were good are remembered. */
export function isKemKey({ suite, bytes }: { readonly suite: number; readonly bytes: Uint8Array }): boolean {
  if (suite !== kemSuiteDefault) return false
  const name = byteText(sha256(bytes))
  if (good.has(name)) return true
  try {
    parseKemPublicKey({ suite, bytes })
  } catch (error) {
    if (!(error instanceof CryptoError)) throw error
    return false
  }
  if (good.size >= rememberedMax) good.delete(good.keys().next().value as string)
  good.add(name)
  return true
}
