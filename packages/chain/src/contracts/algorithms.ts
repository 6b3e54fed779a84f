/** Algorithms that diagnose, registered by organisations (SPEC.md §6: algorithm). */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Verdict } from '../block/block-types.ts'
import { userTables } from '../state/tables.ts'
import { isOrganisation, isZero, type RuleContext, refuse, signedByOp, type TransactionOf, valid } from './context.ts'

const actAdd = 1

/** `algorithm`: registers an algorithm under its hash, or withdraws it. */
export function judgeAlgorithm(transaction: TransactionOf<'algorithm'>, context: RuleContext): Verdict {
  const unsigned = signedByOp(transaction, context)
  if (unsigned !== undefined) return unsigned
  const { a, id, version, hash, act } = transaction.body
  const { state, index } = context
  if (!isOrganisation(context, a)) return refuse('algorithm.role')
  const record = userTables.algorithm.get(state, hash)
  if (act === actAdd) {
    // Zero stands for a diagnosis by hand.
    if (record !== undefined || isZero(hash)) return refuse('algorithm.hash')
    userTables.algorithm.set(state, { org: a, id, version, o: index }, hash)
    return valid
  }
  const isOwn = record !== undefined && record.c === undefined && equalBytes(record.org, a)
  if (!isOwn || record.id !== id || record.version !== version) return refuse('algorithm.hash')
  userTables.algorithm.set(state, { ...record, c: index }, hash)
  return valid
}
