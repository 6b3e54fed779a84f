/** Acts that her root key signs at her node, and that the ledger answers. */
import { ApiError, call } from '../frame/api.ts'

interface TransactionState {
  readonly status: string
  readonly refusal?: { readonly rule?: string }
}

const pollMs = 500
const patienceMs = 60_000
/** Who has a stolen key may come first, again and again. */
const triesMax = 20

/** The rule that refused it; undefined once it is on record. @throws {ApiError} `ERR_STILL_WAITING` if there is no answer in time. */
async function refusalOf(base: string, transactionId: string): Promise<string | undefined> {
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += pollMs) {
    const path = `${base}/transactions/${transactionId}`
    const { status, refusal } = await call<TransactionState>(path, { isBackground: true })
    if (status === 'committed') return undefined
    if (status === 'refused') return refusal?.rule ?? ''
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
  throw new ApiError('the ledger has not answered yet', 0, { code: 'ERR_STILL_WAITING' })
}

/**
 * Asks the node, and waits for the ledger; asks again if another consent came before it.
 *
 * @param overtaken - the refusal that says so.
 * @param ask - gives the transaction's id.
 * @throws {ApiError} `ERR_LEDGER_REFUSED`, `ERR_STILL_WAITING`, and what the node answers.
 */
export async function onLedger(base: string, overtaken: string, ask: () => Promise<string>): Promise<void> {
  for (let tries = 1; ; tries++) {
    const rule = await refusalOf(base, await ask())
    if (rule === undefined) return
    if (rule !== overtaken || tries === triesMax) throw new ApiError(rule, 0, { code: 'ERR_LEDGER_REFUSED' })
  }
}
