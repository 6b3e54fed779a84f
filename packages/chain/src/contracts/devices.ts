/** A patient's devices and the streams that begin with them (SPEC.md §6: device). */
import type { Verdict } from '../block/block-types.ts'
import { rulesOfOwners } from '../state/rules.ts'
import { keyRoles, userTables } from '../state/tables.ts'
import {
  areDistinct,
  consentOrder,
  type RuleContext,
  refuse,
  signedBy,
  type TransactionOf,
  userSigner,
  valid,
} from './context.ts'

const rolePatient = 1
const actAdd = 1
const actRemove = 2
const openStreamsMax = 16

/** `device`: adds a device with its streams, or removes it and closes them. */
export function judgeDevice(transaction: TransactionOf<'device'>, context: RuleContext): Verdict {
  const { body } = transaction
  const signers = [userSigner(context, body.a, keyRoles.op)]
  // A closed stream never takes a record again: who has op alone must not close it.
  const isByRoot = body.act === actRemove && context.rules >= rulesOfOwners
  if (isByRoot) signers.push(userSigner(context, body.a, keyRoles.root))
  const failed = signedBy(transaction, context, 'device.signature', signers) ?? consentOrder(body, context)
  if (failed !== undefined) return failed
  if (userTables.account.get(context.state, body.a)?.role !== rolePatient) return refuse('device.role')
  if (body.sid !== undefined) return refuse('device.act')
  if (body.act === actAdd) return add(transaction, context)
  return body.act === actRemove ? remove(transaction, context) : refuse('device.act')
}

function add({ body }: TransactionOf<'device'>, { state, index: o }: RuleContext): Verdict {
  const { a, dev, streams, cert } = body
  if (userTables.device.get(state, a, dev) !== undefined) return refuse('device.device')
  const open = userTables.openStreams.get(state, a) ?? []
  const isFresh = (stream: Uint8Array) => userTables.stream.get(state, a, stream) === undefined
  const isWithinLimit = streams.length > 0 && open.length + streams.length <= openStreamsMax
  if (!isWithinLimit || !areDistinct(streams) || !streams.every(isFresh)) return refuse('device.streams')
  const gen = userTables.currentGeneration.get(state, a) ?? 0
  userTables.device.set(state, { o, streams, cert }, a, dev)
  for (const stream of streams) userTables.stream.set(state, { dev, gen, o }, a, stream)
  userTables.openStreams.set(state, [...open, ...streams], a)
  return valid
}

function remove({ body }: TransactionOf<'device'>, { state, index: c }: RuleContext): Verdict {
  const { a, dev } = body
  const device = userTables.device.get(state, a, dev)
  if (device === undefined || device.c !== undefined) return refuse('device.device')
  if (body.streams.length > 0) return refuse('device.streams')
  userTables.device.set(state, { ...device, c }, a, dev)
  for (const stream of device.streams) {
    const record = userTables.stream.get(state, a, stream)
    if (record !== undefined) userTables.stream.set(state, { ...record, c }, a, stream)
  }
  const isOpen = (stream: Uint8Array) => userTables.stream.get(state, a, stream)?.c === undefined
  userTables.openStreams.set(state, (userTables.openStreams.get(state, a) ?? []).filter(isOpen), a)
  return valid
}
