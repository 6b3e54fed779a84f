/** Witnesses as their operators hand them over: an address, and a verifier key in one line. */
import { ChainError } from '@healthblock/chain/errors'
import { parseWitnessKey } from '@healthblock/chain/witness'
import { UsageError } from './io.ts'

/** What is wrong with a key, by the verifier's reason. */
const faults: Readonly<Record<string, string>> = {
  type: "it is of another type than a witness's (0x04), such as a node's log key",
  'name of a ledger': "its name is that of a ledger's own node",
  'key id': 'its id is not that of the key: a character is missing or was changed',
}

/**
 * Checks a witness's verifier key before anybody is told of it.
 *
 * @param what - What the caller calls it (`VKEY`, `--witness`).
 * @throws {UsageError} saying what is wrong with it.
 */
export function checkWitnessKey(vkey: string, what: string): void {
  try {
    parseWitnessKey(vkey)
  } catch (cause) {
    if (!(cause instanceof ChainError)) throw cause
    const { detail } = cause
    const fault = 'reason' in detail ? faults[detail.reason] : undefined
    throw new UsageError(`${what} "${vkey}" is not the key of a witness: ${fault ?? 'it is not NAME+ID+KEY'}`, {
      cause,
    })
  }
}

/** @throws {UsageError} for what is no http or https address. */
export function checkWitnessUrl(url: string, what: string): void {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw new UsageError(`${what} takes an http or https address, not "${url}"`)
}
