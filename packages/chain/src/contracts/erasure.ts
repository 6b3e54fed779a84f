/** A patient erases records of her streams (SPEC.md §6: erase). The records' entries stay; what they name goes. */
import type { Verdict } from '../block/block-types.ts'
import { rulesOfOwners } from '../state/rules.ts'
import { keyRoles, userTables } from '../state/tables.ts'
import type { SequenceRange } from '../transaction/transaction.ts'
import { consentOrder, type RuleContext, refuse, signedByOp, type TransactionOf, valid } from './context.ts'

const rolePatient = 1
/** Erasures of one stream; from version 4 of the rules on those under one op key, so that a thief of it does not use up its owner's. */
const erasuresPerKeyMax = 4096
/** Erasures of one stream under all keys: a diagnosis looks at each. */
const erasuresPerStreamMax = 16_384

/** `erase`: says that records of the signer's own streams are erased. */
export function judgeErase(transaction: TransactionOf<'erase'>, context: RuleContext): Verdict {
  const { body } = transaction
  const failed = signedByOp(transaction, context) ?? consentOrder(body, context)
  if (failed !== undefined) return failed
  if (userTables.account.get(context.state, body.a)?.role !== rolePatient) return refuse('erase.role')
  for (const range of body.ranges) if (!isOnRecord(range, body.a, context)) return refuse('erase.range')
  for (const range of body.ranges) if (!record(range, body.a, context)) return refuse('erase.count')
  return valid
}

/** Sequences have no holes: whatever is not after the stream's last record was committed. */
function isOnRecord([stream, from, to]: SequenceRange, patient: Uint8Array, { state }: RuleContext): boolean {
  const [last] = userTables.last.get(state, patient, stream) ?? [0]
  return from >= 1 && from <= to && to <= last
}

function record([stream, from, to]: SequenceRange, patient: Uint8Array, context: RuleContext): boolean {
  const { state, index: o } = context
  const newest = userTables.erasedHead.get(state, patient, stream)
  const k = newest === undefined ? 0 : newest + 1
  if (!isFree(k, { stream, patient }, context)) return false
  userTables.erased.set(state, { from, to, o }, patient, stream, k)
  userTables.erasedHead.set(state, k, patient, stream)
  return true
}

/** True if there may be an erasure k of the stream. They are numbered in the order in which they came. */
function isFree(
  k: number,
  { stream, patient }: { stream: Uint8Array; patient: Uint8Array },
  { state, rules }: RuleContext,
): boolean {
  if (k < erasuresPerKeyMax) return true
  if (rules < rulesOfOwners || k >= erasuresPerStreamMax) return false
  const head = userTables.keyHead.get(state, patient, keyRoles.op) ?? 0
  const opened = userTables.key.get(state, patient, keyRoles.op, head)?.o ?? 0
  const oldest = userTables.erased.get(state, patient, stream, k - erasuresPerKeyMax)
  return oldest !== undefined && oldest.o < opened
}
