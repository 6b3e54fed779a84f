import { generateKemKeyPair } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { describe, expect, it } from 'vitest'
import { docTables, keyRoles, userTables } from '../state/tables.ts'
import { cutsOf, enrol, type Party, World } from '../testkit.ts'
import type { IotRecord } from '../transaction/transaction.ts'

describe('in one block', () => {
  it('a patient registers, adds a device, opens a generation and streams: each sees what came before it', () => {
    const world = new World()
    const registration = world.registration(1)
    const patient = registration.party()
    const stream = randomBytes(8)
    const { transactions } = world.post(
      registration.draft,
      world.device(patient, [stream]),
      world.key(patient, { gen: 1 }),
      world.iot(patient, [world.record(stream, 1), world.record(stream, 2)]),
    )
    expect(transactions).toHaveLength(4)
    expect(world.ledger.index('userchain').record(patient.account, stream, 2)).toMatchObject({
      index: transactions[3]?.index,
      generation: 1,
      kind: 0,
    })
  })

  it('a sponsor’s quota is used once per account, and ends', () => {
    const world = new World({ quota: 2 })
    const all = Array.from({ length: 3 }, () => world.registration(1).draft)
    const { verdicts } = world.block(
      'userchain',
      all.map((draft) => world.sign(draft)),
    )
    expect(verdicts.map((verdict) => verdict?.verdict)).toEqual(['valid', 'valid', 'refused'])
    expect(verdicts[2]).toMatchObject({ rule: 'register.quota' })
    expect(userTables.quota.get(world.ledger.state('userchain'), world.organisation.account)).toEqual([2, 2])
  })

  it('a transaction that is refused leaves nothing behind', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg] = care.streams
    const root = world.ledger.head('userchain').stateRoot
    const wrong = world.record(ecg, 2).with(5, 8192) as unknown as IotRecord
    const half = world.iot(care.patient, [world.record(ecg, 1), wrong])
    const { pending, verdicts } = world.block('userchain', [world.sign(half)])
    expect([pending, verdicts[0]]).toMatchObject([undefined, { rule: 'iot.length' }])
    expect(world.ledger.head('userchain').stateRoot).toEqual(root)
    expect(userTables.last.get(world.ledger.state('userchain'), care.patient.account, ecg)).toBeUndefined()
  })
})

describe('readings', () => {
  it('come up to 64 in a transaction, of every kind', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg] = care.streams
    const kinds = [
      [0, 4096],
      [1, 4096],
      [2, 0],
      [3, 1024],
    ] as const
    const records = Array.from({ length: 64 }, (_, i): IotRecord => {
      const [kind, len] = kinds[i % 4] as (typeof kinds)[number]
      return [ecg, i + 1, 1, world.slot, kind, len, kind === 2 ? new Uint8Array(32) : randomBytes(32)]
    })
    world.post(world.iot(care.patient, records))
    expect(world.ledger.index('userchain').record(care.patient.account, ecg, 64)?.kind).toBe(3)
  })

  it('of a stream that began later belong to no earlier generation, and need no earlier cut', () => {
    const world = new World()
    const care = enrol(world)
    world.post(world.key(care.patient, { gen: 3, cut: [...cutsOf(care, 1, 0), ...cutsOf(care, 2, 0)] }))
    const late = randomBytes(8)
    world.post(world.device(care.patient, [late]))
    expect(world.judge(world.iot(care.patient, [world.record(late, 1, 1)]))).toMatchObject({ rule: 'iot.generation' })
    expect(world.judge(world.iot(care.patient, [world.record(late, 1, 3)]))).toEqual({ verdict: 'valid' })
    const next = world.key(care.patient, { gen: 4, cut: [...cutsOf(care, 3, 0), [late, 3, 0]] })
    expect(world.judge(next)).toEqual({ verdict: 'valid' })
  })

  it('end with their device', () => {
    const world = new World()
    const care = enrol(world)
    world.post(world.device(care.patient, [], 2, care.device))
    const reading = world.iot(care.patient, [world.record(care.streams[0], 1)])
    expect(world.judge(reading)).toEqual({ verdict: 'refused', rule: 'iot.stream' })
    expect(userTables.openStreams.get(world.ledger.state('userchain'), care.patient.account)).toEqual([])
    // A closed stream needs no cut.
    expect(world.judge(world.key(care.patient, { gen: 2 }))).toEqual({ verdict: 'valid' })
  })
})

describe('keys of an account', () => {
  it('change with an update: the old one ends, the new one holds, none comes back', () => {
    const world = new World()
    const [patient] = world.register(1) as [Party]
    const [op, root] = [generateSigningKey(), generateSigningKey()]
    const update = (fields: Record<string, Uint8Array | number>) =>
      ({ v: 1, t: 'update', a: patient.account, ...world.consent(), why: 0, ...fields }) as const
    const kem = generateKemKeyPair().publicKey
    world.post(world.byRoot(patient, update({ op: op.publicKey, root: root.publicKey, kem, suite: 1 })))
    const renewed = { ...patient, op, root }
    const stream = [randomBytes(8)]
    expect(world.judge(world.device(patient, stream))).toMatchObject({ rule: 'device.signature' })
    expect(world.judge(world.device(renewed, stream))).toEqual({ verdict: 'valid' })
    expect(world.ledger.accountKey(patient.account, 1)).toEqual(op.publicKey)
    expect(userTables.key.get(world.ledger.state('userchain'), patient.account, keyRoles.kem, 1)?.key).toEqual(kem)
    const back = world.byRoot(renewed, update({ op: patient.op.publicKey }))
    expect(world.judge(back)).toMatchObject({ rule: 'update.keys' })
  })
})

describe('genesis', () => {
  it('gives organisations, nodes and stores their accounts, and the first policy', () => {
    const world = new World()
    const policy = world.ledger.policy('userchain')
    expect([policy.q, policy.nodes.length, policy.stores.length]).toEqual([2, 3, 1])
    expect(world.ledger.policy('docchain')).toEqual(policy)
    const [node] = policy.nodes
    const account = node?.[1] as Uint8Array
    expect(world.ledger.accountKey(account, 2)).toEqual(node?.[2])
    const state = world.ledger.state('userchain')
    expect(userTables.account.get(state, account)).toEqual({ role: 4, o: 0, sponsor: world.organisation.account })
    const [store] = policy.stores
    expect(userTables.account.get(state, store?.[1] as Uint8Array)?.role).toBe(9)
  })
})

describe('what could not be read', () => {
  it('is on record by its id and leaves the diagnosis stream as it was', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg] = care.streams
    world.post(world.iot(care.patient, [world.record(ecg, 1)]))
    const { size, root } = world.userHead
    const fields = { pat: care.patient.account, g: care.gid, basis: [size, root] as const, in: [[ecg, 1, 1] as const] }
    const body = { v: 1, t: 'unreadable', a: care.doctor.account, ...fields, code: 2 } as const
    const draft = world.byOp(care.doctor, body, 'docchain')
    const { firstIndex } = world.post(draft)
    expect(world.judge(draft)).toMatchObject({ rule: 'unreadable.duplicate', index: firstIndex })
    const state = world.ledger.state('docchain')
    expect(docTables.diagnosisStream.get(state, care.patient.account, care.doctor.account)).toBeUndefined()
  })
})
