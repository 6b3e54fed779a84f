/**
 * Generations, cuts, grants and envelopes (SPEC.md §6: key, envelope). A `key` is judged and applied step by step on its own overlay, in the
 * order of its rules, which is also the order of its effects: what a step sees is the state after the steps before it.
 */
import { sha256 } from '@healthblock/crypto/hash'
import { byteText, equalBytes } from '@healthblock/encoding/bytes'
import type { Verdict } from '../block/block-types.ts'
import { isLicenceActive } from '../state/live-at.ts'
import { cutAheadMax, generationStepMax, rulesOfOwners } from '../state/rules.ts'
import { keyRoles, userTables } from '../state/tables.ts'
import type { Cut, EnvelopeEntry, GrantOpening } from '../transaction/transaction.ts'
import {
  areDistinct,
  consentOrder,
  defer,
  isOrganisation,
  type RuleContext,
  refuse,
  signedBy,
  signedByOp,
  slotOf,
  type TransactionOf,
  userSigner,
  valid,
} from './context.ts'

const rolePatient = 1
const roleDoctor = 2
/** Roles that may be given a grant: doctor, guardian, insurer, auditor, agency. */
const rolesGranted: readonly number[] = [2, 5, 6, 7, 8]
const rightsMax = 15
const encapsulationSizeBytes = 1120
const envelopeSizesBytes: readonly number[] = [1472, 1792, 2560, 4096, 8192, 16_384]

type KeyTransaction = TransactionOf<'key'>

/** `key`: rotates, closes and opens grants, brings envelopes. */
export function judgeKey(transaction: KeyTransaction, context: RuleContext): Verdict {
  const { body } = transaction
  const { a, gen } = body
  const signers = [userSigner(context, a, keyRoles.op)]
  if (body.open.length > 0) signers.push(userSigner(context, a, keyRoles.root))
  const current = userTables.currentGeneration.get(context.state, a) ?? 0
  return (
    signedBy(transaction, context, 'key.signature', signers) ??
    consentOrder(body, context) ??
    role(body, context) ??
    seen(body, context) ??
    generation(body, current, context) ??
    cuts(body, current, context) ??
    advance(body, current, context) ??
    close(body, context) ??
    open(body, context) ??
    envelopes('key', { patient: a, generation: gen, env: body.env }, context) ??
    valid
  )
}

/** `envelope`: further envelopes of a `key` whose generation is current. */
export function judgeEnvelope(transaction: TransactionOf<'envelope'>, context: RuleContext): Verdict {
  const unsigned = signedByOp(transaction, context)
  if (unsigned !== undefined) return unsigned
  const { a, key, env } = transaction.body
  const record = userTables.keyTransaction.get(context.state, key)
  if (record === undefined) return defer('envelope.key', 'key')
  const current = userTables.currentGeneration.get(context.state, a) ?? 0
  if (!equalBytes(record.a, a) || record.gen !== current) return refuse('envelope.key')
  return envelopes('envelope', { patient: a, generation: current, env }, context) ?? valid
}

type KeyBody = KeyTransaction['body']

function role({ a }: KeyBody, { state }: RuleContext): Verdict | undefined {
  return userTables.account.get(state, a)?.role === rolePatient ? undefined : refuse('key.role')
}

function seen({ seen: [size, root] }: KeyBody, { log, index }: RuleContext): Verdict | undefined {
  // A gateway that is a block behind must not refuse a revocation for what it has not applied yet.
  if (size > index) return defer('key.seen', 'basis')
  const boundary = log.boundary(size)
  return boundary !== undefined && equalBytes(boundary.root, root) ? undefined : refuse('key.seen')
}

/** Either the current generation again, which changes no cut and closes nothing, or one of the next sixteen. */
function generation(body: KeyBody, current: number, context: RuleContext): Verdict | undefined {
  const { a, gen, first } = body
  const { state } = context
  const refused = refuse('key.generation')
  if (gen < current || gen > current + generationStepMax) return refused
  if (gen > current) return first <= slotOf(context.timeMs, context.epochMs) + 1 ? undefined : refused
  if (gen === 0 || userTables.generation.get(state, a, gen)?.first !== first) return refused
  for (const [stream, cutGen] of body.cut) {
    if (userTables.cut.get(state, a, stream, cutGen) === undefined) return refused
  }
  for (const gid of body.close) if (userTables.grant.get(state, a, gid)?.c === undefined) return refused
  return undefined
}

function cuts(body: KeyBody, current: number, context: RuleContext): Verdict | undefined {
  const { a, gen } = body
  const { state, index: o } = context
  const refused = refuse('key.cut')
  // Ascending by generation, so that the cut before a cut is on record when it is judged, whatever the order in the body.
  const sorted = [...body.cut].sort((left, right) => left[1] - right[1])
  const seenHere = new Set<string>()
  let isAhead = false
  for (const cut of sorted) {
    const name = `${byteText(cut[0])}${cut[1]}`
    if (seenHere.has(name)) return refused
    seenHere.add(name)
    if (!isCutGood(cut, { patient: a, gen, current }, context)) return refused
    const [stream, cutGen, last] = cut
    if (userTables.cut.get(state, a, stream, cutGen) === undefined) {
      const newest = userTables.last.get(state, a, stream)?.[0] ?? 0
      // As far as the cut before it may always be: what was cut further before version 4 must not hold up a rotation.
      const before = userTables.cut.get(state, a, stream, cutGen - 1)?.last ?? 0
      isAhead ||= context.rules >= rulesOfOwners && last - newest > cutAheadMax && last > before
      userTables.cut.set(state, { last, o }, a, stream, cutGen)
    }
  }
  for (const stream of gen > current ? (userTables.openStreams.get(state, a) ?? []) : []) {
    const from = userTables.stream.get(state, a, stream)?.gen ?? 0
    for (let cutGen = Math.max(current, from, 1); cutGen < gen; cutGen++) {
      if (userTables.cut.get(state, a, stream, cutGen) === undefined) return refused
    }
  }
  // Records of the generation in force are taken meanwhile: an honest backlog comes within the bound by itself.
  return isAhead ? defer('key.cut', 'record') : undefined
}

function isCutGood(
  [stream, cutGen, last]: Cut,
  { patient, gen, current }: { patient: Uint8Array; gen: number; current: number },
  { state }: RuleContext,
): boolean {
  const known = userTables.stream.get(state, patient, stream)
  if (known === undefined || cutGen < 1 || cutGen >= gen || cutGen < known.gen) return false
  const onRecord = userTables.cut.get(state, patient, stream, cutGen)
  if (onRecord !== undefined) return onRecord.last === last
  if (cutGen < current) return false
  const before = userTables.cut.get(state, patient, stream, cutGen - 1)?.last ?? 0
  const newest = userTables.last.get(state, patient, stream)?.[0] ?? 0
  return last >= before && last >= newest
}

function advance(body: KeyBody, current: number, context: RuleContext): undefined {
  const { a, gen, first } = body
  const { state, index: o, transactionId } = context
  if (gen > current) {
    userTables.generation.set(state, { o, first, tx: transactionId }, a, gen)
    userTables.currentGeneration.set(state, gen, a)
  }
  userTables.keyTransaction.set(state, { a, gen }, transactionId)
}

/**
 * What an id that is on record nowhere becomes when it is closed. Its `open` may wait at a gateway that is away: the close must not fail
 * for that, and the id must not open afterwards. Nobody is named in it, and it is in force at no size.
 */
const neverOpened = { to: new Uint8Array(32), streams: [], from: 0, until: 0, rights: 0, purpose: 0 } as const

function close({ a, close: gids }: KeyBody, context: RuleContext): undefined {
  const { state, index, transactionId, effects } = context
  for (const gid of gids) {
    const grant = userTables.grant.get(state, a, gid) ?? { ...neverOpened, o: index }
    if (grant.c === undefined) {
      userTables.grant.set(state, { ...grant, c: index }, a, gid)
      effects.wakes = true
    }
    const stateKey = userTables.grant.key(a, gid)
    effects.closes.push({ index, transactionId, patient: a, gid, stateKey, closedAt: grant.c ?? index })
  }
}

function open({ a, open: openings }: KeyBody, context: RuleContext): Verdict | undefined {
  for (const opening of openings) {
    const [gid, to, streams, from, until, rights, purpose, req] = opening
    if (!isOpeningGood(a, opening, context)) return refuse('key.open')
    const record = { to, streams, from, until, rights, purpose, o: context.index }
    userTables.grant.set(context.state, req === undefined ? record : { ...record, req }, a, gid)
  }
  return undefined
}

function isOpeningGood(patient: Uint8Array, opening: GrantOpening, context: RuleContext): boolean {
  const [gid, to, streams, from, until, rights] = opening
  const { state, timeMs, epochMs } = context
  if (userTables.grant.get(state, patient, gid) !== undefined) return false
  const account = userTables.account.get(state, to)
  if (account === undefined || !rolesGranted.includes(account.role)) return false
  if (account.role === roleDoctor) {
    const k = userTables.licenceHead.get(state, to)
    const licence = k === undefined ? undefined : userTables.licence.get(state, to, k)
    if (licence === undefined || !isLicenceActive(licence, timeMs) || !isOrganisation(context, licence.org))
      return false
  }
  const isOpen = (stream: Uint8Array) => {
    const record = userTables.stream.get(state, patient, stream)
    return record !== undefined && record.c === undefined
  }
  if (!areDistinct(streams) || !streams.every(isOpen)) return false
  return rights >= 1 && rights <= rightsMax && until > timeMs && from * epochMs < until
}

function envelopes(
  type: 'key' | 'envelope',
  { patient, generation: gen, env }: { patient: Uint8Array; generation: number; env: readonly EnvelopeEntry[] },
  context: RuleContext,
): Verdict | undefined {
  const { state, index: o } = context
  for (const [gid, envelopeGen, bytes] of env) {
    const refused = refuse(`${type}.env`)
    const grant = userTables.grant.get(state, patient, gid)
    if (grant === undefined || grant.c !== undefined || envelopeGen < 1 || envelopeGen > gen) return refused
    if (userTables.envelope.get(state, patient, gid, envelopeGen) !== undefined) return refused
    if (!envelopeSizesBytes.includes(bytes.length)) return refused
    const encapsulation = sha256(bytes.subarray(0, encapsulationSizeBytes))
    if (userTables.encapsulation.get(state, patient, encapsulation) !== undefined) return refused
    userTables.encapsulation.set(state, 1, patient, encapsulation)
    userTables.envelope.set(state, { o, hash: sha256(bytes) }, patient, gid, envelopeGen)
  }
  return undefined
}
