/** What ends a follower for good, since a quorum signed a block that cannot be followed; and what keeps it from being up to date. */
import type { ChainName } from '@healthblock/chain/chains'
import { codeOf, isRuntimeError, messageOf, RuntimeError } from '../errors.ts'
import type { ReadinessCheck } from '../http/http-app.ts'
import type { Freshness } from './follower-types.ts'

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

/** What a node said that does not take this one as a reader: its clock is wrong, or its key is not live. */
export function refusalOf(error: unknown): string | undefined {
  const isRefused = isRuntimeError(error, 'ERR_SOURCE_REFUSED') && [401, 403].includes(error.detail.status)
  if (isRefused) return error.message
  return isRuntimeError(error, 'ERR_NO_SOURCE') ? refusalOf(error.cause) : undefined
}

/** One chain's part of `/readyz`. `fault`: why nothing of it can be followed now. */
export function readinessOf(
  name: ChainName,
  { appliedSize, publishedSize }: Freshness,
  fault?: string,
): ReadinessCheck {
  const reason = fault ?? (appliedSize < publishedSize ? 'blocks are still being verified' : undefined)
  return reason === undefined ? { name, ready: true } : { name, ready: false, reason }
}
