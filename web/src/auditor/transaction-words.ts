/** The fields of a transaction in words, by its type. No key material and no hash is shown here: those are under "Details". */
import { parseCheckpoint } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import type { BodyOf, SequenceRange, TransactionBody } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { type TextKey, t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { count } from './words.ts'

/** One line: a label, and a text or an account to go to. */
export interface FieldWords {
  readonly label: string
  readonly text?: string
  /** Hex. */
  readonly accounts?: readonly string[]
}

function coded(family: string, code: number): string {
  return t(`auditor.${family}.${code}` as TextKey)
}

function line(key: TextKey, text: string | number): FieldWords {
  return { label: t(key), text: typeof text === 'number' ? count(text) : text }
}

function account(key: TextKey, ...accounts: readonly Uint8Array[]): FieldWords {
  return { label: t(key), accounts: [...new Set(accounts.map(toHex))] }
}

function recordsOf(ranges: readonly SequenceRange[]): FieldWords {
  const records = ranges.reduce((sum, [, from, to]) => sum + to - from + 1, 0)
  return line('auditor.field.rests', t('auditor.field.rests.records', { count: records }))
}

/** Against whom a signed head is held, by the name of its line, and of which size it is; nothing of what is no head. */
function accusedIn(note: Uint8Array | undefined): readonly FieldWords[] {
  if (note === undefined) return []
  try {
    const { origin, size, signatures } = parseCheckpoint(new TextDecoder().decode(note))
    const [, rank] = signatures[0]?.name.split(`${origin}/`) ?? []
    const against = rank === undefined ? [] : [line('auditor.field.against', `accounting-${rank}`)]
    return [...against, line('auditor.field.size', size)]
  } catch (error) {
    // A signed promise or refusal.
    if (error instanceof ChainError) return []
    throw error
  }
}

type Writers = { readonly [T in TransactionBody['t']]: (body: BodyOf<T>) => readonly FieldWords[] }

const writers: Writers = {
  genesis: ({ start, q, orgs, nodes, stores }) => [
    line('auditor.field.from', formatMoment(start)),
    line('auditor.field.organisations', orgs.length),
    line('auditor.field.nodes', nodes.length),
    line('auditor.storage', stores.length),
    line('auditor.field.quorum', q),
  ],
  register: ({ role, sponsor }) => [
    line('auditor.field.role', coded('role', role)),
    account('auditor.field.sponsor', sponsor),
  ],
  update: ({ a, op, root, kem }) => [
    account('auditor.field.account', a),
    line('auditor.field.renewed', [op, root, kem].filter((key) => key !== undefined).length),
  ],
  licence: ({ a, doctor, state, from, to }) => [
    account('auditor.field.doctor', doctor),
    line('auditor.field.state', coded('licence', state)),
    line('auditor.field.from', formatMoment(from)),
    line('auditor.field.until', formatMoment(to)),
    account('auditor.field.by', a),
  ],
  device: ({ a, act, streams }) => [
    account('auditor.field.patient', a),
    line('auditor.field.act', coded('device', act)),
    line('auditor.field.streams', streams.length),
  ],
  iot: ({ a, r }) => [
    account('auditor.field.patient', a),
    line('auditor.field.records', r.length),
    line('auditor.field.streams', new Set(r.map(([stream]) => toHex(stream))).size),
    line('auditor.field.gaps', r.filter(([, , , , kind]) => kind === 2).length),
    line(
      'auditor.field.bytes',
      r.reduce((sum, [, , , , , length]) => sum + length, 0),
    ),
  ],
  key: ({ a, open, close, env, cut }) => [
    account('auditor.field.patient', a),
    line('auditor.field.opened', open.length),
    ...(open.length === 0 ? [] : [account('auditor.field.to', ...open.map(([, to]) => to))]),
    line('auditor.field.closed', close.length),
    line('auditor.field.renewed', t(cut.length > 0 || close.length > 0 ? 'auditor.yes' : 'auditor.no')),
    line('auditor.field.envelopes', env.length),
  ],
  envelope: ({ a, env }) => [account('auditor.field.patient', a), line('auditor.field.envelopes', env.length)],
  erase: ({ a, ranges }) => [account('auditor.field.patient', a), recordsOf(ranges)],
  algorithm: ({ a, id, version, act }) => [
    line('auditor.field.algorithm', `${id} ${version}`),
    line('auditor.field.act', coded('algorithm', act)),
    account('auditor.field.by', a),
  ],
  govern: ({ a, act, n }) => [
    line('auditor.field.act', coded('govern', act)),
    line('auditor.field.number', n),
    account('auditor.field.by', a),
  ],
  evidence: ({ a, kind, notes }) => [
    line('auditor.field.kind', coded('evidencekind', kind)),
    ...accusedIn(notes[0]),
    account('auditor.field.by', a),
  ],
  diagnosis: ({ a, pat, in: ranges, alg }) => [
    account('auditor.field.doctor', a),
    account('auditor.field.patient', pat),
    recordsOf(ranges),
    ...(alg.every((byte) => byte === 0) ? [line('auditor.field.algorithm', t('auditor.hand'))] : []),
  ],
  amend: ({ a, act }) => [account('auditor.field.doctor', a), line('auditor.field.act', coded('amend', act))],
  unreadable: ({ a, pat, in: ranges, code }) => [
    account('auditor.field.doctor', a),
    account('auditor.field.patient', pat),
    recordsOf(ranges),
    line('auditor.field.code', code),
  ],
}

/** The fields of a body. */
export function wordsOfBody(body: TransactionBody): readonly FieldWords[] {
  return (writers[body.t] as (body: TransactionBody) => readonly FieldWords[])(body)
}

/** What a type of transaction is. */
export function typeWords(type: string): string {
  return t(`auditor.type.${type}` as TextKey)
}
