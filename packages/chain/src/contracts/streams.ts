/** Records of streams (SPEC.md §6: iot). The hot path: one transaction reads about eight records of the state. */
import type { Verdict } from '../block/block-types.ts'
import { userTables } from '../state/tables.ts'
import type { IotRecord } from '../transaction/transaction.ts'
import { defer, isZero, type RuleContext, refuse, signedByOp, slotOf, type TransactionOf, valid } from './context.ts'

const kindData = 0
const kindEmpty = 1
const kindGap = 2
const kindFile = 3
const classSizeBytesMin = 1024
const classSizeBytesMax = 262_144

/** `iot`: records of the signer's own streams, each the next of its stream. */
export function judgeIot(transaction: TransactionOf<'iot'>, context: RuleContext): Verdict {
  const unsigned = signedByOp(transaction, context)
  if (unsigned !== undefined) return unsigned
  const patient = transaction.body.a
  const current = userTables.currentGeneration.get(context.state, patient) ?? 0
  for (const record of transaction.body.r) {
    const failed = judgeRecord(record, patient, current, context)
    if (failed !== undefined) return failed
  }
  return valid
}

function judgeRecord(
  record: IotRecord,
  patient: Uint8Array,
  current: number,
  context: RuleContext,
): Verdict | undefined {
  const [stream, seq, gen, epoch, kind, len] = record
  const { state } = context
  const known = userTables.stream.get(state, patient, stream)
  if (known === undefined) return defer('iot.stream', 'stream')
  if (known.c !== undefined) return refuse('iot.stream')
  const [lastSequence, lastEpoch] = userTables.last.get(state, patient, stream) ?? [0, 0]
  if (seq <= lastSequence) return refuse('iot.sequence')
  if (seq > lastSequence + 1) return defer('iot.sequence', 'sequence')
  if (gen > current) return defer('iot.generation', 'generation')
  if (!isOfGeneration(record, known.gen, patient, current, context)) return refuse('iot.generation')
  if (epoch < lastEpoch || epoch > slotOf(context.timeMs, context.epochMs) + 1) return refuse('iot.epoch')
  const isFixed = kind === kindData || kind === kindEmpty
  const fixed = isFixed ? userTables.streamClass.get(state, patient, stream, gen) : undefined
  if (!isLengthGood(record, fixed)) return refuse('iot.length')
  if (kind > kindFile) return refuse('iot.kind')
  if (isFixed && fixed === undefined) userTables.streamClass.set(state, len, patient, stream, gen)
  userTables.last.set(state, [seq, epoch], patient, stream)
  const entry = { index: context.index, generation: gen, epoch, kind }
  context.effects.records.push({ patient, stream, sequence: seq, entry })
  return undefined
}

/** A record is of the generation whose cuts it lies between. The current one has no cut yet: cuts open what follows them. */
function isOfGeneration(
  [stream, seq, gen]: IotRecord,
  firstGeneration: number,
  patient: Uint8Array,
  current: number,
  { state }: RuleContext,
): boolean {
  if (gen === 0 || gen < firstGeneration) return false
  if (firstGeneration < gen) {
    const before = userTables.cut.get(state, patient, stream, gen - 1)
    if (before !== undefined && seq <= before.last) return false
  }
  if (gen === current) return true
  const own = userTables.cut.get(state, patient, stream, gen)
  return own !== undefined && seq <= own.last
}

function isLengthGood([, , , , kind, len, cid]: IotRecord, fixed: number | undefined): boolean {
  switch (kind) {
    case kindData:
    case kindEmpty:
      return isClass(len) && (fixed === undefined || fixed === len) && !isZero(cid)
    case kindGap:
      return len === 0 && isZero(cid)
    case kindFile:
      return isPadme(len) && !isZero(cid)
    default:
      return true
  }
}

function isClass(len: number): boolean {
  return len >= classSizeBytesMin && len <= classSizeBytesMax && (len & (len - 1)) === 0
}

/** floor(log2(n)) for an integer n >= 1; Math.log2 may round and is no rule for a ledger. */
function exponentOf(n: number): number {
  let exponent = 0
  for (let rest = n; rest >= 2; rest = Math.floor(rest / 2)) exponent++
  return exponent
}

/** Padmé (Nikitin et al., PURBs 2019): E = floor(log2 L), S = floor(log2 E) + 1, and the low E - S bits of L are zero. */
function isPadme(len: number): boolean {
  if (len < 2) return len === 1
  const exponent = exponentOf(len)
  const significant = exponentOf(exponent) + 1
  return len % 2 ** Math.max(0, exponent - significant) === 0
}
