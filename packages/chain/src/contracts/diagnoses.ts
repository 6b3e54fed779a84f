/** Diagnoses, amendments and what could not be read (SPEC.md §6, Docchain: diagnosis, amend, unreadable). */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Verdict } from '../block/block-types.ts'
import { algorithmAt, grantRights, isErasedAt, liveAt } from '../state/live-at.ts'
import { docTables, type GrantRecord, userTables } from '../state/tables.ts'
import type { LogHead, SequenceRange } from '../transaction/transaction.ts'
import {
  type DocchainContext,
  defer,
  includesBytes,
  isZero,
  refuse,
  signedByOpAtAnchor,
  slotOf,
  type TransactionOf,
  valid,
} from './context.ts'

/** The one length of a stored diagnosis or amendment. */
const documentSizeBytes = 16_384
const actSign = 1
const actWithdraw = 3

/** What `diagnosis` and `unreadable` share. */
interface Reading {
  readonly a: Uint8Array
  readonly pat: Uint8Array
  readonly g: Uint8Array
  readonly basis: LogHead
  readonly in: readonly SequenceRange[]
}

/** `diagnosis`. */
export function judgeDiagnosis(transaction: TransactionOf<'diagnosis'>, context: DocchainContext): Verdict {
  const { body } = transaction
  const { a: doctor, pat, g, gen, epoch, seq } = body
  const judged = signedByOpAtAnchor(transaction, context, 'D.signature') ?? judgeReading('D', body, context)
  if ('verdict' in judged) return judged
  const { state, index: o, anchor, userchain } = context
  const [lastSequence, lastEpoch] = docTables.diagnosisStream.get(state, pat, doctor) ?? [0, 0]
  if (!isWithin(judged, epoch, context.epochMs) || epoch < lastEpoch) return refuse('D.range')
  if (epoch > slotOf(context.timeMs, context.epochMs) + 1) return refuse('D.range')
  if (body.len !== documentSizeBytes || isZero(body.cid)) return refuse('D.range')
  const envelope = userTables.envelope.get(userchain.state, pat, g, gen)
  if (envelope === undefined || envelope.o >= anchor.size) return refuse('D.range')
  const outOfSequence = sequence('D', seq, lastSequence)
  if (outOfSequence !== undefined) return outOfSequence
  const isAlgorithmGood = isZero(body.alg) || algorithmAt(userchain.state, body.alg, anchor.size) !== undefined
  if (!isAlgorithmGood) return refuse('D.algorithm')
  if (body.carry !== undefined) {
    const carried = docTables.diagnosis.get(state, body.carry)
    const isOwn = carried !== undefined && equalBytes(carried.doctor, doctor) && equalBytes(carried.pat, pat)
    if (!isOwn) return refuse('D.carry')
  }
  if (body.esc !== undefined) return refuse('D.escrow')
  docTables.diagnosisStream.set(state, [seq, epoch], pat, doctor)
  docTables.diagnosis.set(state, { pat, doctor, g, gen, epoch, o }, context.transactionId)
  return valid
}

/** `amend`: signs, corrects or withdraws a diagnosis of one's own. */
export function judgeAmend(transaction: TransactionOf<'amend'>, context: DocchainContext): Verdict {
  const unsigned = signedByOpAtAnchor(transaction, context, 'A.signature')
  if (unsigned !== undefined) return unsigned
  const { a: doctor, of, act, gen, epoch, seq, cid, len } = transaction.body
  const { state, index } = context
  const amended = docTables.diagnosis.get(state, of)
  if (amended === undefined || !equalBytes(amended.doctor, doctor) || amended.c !== undefined) return refuse('A.of')
  const isContentGood = act === actSign ? len === 0 && isZero(cid) : len === documentSizeBytes && !isZero(cid)
  if (gen !== amended.gen || epoch !== amended.epoch || !isContentGood) return refuse('A.place')
  const [lastSequence, lastEpoch] = docTables.diagnosisStream.get(state, amended.pat, doctor) ?? [0, 0]
  const outOfSequence = sequence('A', seq, lastSequence)
  if (outOfSequence !== undefined) return outOfSequence
  docTables.diagnosisStream.set(state, [seq, lastEpoch], amended.pat, doctor)
  if (act === actWithdraw) docTables.diagnosis.set(state, { ...amended, c: index }, of)
  return valid
}

/** `unreadable`: says which records a doctor's node could not read, and why. It leaves nothing in the state. */
export function judgeUnreadable(transaction: TransactionOf<'unreadable'>, context: DocchainContext): Verdict {
  const judged =
    signedByOpAtAnchor(transaction, context, 'unreadable.signature') ??
    judgeReading('unreadable', transaction.body, context)
  return 'verdict' in judged ? judged : valid
}

/** `.basis`, `.grant`, `.live` and the ranges of `.range`; gives the grant if all hold. */
function judgeReading(prefix: string, reading: Reading, context: DocchainContext): Verdict | GrantRecord {
  const { a, pat, g, basis } = reading
  const { anchor, userchain } = context
  if (basis[0] > anchor.size) return defer(`${prefix}.basis`, 'basis')
  const boundary = userchain.log.boundary(basis[0])
  if (boundary === undefined || !equalBytes(boundary.root, basis[1])) return refuse(`${prefix}.basis`)
  const grant = userTables.grant.get(userchain.state, pat, g)
  if (grant === undefined || grant.o >= anchor.size || !equalBytes(grant.to, a)) return refuse(`${prefix}.grant`)
  const live = liveAt(userchain.state, { patient: pat, gid: g, s: anchor.size, timeMs: context.timeMs })
  if (live === undefined || (live.rights & grantRights.diagnose) === 0) return refuse(`${prefix}.live`)
  for (const range of reading.in) {
    const failed = judgeRange(`${prefix}.range`, range, { patient: pat, grant }, context)
    if (failed !== undefined) return failed
  }
  return grant
}

/** Sequences are committed in order and epochs never decrease, so both ends speak for the range. */
function judgeRange(
  rule: string,
  [stream, from, to]: SequenceRange,
  { patient, grant }: { patient: Uint8Array; grant: GrantRecord },
  context: DocchainContext,
): Verdict | undefined {
  const { anchor, userchain, epochMs } = context
  if (from < 1 || from > to || !includesBytes(grant.streams, stream)) return refuse(rule)
  const last = userchain.log.record(patient, stream, to)
  if (last === undefined) return defer(rule, 'record')
  if (last.index >= anchor.size) return refuse(rule)
  const first = from === to ? last : userchain.log.record(patient, stream, from)
  const areGranted =
    first !== undefined && isWithin(grant, first.epoch, epochMs) && isWithin(grant, last.epoch, epochMs)
  if (!areGranted || isErasedAt(userchain.state, { patient, stream, from, to }, anchor.size)) return refuse(rule)
  return undefined
}

/** True if the epoch lies in [from, floor(until / epoch length)). */
function isWithin(grant: GrantRecord, epoch: number, epochMs: number): boolean {
  return epoch >= grant.from && epoch < slotOf(grant.until, epochMs)
}

function sequence(prefix: string, seq: number, last: number): Verdict | undefined {
  if (seq <= last) return refuse(`${prefix}.sequence`)
  return seq > last + 1 ? defer(`${prefix}.sequence`, 'sequence') : undefined
}
