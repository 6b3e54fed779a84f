/** Why a block cannot be followed although a quorum signed it: what ends a follower for good. */
import type { ChainName } from '@healthblock/chain/chains'
import { codeOf, messageOf, RuntimeError } from './errors.ts'

/**
 * What a failed execution of a block under the quorum's signatures means: the quorum has signed what no rule allows, or the ledger is
 * under rules that this program does not know. Undefined for a fault of this process.
 */
export function finalFault(
  error: unknown,
  chain: ChainName,
  block: { readonly height: number; readonly firstIndex: number },
): RuntimeError | undefined {
  const { height, firstIndex } = block
  if (codeOf(error) === 'ERR_RULES_UNKNOWN') {
    return new RuntimeError(messageOf(error), { code: 'ERR_LEDGER_RULES', chain, height }, { cause: error })
  }
  const { detail } = error as { detail?: { rule?: string; index?: number } }
  if (detail?.rule === undefined) return undefined
  const { rule, index = firstIndex } = detail
  return new RuntimeError(
    `a quorum has signed block ${height} of ${chain}, which breaks ${rule}`,
    { code: 'ERR_LEDGER_INVALID', chain, height, index, rule },
    { cause: error },
  )
}
