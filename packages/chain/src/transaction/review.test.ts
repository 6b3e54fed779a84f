/** Attacks on the rules and formats that the tables of rules do not show: what an adversary, or an unlucky order, would try. */
import { generateKemKeyPair } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { concatBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { describe, expect, it } from 'vitest'
import { judgeUserchain } from '../contracts/judge.ts'
import { parseGenesis } from '../policy/genesis.ts'
import { sampleGenesis } from '../sample.test-support.ts'
import { StateOverlay } from '../state/state.ts'
import { MemoryLeafStore, StateTree, statePath, stateValueHash, verifyStateProof } from '../state/state-tree.ts'
import { userTables } from '../state/tables.ts'
import { cutsOf, type Draft, enrol, hourMs, type Party, startMs, World } from '../testkit.ts'
import { type GenesisBody, type IotRecord, parseTransactionLeaf } from './transaction.ts'

const refusedBy = (rule: string) => expect.objectContaining({ verdict: 'refused', rule })

describe('a revocation of a grant that is not on record', () => {
  /** A grant goes to a gateway that is dead; its revocation, and that of a grant on record, goes through another. */
  function parked() {
    const world = new World()
    const care = enrol(world)
    const opening = world.opening(care.doctor, care.streams)
    const gid = opening[0]
    const grant = world.key(care.patient, { gen: 1, open: [opening], env: [[gid, 1, randomBytes(1472)]] })
    const revocation = world.key(care.patient, { gen: 2, cut: cutsOf(care, 1, 0), close: [care.gid, gid], why: 4 })
    return { world, care, gid, opening, grant, revocation }
  }

  it('holds, for the other grants too, and the parked grant is refused when it returns', () => {
    const { world, care, gid, grant, revocation } = parked()
    const { firstIndex, closes, wakes } = world.post(revocation)
    expect(closes.map(({ closedAt }) => closedAt)).toEqual([firstIndex, firstIndex])
    expect(wakes).toBe(true)
    const state = world.ledger.state('userchain')
    expect(userTables.grant.get(state, care.patient.account, care.gid)?.c).toBe(firstIndex)
    expect(userTables.currentGeneration.get(state, care.patient.account)).toBe(2)
    expect(world.judge(grant)).toEqual(refusedBy('key.counter'))
    expect(userTables.grant.get(state, care.patient.account, gid)).toMatchObject({ o: firstIndex, c: firstIndex })
  })

  it('keeps the id from ever opening, and nobody can use it', () => {
    const { world, care, gid, opening, revocation } = parked()
    world.post(revocation)
    expect(world.judge(world.key(care.patient, { gen: 2, open: [opening] }))).toEqual(refusedBy('key.open'))
    const env = [[gid, 1, randomBytes(1472)] as const]
    expect(world.judge(world.key(care.patient, { gen: 2, env }))).toEqual(refusedBy('key.env'))
    const diagnosis = world.diagnosis(care.doctor, care.patient, { g: gid, in: [[care.streams[0], 1, 1]] })
    expect(world.judge(diagnosis)).toEqual(refusedBy('D.grant'))
  })

  it('needs a rotation like every other, and can be repeated', () => {
    const { world, care, gid, revocation } = parked()
    const early = world.key(care.patient, { gen: 1, close: [gid] })
    expect(world.judge(early)).toEqual(refusedBy('key.generation'))
    world.post(revocation)
    const again = world.key(care.patient, { gen: 2, cut: cutsOf(care, 1, 0), close: [care.gid, gid] })
    expect(world.post(again)).toMatchObject({ wakes: false })
  })
})

describe('a genesis file', () => {
  it('is the body and nothing behind it, though what follows would complete a leaf', () => {
    const { bytes } = sampleGenesis()
    // The leaf is body || 0x80; these bytes turn that last byte into the end of a signature.
    const tail = encodeCbor([[randomBytes(32), 1, new Uint8Array(64).fill(0x80)]]).subarray(0, -1)
    const longer = concatBytes(bytes, tail)
    expect(parseTransactionLeaf(concatBytes(Uint8Array.of(0x83, 1), longer, Uint8Array.of(0x80))).body.t).toBe(
      'genesis',
    )
    expect(() => parseGenesis(longer)).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_GENESIS_INVALID', field: 'body' } }),
    )
  })

  it('holds no KEM key that nobody can seal to', () => {
    const { body } = sampleGenesis()
    const [[root, op, kem, ...rest], ...orgs] = body.orgs as [GenesisBody['orgs'][0], ...GenesisBody['orgs']]
    for (const bad of badKemKeys(kem)) {
      const file = encodeCbor({ ...body, orgs: [[root, op, bad, ...rest], ...orgs] } as never)
      expect(() => parseGenesis(file)).toThrow(
        expect.objectContaining({ detail: { code: 'ERR_GENESIS_INVALID', field: 'orgs' } }),
      )
    }
  })
})

/** Keys of the right length that no envelope can be sealed to: a coefficient that is not reduced, points of small order. */
function badKemKeys(good: Uint8Array): Uint8Array[] {
  const coefficient = good.slice()
  coefficient.set([0xff, 0xff], 0)
  const zero = good.slice().fill(0, 1184)
  const one = zero.slice()
  one[1184] = 1
  return [coefficient, zero, one]
}

describe('a KEM key that nobody can seal to', () => {
  it('is not registered, and does not replace another', () => {
    const world = new World()
    const [patient] = world.register(1) as [Party]
    const { publicKey } = generateKemKeyPair()
    const { draft } = world.registration(2)
    const update = (kem: Uint8Array) =>
      world.byRoot(patient, { v: 1, t: 'update', a: patient.account, ...world.consent(), why: 0, kem, suite: 1 })
    const register = (kem: Uint8Array): Draft => ({ ...draft, body: { ...draft.body, kem } as Draft['body'] })
    for (const bad of badKemKeys(publicKey)) {
      expect(world.judge(register(bad))).toEqual(refusedBy('register.keys'))
      expect(world.judge(update(bad))).toEqual(refusedBy('update.keys'))
    }
    expect(world.judge(register(publicKey))).toEqual({ verdict: 'valid' })
    expect(world.judge(update(publicKey))).toEqual({ verdict: 'valid' })
  })
})

describe('an algorithm', () => {
  it('cannot take the hash that means "by hand"', () => {
    const world = new World()
    const { account } = world.organisation
    const body = {
      v: 1,
      t: 'algorithm',
      a: account,
      id: 'news2',
      version: '1',
      hash: new Uint8Array(32),
      act: 1,
    } as const
    expect(world.judge(world.byOp(world.organisation, body))).toEqual(refusedBy('algorithm.hash'))
  })
})

describe('a licence that ends access without saying so', () => {
  it('wakes an idle Docchain as a suspension does', () => {
    const world = new World()
    const [doctor] = world.doctors(1) as [Party]
    expect(world.post(world.licence(doctor)).wakes).toBe(false)
    expect(world.post(world.licence(doctor, { from: world.nowMs + hourMs })).wakes).toBe(true)
    expect(world.post(world.licence(doctor, { to: startMs + 1 })).wakes).toBe(true)
  })
})

describe('an envelope', () => {
  it('is not barred by a stranger who saw it on its way and put its encapsulation on record first', () => {
    const world = new World()
    const [care, stranger] = [enrol(world), enrol(world)]
    const opening = world.opening(care.doctor, care.streams)
    world.post(world.key(care.patient, { gen: 1, open: [opening] }))
    const bytes = randomBytes(1472)
    const revocation = world.key(care.patient, {
      gen: 2,
      cut: cutsOf(care, 1, 0),
      close: [care.gid],
      env: [[opening[0], 2, bytes]],
    })
    const copy = concatBytes(bytes.subarray(0, 1120), randomBytes(1792 - 1120))
    const again = world.opening(stranger.doctor, stranger.streams)
    world.post(world.key(stranger.patient, { gen: 1, open: [again], env: [[again[0], 1, copy]] }))
    expect(world.judge(revocation)).toEqual({ verdict: 'valid' })
    // Among one's own envelopes it stays an error.
    const third = world.opening(stranger.doctor, stranger.streams)
    const repeated = world.key(stranger.patient, { gen: 1, open: [third], env: [[third[0], 1, copy]] })
    expect(world.judge(repeated)).toEqual(refusedBy('key.env'))
  })
})

describe('a grant to a doctor', () => {
  it('is not opened when the organisation that licensed him is no longer in force', () => {
    const world = new World()
    const care = enrol(world)
    const transaction = world.sign(
      world.key(care.patient, { gen: 1, open: [world.opening(care.doctor, care.streams)] }),
    )
    const judge = (change: (state: StateOverlay) => void) => {
      const state = new StateOverlay(world.ledger.state('userchain'))
      change(state)
      return judgeUserchain(transaction, {
        chain: 'userchain',
        ledgerId: world.ledger.ledgerId,
        epochMs: hourMs,
        genesisOrganisations: [],
        index: world.userHead.size,
        firstIndex: world.userHead.size,
        height: 1,
        rules: 1,
        timeMs: world.nowMs,
        transactionId: world.ledger.transactionId('userchain', transaction),
        state,
        log: world.ledger.index('userchain'),
        isGoodSignature: () => true,
        effects: { closes: [], records: [], wakes: false },
      })
    }
    expect(judge(() => {})).toEqual({ verdict: 'valid' })
    const { account } = world.organisation
    const c = world.userHead.size - 1
    expect(judge((state) => userTables.organisation.set(state, { o: 0, c }, account))).toEqual(refusedBy('key.open'))
  })
})

describe('generations', () => {
  it('that were skipped hold exactly the records between their cuts', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg, vitals] = care.streams
    const { patient } = care
    // In one body, in descending order: the values count, not the order.
    const cut = [
      [ecg, 3, 4],
      [vitals, 3, 0],
      [ecg, 2, 3],
      [vitals, 2, 0],
      [ecg, 1, 1],
      [vitals, 1, 0],
    ] as [Uint8Array, number, number][]
    const falling = cut.with(2, [ecg, 2, 5])
    expect(world.judge(world.key(patient, { gen: 4, cut: falling }))).toEqual(refusedBy('key.cut'))
    expect(world.judge(world.key(patient, { gen: 4, cut: cut.slice(2) }))).toEqual(refusedBy('key.cut'))
    world.post(world.key(patient, { gen: 4, cut }))
    for (const [seq, generation] of [1, 2, 2, 3, 4].entries()) {
      for (const gen of [1, 2, 3, 4]) {
        const draft = world.iot(patient, [world.record(ecg, seq + 1, gen)])
        const expected = gen === generation ? { verdict: 'valid' } : refusedBy('iot.generation')
        expect(world.judge(draft), `sequence ${seq + 1} under generation ${gen}`).toEqual(expected)
      }
      world.post(world.iot(patient, [world.record(ecg, seq + 1, generation)]))
    }
    expect(world.judge(world.key(patient, { gen: 5, cut: cutsOf(care, 4, 0) }))).toEqual(refusedBy('key.cut'))
    const other = cut.with(4, [ecg, 1, 2])
    expect(world.judge(world.key(patient, { gen: 5, cut: [...other, [ecg, 4, 5], [vitals, 4, 0]] }))).toEqual(
      refusedBy('key.cut'),
    )
    // Later records do not count against a cut that is only repeated.
    expect(world.judge(world.key(patient, { gen: 5, cut: [...cut, [ecg, 4, 5], [vitals, 4, 0]] }))).toEqual({
      verdict: 'valid',
    })
  })

  it('need cuts of a stream from the one in which it began, and of a closed one none', () => {
    const world = new World()
    const care = enrol(world)
    const { patient } = care
    world.post(world.key(patient, { gen: 2, cut: cutsOf(care, 1, 0) }))
    const [late, device] = [randomBytes(8), randomBytes(16)]
    world.post(world.device(patient, [late], 1, device))
    const rotate = (...more: [Uint8Array, number, number][]) =>
      world.judge(world.key(patient, { gen: 4, cut: [...cutsOf(care, 2, 0), ...cutsOf(care, 3, 0), ...more] }))
    expect(rotate()).toEqual(refusedBy('key.cut'))
    expect(rotate([late, 1, 0], [late, 2, 0], [late, 3, 0])).toEqual(refusedBy('key.cut'))
    expect(rotate([late, 2, 0], [late, 3, 0])).toEqual({ verdict: 'valid' })
    world.post(world.device(patient, [], 2, device))
    expect(rotate()).toEqual({ verdict: 'valid' })
    expect(rotate([late, 2, 0], [late, 3, 0])).toEqual({ verdict: 'valid' })
  })
})

describe('counter and expiry', () => {
  it('reach to 24 h after T and to no integer beyond', () => {
    const world = new World()
    const [patient] = world.register(1) as [Party]
    const draft = world.device(patient, [randomBytes(8)])
    const T = world.nowMs
    const day = 24 * hourMs
    const judge = (fields: { n?: number; x?: number }) =>
      world.judge({ ...draft, body: { ...draft.body, ...fields } as Draft['body'] }, { atMs: T })
    for (const good of [{ n: 1 }, { n: T + day }, { x: T }, { x: T + day }]) {
      expect(judge(good)).toEqual({ verdict: 'valid' })
    }
    for (const n of [0, T + day + 1, 2 ** 53 - 1]) expect(judge({ n })).toEqual(refusedBy('device.counter'))
    for (const x of [0, T - 1, T + day + 1, 2 ** 53 - 1]) expect(judge({ x })).toEqual(refusedBy('device.expiry'))
  })
})

describe('a diagnosis', () => {
  it('may rest on a range with gaps and empty records, never on one that reaches past what is committed at the anchor', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg] = care.streams
    const gap = world.record(ecg, 2).with(4, 2).with(5, 0).with(6, new Uint8Array(32)) as unknown as IotRecord
    const empty = world.record(ecg, 3).with(4, 1) as unknown as IotRecord
    world.post(world.iot(care.patient, [world.record(ecg, 1), gap, empty]))
    const anchor = world.userHead
    world.post(world.iot(care.patient, [world.record(ecg, 4)]))
    const judge = (from: number, to: number) => {
      const basis = [anchor.size, anchor.root] as const
      return world.judge(world.diagnosis(care.doctor, care.patient, { g: care.gid, basis, in: [[ecg, from, to]] }), {
        anchor,
      })
    }
    for (const [from, to] of [
      [1, 3],
      [2, 2],
      [3, 3],
    ] as const) {
      expect(judge(from, to)).toEqual({ verdict: 'valid' })
    }
    expect(judge(1, 4)).toEqual(refusedBy('D.range'))
    expect(judge(1, 5)).toMatchObject({ verdict: 'deferred', missing: 'record' })
    expect(judge(0, 1)).toEqual(refusedBy('D.range'))
  })
})

describe('a remembered signature', () => {
  it('does not pass under the key that an update in the same block brought', () => {
    const world = new World()
    const [patient] = world.register(1) as [Party]
    const draft = world.device(patient, [randomBytes(8)])
    expect(world.judge(draft)).toEqual({ verdict: 'valid' })
    const n = (draft.body as { n: number }).n
    const op = generateSigningKey()
    const body = { v: 1, t: 'update', a: patient.account, n: n - 1, x: world.nowMs + hourMs, why: 0 } as const
    const update = world.byRoot(patient, { ...body, op: op.publicKey })
    const renewed = { ...draft, signers: [{ account: patient.account, key: 1, signingKey: op }] }
    const { verdicts } = world.block(
      'userchain',
      [update, draft, renewed].map((each) => world.sign(each)),
    )
    expect(verdicts).toEqual([{ verdict: 'valid' }, refusedBy('device.signature'), { verdict: 'valid' }])
  })
})

describe('a state proof', () => {
  it('does not take an inner node for a leaf, nor a leaf or an empty place from elsewhere', () => {
    const entries = Array.from({ length: 64 }, (_, i) => ({ key: encodeCbor(['org', i]), value: encodeCbor(i) }))
    const store = new MemoryLeafStore()
    store.apply(new StateTree(store).rootAfter(entries).leaves)
    const tree = new StateTree(store)
    const { root } = tree
    const [{ key, value }] = entries as [(typeof entries)[0]]
    const proof = tree.prove(key)
    const bad = (forged: Parameters<typeof verifyStateProof>[0]) =>
      expect(() => verifyStateProof(forged)).toThrow(
        expect.objectContaining({ detail: { code: 'ERR_STATE_PROOF_INVALID' } }),
      )
    verifyStateProof({ key, value, proof, root })
    for (let depth = 0; depth < proof.siblings.length; depth++) {
      const siblings = proof.siblings.slice(0, depth)
      const [left, right] = [proof.siblings[depth] as Uint8Array, proof.siblings[depth] as Uint8Array]
      bad({ key, value: undefined, proof: { siblings, leaf: { pathHash: left, valueHash: right } }, root })
      bad({ key, value: undefined, proof: { siblings }, root })
      bad({ key, value, proof: { ...proof, siblings }, root })
    }
    for (const other of entries.slice(1)) {
      const elsewhere = tree.prove(other.key)
      bad({ key, value: undefined, proof: elsewhere, root })
      bad({ key, value: other.value, proof: elsewhere, root })
      const leaf = { pathHash: statePath(key), valueHash: stateValueHash(value) }
      bad({ key, value, proof: { ...elsewhere, leaf }, root })
    }
    bad({ key, value, proof: { ...proof, siblings: [...proof.siblings, new Uint8Array(32)] }, root })
    bad({ key, value: undefined, proof: { ...proof, siblings: [...proof.siblings, new Uint8Array(32)] }, root })
  })
})
