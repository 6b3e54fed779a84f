import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { describe, expect, it } from 'vitest'
import { encodeSealLeaf, type Seal } from '../log/seal.ts'
import { rebuildRoot, verifyStateProof } from '../state/state-tree.ts'
import { type ChainChanges, type ChainStore, MemoryChainStore } from '../state/store.ts'
import { docTables, userTables } from '../state/tables.ts'
import { type Care, cutsOf, type Draft, enrol, memoryStores, startMs, World } from '../testkit.ts'
import { type Cut, parseTransactionLeaf } from '../transaction/transaction.ts'
import { genesisBlocks, Ledger, type PendingBlock } from './block.ts'
import { Replay, replayLeaves } from './replay.ts'

const breaks = (rule: string) =>
  expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_BLOCK_INVALID', rule }) })

/** A course of care on both chains: readings, diagnoses, a revocation, a new grant. */
function course() {
  const world = new World()
  const care = enrol(world)
  const [ecg, vitals] = care.streams
  world.post(world.iot(care.patient, [world.record(ecg, 1), world.record(ecg, 2)]))
  const given = world.post(world.diagnosis(care.doctor, care.patient, { g: care.gid, in: [[ecg, 1, 2]] }))
  const diagnosis = given.transactions[0]?.id as Uint8Array
  world.post(world.iot(care.patient, [world.record(ecg, 3)]))
  const cut: Cut[] = [
    [ecg, 1, 3],
    [vitals, 1, 0],
  ]
  world.post(world.key(care.patient, { gen: 2, cut, close: [care.gid] }))
  world.block('docchain', [])
  const opening = world.opening(care.doctor, [ecg])
  world.post(world.key(care.patient, { gen: 2, open: [opening], env: [[opening[0], 2, randomBytes(1792)]] }))
  world.post(world.iot(care.patient, [world.record(ecg, 4, 2)]))
  world.post(world.diagnosis(care.doctor, care.patient, { g: opening[0], in: [[ecg, 4, 4]], gen: 2, seq: 2 }))
  return { world, care, diagnosis, gid: opening[0] }
}

describe('a block', () => {
  it('gives the same root on a ledger that checks it as on the one that built it', () => {
    const { world } = course()
    for (const chain of ['userchain', 'docchain'] as const) {
      expect(world.mirror.head(chain)).toEqual(world.ledger.head(chain))
    }
  })

  it('is computed without changing anything, and only one of several for a height can be committed', () => {
    const { world, care } = course()
    const before = world.ledger.head('userchain')
    const [ecg, vitals] = care.streams
    const build = (draft: Draft) => {
      const order = { chain: 'userchain', candidates: [world.sign(draft)], nowMs: world.nowMs + 5 } as const
      return world.ledger.buildBlock(order).pending as PendingBlock
    }
    const first = build(world.iot(care.patient, [world.record(ecg, 5, 2)]))
    const second = build(world.iot(care.patient, [world.record(vitals, 1, 2)]))
    expect(world.ledger.head('userchain')).toEqual(before)
    expect(userTables.last.get(world.ledger.state('userchain'), care.patient.account, ecg)?.[0]).toBe(4)
    world.ledger.commit(second)
    expect(() => world.ledger.commit(first)).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_BLOCK_NOT_NEXT' } }),
    )
    expect(() => world.ledger.commit(second)).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_BLOCK_NOT_NEXT' } }),
    )
    expect(userTables.last.get(world.ledger.state('userchain'), care.patient.account, vitals)?.[0]).toBe(1)
    expect(userTables.last.get(world.ledger.state('userchain'), care.patient.account, ecg)?.[0]).toBe(4)
  })

  it('takes what becomes valid by what follows it, drops what is not valid, and names every verdict', () => {
    const world = new World()
    const care = enrol(world)
    const [ecg] = care.streams
    const drafts = [3, 2, 1, 2, 9].map((seq) => world.iot(care.patient, [world.record(ecg, seq)]))
    const duplicate = drafts[2] as Draft
    const candidates = [...drafts, duplicate].map((draft) => world.sign(draft))
    const { pending, verdicts } = world.block('userchain', candidates)
    expect(verdicts.map((verdict) => verdict?.verdict)).toEqual([
      ...['valid', 'refused', 'valid', 'valid', 'deferred', 'refused'],
    ])
    expect(verdicts.at(-1)).toMatchObject({ rule: 'iot.duplicate', index: pending?.firstIndex })
    expect(pending?.seal.k).toBe(3)
  })

  it('keeps within its limits', () => {
    const world = new World()
    const drafts = Array.from({ length: 5 }, () => world.registration(1).draft)
    const candidates = drafts.map((draft) => world.sign(draft))
    const build = (limits: { transactionsMax: number; sizeBytesMax: number }) =>
      world.ledger.buildBlock({ chain: 'userchain', candidates, nowMs: world.nowMs, limits })
    const few = build({ transactionsMax: 2, sizeBytesMax: 1e9 })
    expect(few.verdicts.map((verdict) => verdict?.verdict)).toEqual(['valid', 'valid', undefined, undefined, undefined])
    const size = candidates[0]?.leaf.length ?? 0
    expect(build({ transactionsMax: 9, sizeBytesMax: 3 * size }).pending?.seal.k).toBe(3)
  })

  it('is refused if any field of its SEAL is altered, a leaf changed, moved, missing or added', () => {
    const { world, care } = course()
    const [ecg] = care.streams
    world.post(world.iot(care.patient, [world.record(ecg, 5, 2)]))
    const draft = world.diagnosis(care.doctor, care.patient, { g: randomBytes(16), in: [[ecg, 5, 5]], gen: 2, seq: 3 })
    const good = { ...draft, body: { ...draft.body, g: openGrant(world, care) } as Draft['body'] }
    const order = { chain: 'docchain', candidates: [world.sign(good)], nowMs: world.nowMs + 1 } as const
    const { leaves, seal } = world.ledger.buildBlock(order).pending as PendingBlock
    const head = world.ledger.head('docchain')
    const user = world.ledger.head('userchain')
    const other = new Uint8Array(32)
    const older = { size: 2, root: world.ledger.index('userchain').boundary(2)?.root ?? other }
    const alter: [rule: string, fields: Partial<Record<keyof Seal, unknown>>][] = [
      ['seal.height', { h: seal.h + 1 }],
      ['seal.index', { i0: seal.i0 + 1 }],
      ['seal.count', { k: 0 }],
      ['seal.link', { psize: seal.psize - 1 }],
      ['seal.link', { proot: other }],
      ['seal.state', { st: other }],
      ['seal.time', { ms: head.ms }],
      ['seal.rules', { rules: 2 }],
      ['seal.anchor', { anchor: undefined }],
      ['seal.anchor', { anchor: [[older.size, older.root]] }],
      ['seal.anchor', { anchor: [[user.size, other]] }],
      ['seal.anchor', { anchor: [[user.size - 1, user.root]] }],
      ['seal.format', { k: 4097 }],
    ]
    const check = (all: readonly Uint8Array[]) => world.mirror.checkBlock({ chain: 'docchain', leaves: all })
    for (const [rule, fields] of alter) {
      const altered = encodeSealLeaf({ ...seal, ...fields } as Seal)
      expect(() => check([...leaves.slice(0, -1), altered]), rule).toThrow(breaks(rule))
    }
    const ahead = encodeSealLeaf({ ...seal, anchor: [[user.size + 2, other]] })
    const unknown = { code: 'ERR_ANCHOR_UNKNOWN', size: user.size + 2, appliedSize: user.size }
    expect(() => check([...leaves.slice(0, -1), ahead])).toThrow(expect.objectContaining({ detail: unknown }))
    const [leaf, last] = leaves as [Uint8Array, Uint8Array]
    expect(() => check([])).toThrow(breaks('seal.format'))
    expect(() => check([leaf])).toThrow(breaks('seal.format'))
    expect(() => check([last])).toThrow(breaks('seal.count'))
    const two = encodeSealLeaf({ ...seal, k: 2 })
    expect(() => check([leaf, leaf, two])).toThrow(breaks('D.duplicate'))
    expect(() => check([leaf, last, two])).toThrow(breaks('transaction.format'))
    const flipped = leaf.with(leaf.length - 1, (leaf.at(-1) ?? 0) ^ 1)
    expect(() => check([flipped, last])).toThrow(breaks('D.signature'))
    expect(check(leaves).head.size).toBe(head.size + 2)
  })

  it('has no anchor on Userchain', () => {
    const { world } = course()
    const { draft } = world.registration(1)
    const order = { chain: 'userchain', candidates: [world.sign(draft)], nowMs: world.nowMs + 1 } as const
    const { leaves, seal } = world.ledger.buildBlock(order).pending as PendingBlock
    const { size, root } = world.ledger.head('userchain')
    const altered = encodeSealLeaf({ ...seal, anchor: [[size, root]] })
    const check = { chain: 'userchain', leaves: leaves.with(-1, altered) } as const
    expect(() => world.mirror.checkBlock(check)).toThrow(breaks('seal.anchor'))
    const empty = encodeSealLeaf({ ...seal, k: 0, st: world.ledger.head('userchain').stateRoot })
    const nothing = { chain: 'userchain', leaves: [empty] } as const
    expect(() => world.mirror.checkBlock(nothing)).toThrow(breaks('seal.empty'))
  })

  it('proves the close of each grant against its own SEAL', () => {
    const { world, care } = courseUntilClose()
    const closing = world.post(world.key(care.patient, { gen: 2, cut: cutsOf(care, 1, 0), close: [care.gid] }))
    expect(closing.wakes).toBe(true)
    expect(closing.closes).toHaveLength(1)
    const [closed] = closing.closes as [PendingBlock['closes'][number]]
    const { value, proof } = world.ledger.prove('userchain', closed.stateKey)
    verifyStateProof({ key: closed.stateKey, value, proof, root: closing.seal.st })
    const grant = userTables.grant.get(world.ledger.state('userchain'), care.patient.account, care.gid)
    expect(grant?.c).toBe(closing.firstIndex)
    expect(closed).toMatchObject({ index: closing.firstIndex, closedAt: closing.firstIndex, gid: care.gid })
    const absent = userTables.grant.key(care.patient.account, randomBytes(16))
    const none = world.ledger.prove('userchain', absent)
    verifyStateProof({ key: absent, value: none.value, proof: none.proof, root: none.stateRoot })
  })
})

function courseUntilClose() {
  const world = new World()
  return { world, care: enrol(world) }
}

/** A grant to the care's doctor that is in force and whose envelope is of generation 2. */
function openGrant(world: World, care: Care): Uint8Array {
  const opening = world.opening(care.doctor, care.streams)
  world.post(world.key(care.patient, { gen: 2, open: [opening], env: [[opening[0], 2, randomBytes(1472)]] }))
  const [ecg] = care.streams
  const last = userTables.last.get(world.ledger.state('userchain'), care.patient.account, ecg)?.[0] ?? 0
  world.post(world.iot(care.patient, [world.record(ecg, last + 1, 2)]))
  return opening[0]
}

describe('an idle Docchain', () => {
  it('seals one block without transactions after a close, a suspension, and nothing else', () => {
    const { world, care } = courseUntilClose()
    const seals = () => world.block('docchain', []).pending?.seal.k
    expect(world.ledger.isDocchainBlockDue()).toBe(false)
    expect(seals()).toBeUndefined()
    world.post(world.key(care.patient, { gen: 2, cut: cutsOf(care, 1, 0), close: [care.gid] }))
    expect(world.ledger.isDocchainBlockDue()).toBe(true)
    expect(seals()).toBe(0)
    expect(world.ledger.isDocchainBlockDue()).toBe(false)
    expect(seals()).toBeUndefined()
    world.post(world.key(care.patient, { gen: 3, cut: cutsOf(care, 2, 0), close: [care.gid] }))
    expect(seals()).toBeUndefined()
    world.post(world.licence(care.doctor, { state: 2 }))
    expect(seals()).toBe(0)
    world.post(world.licence(care.doctor))
    expect(seals()).toBeUndefined()
    const pending = world.ledger.head('docchain')
    const { size, root } = world.userHead
    const seal: Seal = {
      h: pending.height + 1,
      i0: pending.size,
      k: 0,
      psize: pending.size,
      proot: pending.root,
      st: pending.stateRoot,
      ms: world.nowMs,
      rules: 1,
      anchor: [[size, root]],
    }
    const check = { chain: 'docchain', leaves: [encodeSealLeaf(seal)] } as const
    expect(() => world.mirror.checkBlock(check)).toThrow(breaks('seal.empty'))
  })
})

describe('replay', () => {
  it('of Docchain after the whole of Userchain gives the state roots of the interleaved run', () => {
    const { world } = course()
    const fresh = Ledger.open({ genesis: world.genesis, stores: memoryStores() })
    for (const name of ['userchain', 'docchain'] as const) {
      const chain = { name, from: 2, leaves: world.leaves[name] }
      const roots = Array.from(replayLeaves(fresh, chain), ({ head }) => head.stateRoot)
      expect(roots).toEqual(world.stateRoots[name])
      expect(fresh.head(name)).toEqual(world.ledger.head(name))
    }
  })

  it('compares what the ledger holds, and names tampering by chain, height, index and rule', () => {
    const { world } = course()
    const zero = (name: 'userchain' | 'docchain') => {
      const other = Ledger.open({ genesis: world.genesis, stores: memoryStores() })
      const all = [...genesisBlocks(world.genesis)[name].leaves, ...world.leaves[name]]
      return { other, all }
    }
    const { other, all } = zero('userchain')
    expect([...replayLeaves(other, { name: 'userchain', from: 0, leaves: all })]).toHaveLength(
      world.stateRoots.userchain.length,
    )
    expect([...replayLeaves(other, { name: 'userchain', from: 0, leaves: all })]).toHaveLength(0)
    const { other: bad } = zero('userchain')
    const first = all.with(0, all[2] as Uint8Array)
    expect(() => [...replayLeaves(bad, { name: 'userchain', from: 0, leaves: first })]).toThrow(breaks('log.prefix'))
    const at = all.findIndex((leaf) => leaf[0] === 0x83 && parseTransactionLeaf(leaf).body.t === 'iot')
    const whole = all[at] as Uint8Array
    const moved = all.with(at, whole.with(-1, (whole.at(-1) as number) ^ 1))
    const detail = { code: 'ERR_BLOCK_INVALID', chain: 'userchain', index: at, rule: 'iot.signature' }
    expect(() => [...replayLeaves(bad, { name: 'userchain', from: 0, leaves: moved })]).toThrow(
      expect.objectContaining({ detail: expect.objectContaining(detail) }),
    )
    const { other: short } = zero('userchain')
    const cut = { name: 'userchain', from: 0, leaves: all.slice(0, -1) } as const
    expect(() => [...replayLeaves(short, cut)]).toThrow(breaks('seal.missing'))
  })

  it('waits for Userchain where an anchor is not applied yet', () => {
    const { world } = course()
    const fresh = Ledger.open({ genesis: world.genesis, stores: memoryStores() })
    const docchain = new Replay(fresh, 'docchain', 2)
    const [leaf, seal] = world.leaves.docchain as [Uint8Array, Uint8Array]
    docchain.push(leaf)
    const unknown = expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_ANCHOR_UNKNOWN' }) })
    expect(() => docchain.push(seal)).toThrow(unknown)
    for (const block of replayLeaves(fresh, { name: 'userchain', from: 2, leaves: world.leaves.userchain })) {
      expect(block.chain).toBe('userchain')
    }
    expect(docchain.retry()?.head.height).toBe(1)
  })
})

/** A store that fails at a given `apply`, before or after it stored the changes. */
class FailingStore implements ChainStore {
  readonly inner: MemoryChainStore
  failure: 'not stored' | 'stored' | undefined
  constructor(inner: MemoryChainStore) {
    this.inner = inner
  }
  get leaves() {
    return this.inner.leaves
  }
  get index() {
    return this.inner.index
  }
  head() {
    return this.inner.head()
  }
  apply(changes: ChainChanges) {
    if (this.failure !== 'not stored') this.inner.apply(changes)
    if (this.failure !== undefined) throw new RangeError('disk')
  }
}

describe('opening', () => {
  it.each(['not stored', 'stored'] as const)(
    'goes on at one height after an apply that failed and was %s',
    (failure) => {
      const { world } = course()
      const stores = { userchain: new FailingStore(new MemoryChainStore()), docchain: new MemoryChainStore() }
      const ledger = Ledger.open({ genesis: world.genesis, stores })
      const blocks = blocksOf(world.leaves.userchain)
      const half = blocks.length >> 1
      for (const leaves of blocks.slice(0, half)) ledger.commit(ledger.checkBlock({ chain: 'userchain', leaves }))
      stores.userchain.failure = failure
      const leaves = blocks[half] as Uint8Array[]
      expect(() => ledger.commit(ledger.checkBlock({ chain: 'userchain', leaves }))).toThrow(RangeError)
      stores.userchain.failure = undefined
      const again = Ledger.open({ genesis: world.genesis, stores })
      expect(again.head('userchain').height).toBe(failure === 'stored' ? half + 1 : half)
      for (const rest of blocks.slice(again.head('userchain').height)) {
        again.commit(again.checkBlock({ chain: 'userchain', leaves: rest }))
      }
      expect(again.head('userchain')).toEqual(world.ledger.head('userchain'))
      const dump = [...stores.userchain.leaves.range(new Uint8Array(32), new Uint8Array(32).fill(255))]
      expect(rebuildRoot(dump)).toEqual(again.head('userchain').stateRoot)
    },
  )

  it('refuses the store of another ledger, and state that is not what the head says', () => {
    const corrupt = expect.objectContaining({ detail: { code: 'ERR_STATE_CORRUPT' } })
    const stores = memoryStores()
    const world = new World()
    Ledger.open({ genesis: world.genesis, stores })
    expect(() => Ledger.open({ genesis: new World().genesis, stores })).toThrow(corrupt)
    const [leaf] = stores.userchain.leaves.range(new Uint8Array(32), new Uint8Array(32).fill(255))
    if (leaf === undefined) throw new Error('no leaf')
    stores.userchain.leaves.apply([{ ...leaf, value: randomBytes(3) }])
    expect(() => Ledger.open({ genesis: world.genesis, stores })).toThrow(corrupt)
  })
})

function blocksOf(leaves: readonly Uint8Array[]): Uint8Array[][] {
  const blocks: Uint8Array[][] = [[]]
  for (const leaf of leaves) {
    blocks.at(-1)?.push(leaf)
    if (leaf[0] === 0x82) blocks.push([])
  }
  return blocks.slice(0, -1)
}

describe('signatures', () => {
  it('that were verified early are not verified again, and bad ones stay bad', async () => {
    const world = new World()
    const { draft } = world.registration(1)
    const good = world.sign(draft)
    const bad = world.sign({
      ...draft,
      signers: draft.signers.map((signer) => ({ ...signer, signingKey: generateSigningKey() })),
    })
    await world.ledger.preverify('userchain', [good, bad])
    expect(world.ledger.judge('userchain', good, { atMs: world.nowMs })).toEqual({ verdict: 'valid' })
    expect(world.ledger.judge('userchain', bad, { atMs: world.nowMs })).toMatchObject({ rule: 'register.signature' })
  })

  it('on Docchain are judged by the key in force at the anchor', () => {
    const { world, care, gid } = course()
    const [ecg] = care.streams
    const before = world.userHead
    const next = generateSigningKey()
    const old = { ...care.doctor }
    const { account } = care.doctor
    const update = { v: 1, t: 'update', a: account, ...world.consent(), op: next.publicKey, why: 1 } as const
    world.post(world.byRoot(care.doctor, update))
    const basis = [before.size, before.root] as const
    const fields = { g: gid, in: [[ecg, 4, 4] as const], gen: 2, seq: 3, basis }
    const byOld = world.diagnosis(old, care.patient, fields)
    const byNew = world.diagnosis({ ...old, op: next }, care.patient, fields)
    expect(world.judge(byOld, { anchor: before })).toEqual({ verdict: 'valid' })
    expect(world.judge(byNew, { anchor: before })).toMatchObject({ rule: 'D.signature' })
    expect(world.judge(byOld)).toMatchObject({ rule: 'D.signature' })
    expect(world.judge(byNew)).toEqual({ verdict: 'valid' })
  })
})

describe('a diagnosis', () => {
  it('is judged as of the anchor: grant, licence, expiry', () => {
    const { world, care } = courseUntilClose()
    const [ecg] = care.streams
    world.post(world.iot(care.patient, [world.record(ecg, 1)]))
    const early = world.userHead
    const draft = world.diagnosis(care.doctor, care.patient, { g: care.gid, in: [[ecg, 1, 1]] })
    expect(world.judge(draft, { anchor: early })).toEqual({ verdict: 'valid' })
    world.post(world.licence(care.doctor, { state: 2 }))
    expect(world.judge(draft, { anchor: early })).toEqual({ verdict: 'valid' })
    expect(world.judge(draft)).toMatchObject({ rule: 'D.live' })
    world.post(world.licence(care.doctor, { to: world.nowMs + 500_000 }))
    expect(world.judge(draft)).toEqual({ verdict: 'valid' })
    expect(world.judge(draft, { atMs: world.nowMs + 500_000 })).toMatchObject({ rule: 'D.live' })
    world.post(world.key(care.patient, { gen: 2, cut: cutsOf(care, 1, 1), close: [care.gid] }))
    expect(world.judge(draft)).toMatchObject({ rule: 'D.live' })
    expect(world.judge(draft, { anchor: early })).toEqual({ verdict: 'valid' })
    const opening = world.opening(care.doctor, care.streams)
    world.post(world.key(care.patient, { gen: 2, open: [opening], env: [[opening[0], 1, randomBytes(1472)]] }))
    const later = { ...draft, body: { ...draft.body, g: opening[0] } as Draft['body'] }
    expect(world.judge(later, { anchor: early })).toMatchObject({ rule: 'D.grant' })
    expect(world.judge(later)).toEqual({ verdict: 'valid' })
    expect(world.judge(later, { atMs: opening[4] })).toMatchObject({ rule: 'D.live' })
  })

  it('can be amended and withdrawn without a grant, once', () => {
    const { world, care, diagnosis: of } = course()
    const record = docTables.diagnosis.get(world.ledger.state('docchain'), of)
    const amend = (act: number, seq: number) =>
      world.byOp(
        care.doctor,
        {
          v: 1,
          t: 'amend',
          a: care.doctor.account,
          of,
          act,
          gen: 1,
          epoch: record?.epoch ?? 0,
          seq,
          ...(act === 1 ? { cid: new Uint8Array(32), len: 0 } : { cid: randomBytes(32), len: 16_384 }),
        } as Draft['body'],
        'docchain',
      )
    world.post(amend(1, 3), amend(2, 4))
    const withdrawal = world.post(amend(3, 5))
    expect(docTables.diagnosis.get(world.ledger.state('docchain'), of)?.c).toBe(withdrawal.firstIndex)
    expect(world.judge(amend(2, 6))).toMatchObject({ rule: 'A.of' })
  })
})

describe('time', () => {
  it('never stands still or goes back, whatever the clock says', () => {
    const world = new World()
    const { draft } = world.registration(1)
    const order = { chain: 'userchain', candidates: [world.sign(draft)], nowMs: 5 } as const
    expect(world.ledger.buildBlock(order).pending?.seal.ms).toBe(startMs + 1)
  })
})
