/** Reading the head register, and what follows from it: nothing is decided but what stands there on q acks. */
import { equalBytes } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { AccountingError, isAccountingError } from '../errors.ts'
import type { CoreState } from './core-state.ts'
import type { JudgedValue } from './judged-value.ts'
import { type HeadValue, isSameHead, parseHeadValue } from './wire.ts'

/** Terms that a ledger takes in a millisecond, at most: a takeover takes some hundred, and skips no more than `termsAheadMax`. */
const termsPerMsMax = 16
/** A term or an incarnation is believed so far beyond the own one: what nothing proves uses none up. */
export const termsAheadMax = 1_024

/** What the register holds: raw bytes for the next compare-and-set, and the value if it stands on q acks. */
export interface RegisterReading {
  readonly bytes: Uint8Array | undefined
  readonly value: HeadValue | undefined
  /** What the bytes say, whatever it stands on. */
  readonly claimed: HeadValue | undefined
}

function parsed(bytes: Uint8Array): HeadValue | undefined {
  try {
    return parseHeadValue(bytes)
  } catch {
    return undefined
  }
}

/** Judges what was read; the same bytes under the same members once. */
function judge(core: CoreState, bytes: Uint8Array): JudgedValue {
  const last = core.judged
  const isSame = last !== undefined && equalBytes(last.bytes, bytes)
  const claimed = isSame ? last.claimed : parsed(bytes)
  const members = claimed === undefined ? undefined : core.memberships.at(claimed.height)
  if (isSame && members === last.members) return last
  const isValid = claimed !== undefined && members?.isValid(claimed) === true
  const judged = { bytes, claimed, members, isValid }
  core.judged = judged
  return judged
}

/**
 * False for a term or an incarnation that the ledger cannot have come to: acks do not sign them, and who may write the register could use
 * all of them up, so that nobody ever led again.
 */
function isReachable(core: CoreState, { term, incarnation }: HeadValue): boolean {
  const { term: ownTerm, incarnation: ownIncarnation } = core.promise.current
  const byNow = Math.max(0, core.nowMs() - core.ledger.genesis.body.start) * termsPerMsMax
  return (
    term <= Math.max(ownTerm, byNow) + termsAheadMax && incarnation <= Math.max(ownIncarnation, byNow) + termsAheadMax
  )
}

/**
 * Reads the register; a value that does not stand on q acks, or whose term nobody can have come to, counts as absent.
 *
 * @throws {AccountingError} `ERR_REGISTER_FAILED` while it cannot be read; `ERR_FORKED` if it contradicts what this node applied.
 */
export async function readRegister(core: CoreState): Promise<RegisterReading> {
  let bytes: Uint8Array | undefined
  try {
    bytes = await core.options.register.read(core.chain)
    core.registerReachable = true
  } catch (cause) {
    core.registerReachable = false
    if (isAccountingError(cause, 'ERR_REGISTER_FAILED')) throw cause
    const reason = messageOf(cause)
    throw new AccountingError(`head register: ${reason}`, { code: 'ERR_REGISTER_FAILED', reason }, { cause })
  }
  const judged = bytes === undefined ? undefined : judge(core, bytes)
  const found = judged?.claimed
  const isValid = judged?.isValid === true && found !== undefined && isReachable(core, found)
  const value = isValid ? found : undefined
  if (value !== undefined) {
    const place = core.ledger.index(core.chain).boundaryAt(value.height)
    if (place !== undefined && !isSameHead(place, value)) {
      throw core.fork(value.height, `the register decided another block ${value.height} than this node applied`)
    }
    core.largestSizeSeen = Math.max(core.largestSizeSeen, value.size)
    core.noteDecided(value)
  }
  if (core.value?.term !== value?.term || core.value?.leader !== value?.leader) {
    if (core.value?.leader !== value?.leader) core.leaderSinceMs = core.elapsedMs()
    core.changed.notify()
  }
  core.value = value
  return { bytes, value, claimed: found }
}
