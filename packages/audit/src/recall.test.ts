import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Care, type Draft, enrol, World } from '../../chain/src/testkit.ts'
import { Recall } from './recall.ts'

const randomBytes = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length))

let world: World
let recall: Recall
let care: Care
const hash = randomBytes(32)

/** Posts drafts as one block, and gives it to the recall. */
function post(...drafts: readonly Draft[]): string {
  const { chain, seal, firstIndex, transactions } = world.post(...drafts)
  recall.block({ chain, seal, firstIndex, transactions: transactions.map(({ transaction }) => transaction) })
  return toHex(transactions[0]?.id as Uint8Array)
}

function algorithm(id: string, version: string, of: Uint8Array, act = 1) {
  const { organisation } = world
  return world.byOp(organisation, {
    v: 1,
    t: 'algorithm',
    a: organisation.account,
    id,
    version,
    hash: of,
    act,
  } as const)
}

beforeEach(() => {
  world = new World()
  recall = new Recall(world.ledger.ledgerId, { name: 'ecg', version: '1.3' })
  care = enrol(world)
  post(algorithm('ecg', '1.3', hash))
  post(world.iot(care.patient, [world.record(care.streams[0], 1), world.record(care.streams[0], 2)]))
})

describe('Recall', () => {
  it('lists what one version said, and nothing that another one or a person said', () => {
    const other = randomBytes(32)
    post(algorithm('ecg', '1.4', other))
    const { doctor, patient, gid: g, streams } = care
    const input = { g, in: [[streams[0], 1, 2]] as [Uint8Array, number, number][] }
    const ours = post(world.diagnosis(doctor, patient, { ...input, alg: hash }))
    post(world.diagnosis(doctor, patient, { ...input, alg: other, seq: 2 }))
    post(world.diagnosis(doctor, patient, { ...input, seq: 3 }))
    const second = post(world.diagnosis(doctor, patient, { ...input, alg: hash, seq: 4 }))
    expect(recall.algorithms.map(({ hash: one }) => one)).toEqual([toHex(hash)])
    expect(recall.diagnoses.map(({ transactionId }) => transactionId)).toEqual([ours, second])
    const { patient: who, doctor: by, in: ranges, index, height, status } = recall.diagnoses[1] ?? {}
    expect([who, by, status]).toEqual([toHex(patient.account), toHex(doctor.account), 'preliminary'])
    expect(ranges).toEqual([{ stream: toHex(streams[0]), from: 1, to: 2 }])
    expect(world.ledger.index('docchain').find(fromHex(second))).toBe(index)
    expect(world.ledger.index('docchain').boundaryAfter(index as number)?.height).toBe(height)
  })

  it('by its hash it finds a program that somebody registered under another name', () => {
    const taken = randomBytes(32)
    const byHash = new Recall(world.ledger.ledgerId, { hash: toHex(taken) })
    const byEither = new Recall(world.ledger.ledgerId, { name: 'ecg', version: '1.3', hash: toHex(taken) })
    const { doctor, patient, gid: g, streams } = care
    const drafts = [
      [algorithm('not-ecg', '9', taken)],
      [world.diagnosis(doctor, patient, { g, in: [[streams[0], 1, 2]], alg: taken })],
      [world.diagnosis(doctor, patient, { g, in: [[streams[0], 1, 2]], alg: hash, seq: 2 })],
    ]
    const blocks = drafts.map((ones) => world.post(...ones))
    for (const { chain, seal, firstIndex, transactions } of blocks) {
      const block = { chain, seal, firstIndex, transactions: transactions.map(({ transaction }) => transaction) }
      byHash.block(block)
      byEither.block(block)
    }
    const organisation = toHex(world.organisation.account)
    expect(byHash.algorithms).toMatchObject([{ name: 'not-ecg', version: '9', hash: toHex(taken), organisation }])
    expect(byHash.diagnoses.map(({ algorithm: one }) => one)).toEqual([toHex(taken)])
    // The registration of the name lies before what this one was given.
    expect(byEither.diagnoses.map(({ algorithm: one }) => one)).toEqual([toHex(taken)])
  })

  it('says what became of it, and of the algorithm', () => {
    const { doctor, patient, gid: g, streams } = care
    const id = post(world.diagnosis(doctor, patient, { g, in: [[streams[0], 1, 1]], alg: hash }))
    const none = { cid: new Uint8Array(32), len: 0 }
    const amend = {
      v: 1,
      t: 'amend',
      a: doctor.account,
      of: fromHex(id),
      gen: 1,
      epoch: world.slot,
    } as const
    post(world.byOp(doctor, { ...amend, act: 1, seq: 2, ...none }, 'docchain'))
    expect(recall.diagnoses[0]?.status).toBe('signed')
    post(world.byOp(doctor, { ...amend, act: 3, seq: 3, cid: randomBytes(32), len: 16_384 }, 'docchain'))
    expect(recall.diagnoses[0]?.status).toBe('withdrawn')
    expect(recall.algorithms[0]?.withdrawnAt).toBeUndefined()
    post(algorithm('ecg', '1.3', hash, 2))
    expect(recall.algorithms[0]?.withdrawnAt).toMatch(/^20/)
  })
})
