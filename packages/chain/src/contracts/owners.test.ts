/** What a thief of a patient's op key can leave behind, and that its owner passes it once root replaced the key (SPEC.md §6, version 4 of the rules). */
import { generateSigningKey } from '@healthblock/crypto/signature'
import { compareBytes } from '@healthblock/encoding/bytes'
import { describe, expect, it } from 'vitest'
import { encodeGovernArgument, governActs } from '../policy/governing.ts'
import { userTables } from '../state/tables.ts'
import { type Care, cutsOf, type Draft, enrol, type Party, World } from '../testkit.ts'
import type { IotRecord, SequenceRange } from '../transaction/transaction.ts'

/** As SPEC.md §6 has it. */
const boundOfCuts = 65_536

/** A patient under a version of the rules, with four records of her first stream. */
function scene(rules: number) {
  const world = new World({ rules })
  const care = enrol(world)
  const [ecg] = care.streams
  world.post(
    world.iot(
      care.patient,
      [1, 2, 3, 4].map((seq) => world.record(ecg, seq)),
    ),
  )
  return { world, care, ecg }
}

/** Root replaces op: the patient as she is from then on. */
function rescue(world: World, { patient }: Care): Party {
  const op = generateSigningKey()
  world.post(
    world.byRoot(patient, { v: 1, t: 'update', a: patient.account, ...world.consent(), op: op.publicKey, why: 1 }),
  )
  return { ...patient, op }
}

/** The owner's next rotation after a thief's generation 2: it cuts where he cut. */
function afterThief(world: World, care: Care, owner: Party, last: number): Draft {
  return world.key(owner, { gen: 3, cut: cutsOf(care, 2, last) })
}

function lastOf(world: World, { patient }: Care, stream: Uint8Array): number {
  return userTables.last.get(world.ledger.state('userchain'), patient.account, stream)?.[0] ?? 0
}

describe('a cut by a thief of op', () => {
  it('bars its stream for ever under the rules before version 4', () => {
    const { world, care, ecg } = scene(3)
    const end = Number.MAX_SAFE_INTEGER
    world.post(world.key(care.patient, { gen: 2, cut: cutsOf(care, 1, end) }))
    const owner = rescue(world, care)
    expect(world.judge(afterThief(world, care, owner, 4))).toEqual({ verdict: 'refused', rule: 'key.cut' })
    world.post(afterThief(world, care, owner, end))
    for (const gen of [2, 3]) {
      expect(world.judge(world.iot(owner, [world.record(ecg, 5, gen)]))).toMatchObject({ rule: 'iot.generation' })
    }
  })

  it('lies at most 65,536 beyond the newest record of its stream from version 4 on', () => {
    const { world, care } = scene(4)
    const [ecg, vitals] = care.streams
    const cutting = (first: number, second: number): Draft =>
      world.key(care.patient, {
        gen: 2,
        cut: [
          [ecg, 1, first],
          [vitals, 1, second],
        ],
      })
    const deferred = { verdict: 'deferred', rule: 'key.cut', missing: 'record' }
    expect(world.judge(cutting(Number.MAX_SAFE_INTEGER, 0))).toEqual(deferred)
    expect(world.judge(cutting(4 + boundOfCuts + 1, 0))).toEqual(deferred)
    expect(world.judge(cutting(4, boundOfCuts + 1))).toEqual(deferred)
    // What is wrong for ever is said first.
    expect(world.judge(cutting(3, boundOfCuts + 1))).toEqual({ verdict: 'refused', rule: 'key.cut' })
    expect(world.judge(cutting(4 + boundOfCuts, boundOfCuts))).toEqual({ verdict: 'valid' })
  })

  it('of many generations in one key reaches no further', () => {
    const { world, care } = scene(4)
    const cut = Array.from({ length: 16 }, (_, i) => cutsOf(care, i + 1, boundOfCuts + (i === 15 ? 5 : 4))).flat()
    const verdict = world.judge(world.key(care.patient, { gen: 17, cut }))
    expect(verdict).toEqual({ verdict: 'deferred', rule: 'key.cut', missing: 'record' })
  })

  it('is passed by gaps of the generation that was cut, and the stream goes on with new keys', () => {
    const { world, care, ecg } = scene(4)
    const last = 4 + 640
    const cuts = (gen: number) => [[ecg, gen, last] as const, [care.streams[1], gen, 0] as const]
    world.post(world.key(care.patient, { gen: 2, cut: cuts(1) }))
    const owner = rescue(world, care)
    world.post(world.key(owner, { gen: 3, cut: cuts(2) }))
    const gap = (seq: number): IotRecord => [ecg, seq, 1, world.slot, 2, 0, new Uint8Array(32)]
    for (let from = 5; from <= last; from += 64) {
      world.post(
        world.iot(
          owner,
          Array.from({ length: 64 }, (_, i) => gap(from + i)),
        ),
      )
    }
    expect(lastOf(world, care, ecg)).toBe(last)
    world.post(world.iot(owner, [world.record(ecg, last + 1, 3)]))
    expect(lastOf(world, care, ecg)).toBe(last + 1)
  })
})

/** Both organisations put a version of the rules in force from the next block on. */
function rise(world: World, version: number): void {
  const from = world.ledger.head('userchain').height + 2
  const arg = encodeGovernArgument(governActs.parameters, { quota: [], rules: [version, from] })
  const signers = world.organisations.map(({ account, root }) => ({ account, key: 0, signingKey: root }))
  const [a] = signers.map(({ account }) => account).sort(compareBytes) as [Uint8Array]
  world.post({ chain: 'userchain', body: { v: 1, t: 'govern', a, act: governActs.parameters, arg, n: 1 }, signers })
}

describe('a cut from before version 4 that lies beyond its bound', () => {
  it('bars its own stream, and neither later rotations nor other streams', () => {
    const { world, care, ecg } = scene(3)
    const [, vitals] = care.streams
    const end = Number.MAX_SAFE_INTEGER
    const cuts = (gen: number, other: number) => [[ecg, gen, end] as const, [vitals, gen, other] as const]
    world.post(world.key(care.patient, { gen: 2, cut: cuts(1, 0) }))
    rise(world, 4)
    const owner = rescue(world, care)
    expect(world.judge(world.key(owner, { gen: 3, cut: cuts(2, boundOfCuts + 1) }))).toMatchObject({ rule: 'key.cut' })
    world.post(world.key(owner, { gen: 4, cut: [...cuts(2, 1), ...cuts(3, 1)] }))
    world.post(world.iot(owner, [world.record(vitals, 1, 2)]), world.iot(owner, [world.record(vitals, 2, 4)]))
    expect(lastOf(world, care, vitals)).toBe(2)
  })
})

describe('a backlog of the owner beyond the bound', () => {
  it('waits, and its rotation is valid once records have brought it near', () => {
    const { world, care, ecg } = scene(4)
    const cut = [[ecg, 1, 4 + boundOfCuts + 2] as const, [care.streams[1], 1, 0] as const]
    const rotation = world.key(care.patient, { gen: 2, cut })
    expect(world.judge(rotation)).toMatchObject({ verdict: 'deferred' })
    world.post(world.iot(care.patient, [world.record(ecg, 5)]))
    expect(world.judge(rotation)).toMatchObject({ verdict: 'deferred' })
    world.post(world.iot(care.patient, [world.record(ecg, 6)]), rotation)
    expect(userTables.currentGeneration.get(world.ledger.state('userchain'), care.patient.account)).toBe(2)
  })
})

describe('a device', () => {
  it('is removed by whoever has op before version 4, and its streams never take a record again', () => {
    const { world, care, ecg } = scene(3)
    world.post(world.device(care.patient, [], 2, care.device))
    const owner = rescue(world, care)
    expect(world.judge(world.iot(owner, [world.record(ecg, 5)]))).toEqual({ verdict: 'refused', rule: 'iot.stream' })
    expect(world.judge(world.device(owner, [ecg]))).toEqual({ verdict: 'refused', rule: 'device.streams' })
  })

  it('is removed by op and root together from version 4 on; op alone still adds one', () => {
    const { world, care } = scene(4)
    const removal = world.device(care.patient, [], 2, care.device)
    expect(world.judge(removal)).toEqual({ verdict: 'refused', rule: 'device.signature' })
    expect(world.judge(world.byRoot(care.patient, removal.body))).toMatchObject({ rule: 'device.signature' })
    expect(world.judge(world.byBoth(care.patient, removal.body))).toEqual({ verdict: 'valid' })
    const adding = world.device(care.patient, [new Uint8Array(8)])
    expect(world.judge(adding)).toEqual({ verdict: 'valid' })
    expect(world.judge(world.byBoth(care.patient, adding.body))).toMatchObject({ rule: 'device.signature' })
  })
})

describe('erasures of a stream', () => {
  const perKey = 4096

  function erase(world: World, patient: Party, ranges: readonly SequenceRange[]): Draft {
    const body = { v: 1, t: 'erase', a: patient.account, ...world.consent(), ranges: [...ranges], law: 17 } as const
    return world.byOp(patient, body)
  }

  /** As many as one key may make, of one record. */
  function useUp(world: World, { ecg, patient }: { ecg: Uint8Array; patient: Party }): void {
    const ranges = Array.from({ length: 64 }, (): SequenceRange => [ecg, 1, 1])
    for (let made = 0; made < perKey; made += 64) world.post(erase(world, patient, ranges))
  }

  it('that a thief of op used up are used up for ever before version 4', () => {
    const { world, care, ecg } = scene(3)
    useUp(world, { ecg, patient: care.patient })
    const owner = rescue(world, care)
    expect(world.judge(erase(world, owner, [[ecg, 2, 2]]))).toEqual({ verdict: 'refused', rule: 'erase.count' })
  })

  it('are counted for each op key from version 4 on, and 16,384 in all', () => {
    const { world, care, ecg } = scene(4)
    let owner = care.patient
    for (let keys = 0; keys < 4; keys++) {
      useUp(world, { ecg, patient: owner })
      const more = () => world.judge(erase(world, owner, [[ecg, 2, 2]]))
      expect(more()).toEqual({ verdict: 'refused', rule: 'erase.count' })
      owner = rescue(world, { ...care, patient: owner })
      expect(more()).toEqual(keys < 3 ? { verdict: 'valid' } : { verdict: 'refused', rule: 'erase.count' })
    }
    expect(world.judge(erase(world, owner, [[care.streams[1], 1, 1]]))).toMatchObject({ rule: 'erase.range' })
  })
})
