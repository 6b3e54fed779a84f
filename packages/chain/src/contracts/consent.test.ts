import { randomBytes } from '@healthblock/crypto/random'
import { describe, expect, it } from 'vitest'
import { userTables } from '../state/tables.ts'
import { type Draft, enrol, hourMs, type Party, World } from '../testkit.ts'
import { type Cut, type EnvelopeEntry, leafSizeBytesMax, type Transaction } from '../transaction/transaction.ts'

function ordersOf<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((item, at) => ordersOf(items.toSpliced(at, 1)).map((rest) => [item, ...rest]))
}

/** Submits in this order, one block each; what is deferred stays in the outbox and is offered again as long as that helps. */
function deliver(world: World, drafts: readonly Draft[]) {
  let outbox: Transaction[] = []
  const refused: (string | undefined)[] = []
  const offer = (candidates: readonly Transaction[]) => {
    const { pending, verdicts } = world.block('userchain', candidates)
    outbox = candidates.filter((_, at) => verdicts[at]?.verdict === 'deferred')
    for (const verdict of verdicts) if (verdict?.verdict === 'refused') refused.push(verdict.rule)
    return pending !== undefined
  }
  for (const draft of drafts) offer([...outbox, world.sign(draft)])
  while (outbox.length > 0 && offer(outbox));
  return { outbox, refused }
}

describe('a rotation', () => {
  it('in any order with four readings leaves no gap and no reading of the wrong generation', () => {
    const world = new World({ quota: 200 })
    const [doctor] = world.doctors(1) as [Party]
    for (const order of ordersOf([0, 1, 2, 3, 4])) {
      const care = enrol(world, doctor)
      const [ecg, vitals] = care.streams
      world.post(world.iot(care.patient, [world.record(ecg, 1), world.record(ecg, 2)]))
      const cut: Cut[] = [
        [ecg, 1, 4],
        [vitals, 1, 0],
      ]
      const five = [
        world.iot(care.patient, [world.record(ecg, 3, 1)]),
        world.iot(care.patient, [world.record(ecg, 4, 1)]),
        world.key(care.patient, { gen: 2, cut, close: [care.gid] }),
        world.iot(care.patient, [world.record(ecg, 5, 2)]),
        world.iot(care.patient, [world.record(ecg, 6, 2)]),
      ]
      const { outbox, refused } = deliver(
        world,
        order.map((at) => five[at] as Draft),
      )
      expect([outbox.length, refused], `order ${order}`).toEqual([0, []])
      const generations = [1, 2, 3, 4, 5, 6].map((seq) => {
        return world.ledger.index('userchain').record(care.patient.account, ecg, seq)?.generation
      })
      expect(generations, `order ${order}`).toEqual([1, 1, 1, 1, 2, 2])
      // A reading under the old keys after the cut is refused for ever.
      expect(world.judge(world.iot(care.patient, [world.record(ecg, 7, 1)]))).toMatchObject({ rule: 'iot.generation' })
    }
  })

  it('takes effect twice if two are made offline, in whatever order they arrive', () => {
    for (const isReversed of [false, true]) {
      const world = new World()
      const care = enrol(world)
      const [ecg, vitals] = care.streams
      const second = world.opening(care.doctor, care.streams)
      world.post(world.key(care.patient, { gen: 1, open: [second] }))
      world.post(world.iot(care.patient, [world.record(ecg, 1)]))
      const cuts = (gen: number, last: number): Cut[] => [
        [ecg, gen, last],
        [vitals, gen, 0],
      ]
      // The later one repeats the cuts and closes of its predecessor, as every `key` does (transactions sign a new counter each).
      const first = world.key(care.patient, { gen: 2, cut: cuts(1, 1), close: [care.gid] })
      const between = world.iot(care.patient, [world.record(ecg, 2, 2)])
      const later = world.key(care.patient, {
        gen: 3,
        cut: [...cuts(1, 1), ...cuts(2, 2)],
        close: [care.gid, second[0]],
      })
      const after = world.iot(care.patient, [world.record(ecg, 3, 3)])
      const made = isReversed ? [later, first, after, between] : [first, between, later, after]
      const { outbox, refused } = deliver(world, made)
      expect(outbox).toEqual([])
      expect(refused).toEqual(isReversed ? ['key.counter'] : [])
      const state = world.ledger.state('userchain')
      for (const gid of [care.gid, second[0]]) {
        expect(userTables.grant.get(state, care.patient.account, gid)?.c).toBeDefined()
      }
      expect(userTables.currentGeneration.get(state, care.patient.account)).toBe(3)
      expect(userTables.last.get(state, care.patient.account, ecg)?.[0]).toBe(3)
      expect(userTables.generation.get(state, care.patient.account, 2) === undefined).toBe(isReversed)
    }
  })
})

describe('a revocation', () => {
  it('voids older consent that is not committed yet: a grant that was parked and returns is refused', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg, vitals] = care.streams
    const cut: Cut[] = [
      [ecg, 1, 0],
      [vitals, 1, 0],
    ]
    const opening = world.opening(care.doctor, care.streams)
    const parked = world.key(care.patient, { gen: 1, open: [opening], env: [[opening[0], 1, randomBytes(1472)]] })
    const device = world.device(care.patient, [randomBytes(8)])
    expect(world.judge(parked)).toEqual({ verdict: 'valid' })
    world.post(world.key(care.patient, { gen: 2, cut, close: [care.gid], why: 2 }))
    expect(world.judge(parked)).toEqual({ verdict: 'refused', rule: 'key.counter' })
    expect(world.judge(device)).toEqual({ verdict: 'refused', rule: 'device.counter' })
    expect(userTables.grant.get(world.ledger.state('userchain'), care.patient.account, opening[0])).toBeUndefined()
  })

  it('does not wait for ever: what expired is refused', () => {
    const world = new World()
    const care = enrol(world)
    const parked = world.key(care.patient, { gen: 1, open: [world.opening(care.doctor, care.streams)] })
    const expiry = (parked.body as { x: number }).x
    expect(world.judge(parked, { atMs: expiry })).toEqual({ verdict: 'valid' })
    expect(world.judge(parked, { atMs: expiry + 1 })).toEqual({ verdict: 'refused', rule: 'key.expiry' })
  })

  it('can be repeated without effect, in the same generation too', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg, vitals] = care.streams
    const cut: Cut[] = [
      [ecg, 1, 0],
      [vitals, 1, 0],
    ]
    const first = world.slot
    const closing = world.post(world.key(care.patient, { gen: 2, first, cut, close: [care.gid] }))
    const again = world.post(world.key(care.patient, { gen: 2, first, cut, close: [care.gid] }))
    expect(again.closes[0]?.closedAt).toBe(closing.firstIndex)
    expect(again.wakes).toBe(false)
    const grant = userTables.grant.get(world.ledger.state('userchain'), care.patient.account, care.gid)
    expect(grant?.c).toBe(closing.firstIndex)
  })

  it('among 1,000 grants is one transaction, and every entry fits a leaf', () => {
    const world = new World()
    const doctors = world.doctors(20)
    const [patient] = world.register(1) as [Party]
    const stream = randomBytes(8)
    world.post(world.device(patient, [stream]))
    const openings = Array.from({ length: 1000 }, (_, i) => world.opening(doctors[i % 20] as Party, [stream]))
    for (let from = 0; from < openings.length; from += 32) {
      world.post(world.key(patient, { gen: 1, open: openings.slice(from, from + 32) }))
    }
    const [revoked, ...kept] = openings.map(([gid]) => gid) as [Uint8Array, ...Uint8Array[]]
    const envelopes = kept.map((gid): EnvelopeEntry => [gid, 2, randomBytes(1472)])
    const cut: Cut[] = [[stream, 1, 0]]
    const rotation = world.key(patient, { gen: 2, cut, close: [revoked], env: envelopes.slice(0, 24) })
    const { transactions, closes } = world.post(rotation)
    expect([transactions.length, closes.length]).toEqual([1, 1])
    const key = transactions[0]?.id as Uint8Array
    const rest: Draft[] = []
    for (let from = 24; from < envelopes.length; from += 24) {
      const env = envelopes.slice(from, from + 24)
      rest.push(world.byOp(patient, { v: 1, t: 'envelope', a: patient.account, key, env }))
    }
    world.post(...rest)
    for (const leaf of world.leaves.userchain) expect(leaf.length).toBeLessThanOrEqual(leafSizeBytesMax)
    const state = world.ledger.state('userchain')
    const has = (gid: Uint8Array) => userTables.envelope.get(state, patient.account, gid, 2) !== undefined
    expect([kept.every(has), has(revoked)]).toEqual([true, false])
  })
})

describe('the consent counter', () => {
  it('cannot be used up by a thief of op: the patient’s root still changes the key', () => {
    const world = new World()
    const { patient } = enrol(world)
    const day = 24 * hourMs
    const stolen = world.device(patient, [randomBytes(8)])
    world.nowMs += 1000
    const highest = { ...stolen, body: { ...stolen.body, n: world.nowMs + day } as Draft['body'] }
    expect(world.judge({ ...stolen, body: { ...stolen.body, n: 2 ** 53 - 1 } as Draft['body'] })).toMatchObject({
      rule: 'device.counter',
    })
    world.nowMs -= 1000
    world.post(highest)
    const n = world.nowMs + day + 1
    const registration = world.registration(1).draft.body as { op: Uint8Array }
    const body = { v: 1, t: 'update', a: patient.account, n, x: n - 1, op: registration.op, why: 1 } as const
    expect(world.judge(world.byRoot(patient, body), { atMs: world.nowMs + 1000 })).toEqual({ verdict: 'valid' })
  })
})
