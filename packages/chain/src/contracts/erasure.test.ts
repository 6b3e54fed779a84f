/** Every rule of `erase` broken alone, its effect, and what Docchain makes of it. */
import { randomBytes } from '@healthblock/crypto/random'
import { describe, expect, it } from 'vitest'
import { isErasedAt } from '../state/live-at.ts'
import { CommittedState, StateOverlay } from '../state/state.ts'
import { MemoryLeafStore, stateLeaf, statePath } from '../state/state-tree.ts'
import { userTables } from '../state/tables.ts'
import { type Draft, enrol, type Party, World } from '../testkit.ts'
import type { SequenceRange } from '../transaction/transaction.ts'

function scene() {
  const world = new World({ quota: 8 })
  const [doctor] = world.doctors(1) as [Party]
  const care = enrol(world, doctor)
  const { patient, streams } = care
  const [ecg] = streams
  world.post(
    world.iot(
      patient,
      [1, 2, 3, 4].map((sequence) => world.record(ecg, sequence)),
    ),
  )
  const erase = (ranges: readonly SequenceRange[], fields: object = {}, by: Party = patient): Draft =>
    world.byOp(by, {
      v: 1,
      t: 'erase',
      a: by.account,
      ...world.consent(),
      ranges: [...ranges],
      law: 17,
      ...fields,
    } as never)
  const judge = (draft: Draft): unknown => world.judge(draft)
  return { world, ecg, ...care, erase, judge }
}

describe('erase', () => {
  const { world, ecg, patient, doctor, erase, judge } = scene()

  it.each([
    ['erase.range', 'no such stream', () => erase([[randomBytes(8), 1, 1]])],
    ['erase.range', 'from zero', () => erase([[ecg, 0, 1]])],
    ['erase.range', 'backwards', () => erase([[ecg, 3, 2]])],
    ['erase.range', 'beyond the last record', () => erase([[ecg, 2, 5]])],
    [
      'erase.range',
      'one of several',
      () =>
        erase([
          [ecg, 1, 1],
          [ecg, 5, 5],
        ]),
    ],
    ['erase.role', 'a doctor', () => erase([[ecg, 1, 1]], {}, doctor)],
    ['erase.counter', 'a counter that was used', () => erase([[ecg, 1, 1]], { n: 1 })],
    ['erase.expiry', 'expired', () => erase([[ecg, 1, 1]], { x: 1 })],
    [
      'erase.signature',
      "another's signature",
      () => ({ ...erase([[ecg, 1, 1]]), signers: erase([[ecg, 1, 1]], {}, doctor).signers }),
    ],
  ])('is refused by %s: %s', (rule, _what, make) => {
    expect(judge(make())).toEqual({ verdict: 'refused', rule })
  })

  it('is on record for ever, range by range, and asks for nothing twice', () => {
    world.post(
      erase([
        [ecg, 2, 3],
        [ecg, 3, 3],
      ]),
    )
    const state = world.ledger.state('userchain')
    const records = [0, 1, 2].map((k) => userTables.erased.get(state, patient.account, ecg, k))
    expect(records.map((record) => record && [record.from, record.to])).toEqual([[2, 3], [3, 3], undefined])
    const o = records[0]?.o as number
    const question = (from: number, to: number) => ({ patient: patient.account, stream: ecg, from, to })
    expect(isErasedAt(state, question(2, 2), o)).toBe(false)
    expect([1, 2, 3, 4].map((at) => isErasedAt(state, question(at, at), o + 1))).toEqual([false, true, true, false])
    expect(isErasedAt(state, question(1, 4), o + 1)).toBe(true)
  })

  it('bars a diagnosis of what was erased at its anchor, and of nothing else', () => {
    const { world: other, doctor: by, gid, erase: eraseHere, judge: judgeHere, ...care } = scene()
    const diagnose = (from: number, to: number) =>
      other.diagnosis(by, care.patient, { g: gid, in: [[care.ecg, from, to]], gen: 1, seq: 1 })
    expect(judgeHere(diagnose(2, 3))).toMatchObject({ verdict: 'valid' })
    other.post(eraseHere([[care.ecg, 2, 3]]))
    for (const [from, to] of [
      [2, 2],
      [3, 4],
      [1, 4],
    ] as const) {
      expect(judgeHere(diagnose(from, to))).toEqual({ verdict: 'refused', rule: 'D.range' })
    }
    expect(judgeHere(diagnose(4, 4))).toMatchObject({ verdict: 'valid' })
  })
})

describe('erasures of a stream', () => {
  it('are read from the state once, however many diagnoses ask', () => {
    const [patient, stream] = [randomBytes(32), randomBytes(8)]
    const leaves = new MemoryLeafStore()
    const add = (k: number) => {
      const overlay = new StateOverlay({ get: () => undefined })
      userTables.erased.set(overlay, { from: 10 * k, to: 10 * k + 5, o: k }, patient, stream, k)
      leaves.apply([...overlay.changes()].map(({ key, value }) => stateLeaf(key, value)))
    }
    for (let k = 0; k < 1_000; k++) add(k)
    let reads = 0
    class Counted extends CommittedState {
      override get(key: Uint8Array) {
        reads++
        return super.get(key)
      }
    }
    const state = new Counted(leaves)
    const isErased = (record: number, s: number) => isErasedAt(state, { patient, stream, from: record, to: record }, s)
    expect(isErased(9_995, 1_000)).toBe(true)
    expect(reads).toBe(1_001)
    for (let i = 0; i < 100; i++) expect(isErased(9_997, 1_000)).toBe(false)
    expect(isErased(9_995, 999)).toBe(false)
    expect(reads).toBe(1_001 + 101)
    add(1_000)
    // What was looked for in vain is remembered, until the owner tells of the change.
    const [last] = leaves.range(statePath(userTables.erased.key(patient, stream, 1_000)), new Uint8Array(32).fill(255))
    state.committed(last === undefined ? [] : [last])
    expect(isErased(10_000, 1_001)).toBe(true)
  })
})
