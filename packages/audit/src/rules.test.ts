import type { PendingBlock } from '@healthblock/chain/block'
import { algorithmHashHex, algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { fromHex } from '@healthblock/encoding/bytes'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Care, type Draft, enrol, World } from '../../chain/src/testkit.ts'
import { erasedMs, exportMs, type RecordName } from './erasures.ts'
import { FindingList } from './report.ts'
import { AuditRules, anchorLagMsMax, envelopeLateMs } from './rules.ts'
import { Samples, samplesMax } from './samples.ts'

const randomBytes = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length))

let world: World
let findings: FindingList
let rules: AuditRules

beforeEach(() => {
  world = new World()
  findings = new FindingList()
  rules = new AuditRules(world.ledger, findings)
})

function codes(): string[] {
  return findings.list(() => undefined).map(({ code }) => code)
}

/** Gives a committed block to the rules. */
function take(block: PendingBlock): void {
  const transactions = block.transactions.map(({ transaction }) => transaction)
  rules.block({ chain: block.chain, firstIndex: block.firstIndex, seal: block.seal, transactions })
}

/** Gives the rules a block that no ledger would commit: the last one, with these transactions in it. */
function takeForged(block: PendingBlock, ...drafts: readonly Draft[]): void {
  const transactions = drafts.map((draft) => world.sign(draft))
  rules.block({ chain: block.chain, firstIndex: block.firstIndex, seal: block.seal, transactions })
}

/** A patient with a grant, all of whose blocks the rules have seen. */
function care(): Care {
  const enrolled = enrol(world)
  const { patient, gid } = enrolled
  const key = world.key(patient, {
    gen: 1,
    open: [[gid, enrolled.doctor.account, enrolled.streams, world.slot, world.nowMs + 90 * 86_400_000, 3, 1]],
  })
  const index = (world.ledger.index('userchain').find(enrolled.key) ?? 0) as number
  const { seal } = lastBlock()
  rules.block({ chain: 'userchain', firstIndex: index, seal, transactions: [world.sign(key)] })
  return enrolled
}

/** A block with nothing of interest. */
function lastBlock(): PendingBlock {
  const { organisation } = world
  const body = { v: 1, t: 'algorithm', a: organisation.account, id: 'ecg', version: '1.0' } as const
  return world.post(world.byOp(organisation, { ...body, hash: randomBytes(32), act: 1 }))
}

function closing({ patient, streams, gid }: Care): Draft {
  return world.key(patient, { gen: 2, cut: streams.map((stream) => [stream, 1, 0] as const), close: [gid] })
}

describe('what the rules allow', () => {
  it('grants, records, a revocation and a diagnosis give no finding', () => {
    const { patient, doctor, streams, gid } = care()
    rules = new AuditRules(world.ledger, findings)
    take(world.post(world.iot(patient, [world.record(streams[0], 1), world.record(streams[0], 2)])))
    const posted = world.post(world.diagnosis(doctor, patient, { g: gid, in: [[streams[0], 1, 2]] }))
    take(posted)
    const cut = [
      [streams[0], 1, 2],
      [streams[1], 1, 0],
    ] as const
    take(world.post(world.key(patient, { gen: 2, cut, close: [gid] })))
    take(world.post(world.iot(patient, [world.record(streams[0], 3, 2)])))
    rules.finish(world.nowMs + 10 * envelopeLateMs)
    expect(codes()).toEqual([])
  })
})

describe('what they find on their own', () => {
  it('rule.envelope-late: a live grant without an envelope, once, and only after 10 min', () => {
    care()
    const { ms } = world.ledger.head('userchain')
    rules.finish(ms + envelopeLateMs - 1)
    expect(codes()).toEqual([])
    rules.finish(ms + envelopeLateMs + 1000)
    rules.finish(ms + 2 * envelopeLateMs)
    expect(codes()).toEqual(['rule.envelope-late'])
  })

  it('rule.envelope-late: also of a grant that was closed after its time, whether or not a block came between', () => {
    const enrolled = care()
    world.nowMs += envelopeLateMs + 60_000
    take(world.post(closing(enrolled)))
    expect(codes()).toEqual(['rule.envelope-late'])
  })

  it('rule.envelope-late: the same over a state in which the grant is closed already', () => {
    const enrolled = care()
    world.nowMs += envelopeLateMs + 60_000
    const between = lastBlock()
    world.nowMs += 60_000
    const closed = world.post(closing(enrolled))
    for (const block of [between, closed]) take(block)
    expect(codes()).toEqual(['rule.envelope-late'])
  })

  it('nothing is owed to a grant that was closed', () => {
    take(world.post(closing(care())))
    rules.finish(world.nowMs + 2 * envelopeLateMs)
    expect(codes()).toEqual([])
  })

  it('rule.envelope-after-close', () => {
    const enrolled = care()
    const { patient, gid } = enrolled
    const { transactions } = world.post(closing(enrolled))
    const block = lastBlock()
    const key = transactions[0]?.id as Uint8Array
    const envelope = { v: 1, t: 'envelope', a: patient.account, key, env: [[gid, 1, randomBytes(1472)]] } as const
    takeForged(block, world.byOp(patient, envelope))
    expect(codes()).toEqual(['rule.envelope-after-close'])
  })

  it('rule.close-without-rotation: closed at this index, in a generation that began elsewhere', () => {
    const enrolled = care()
    const block = world.post(closing(enrolled))
    takeForged(block, world.key(enrolled.patient, { gen: 1, close: [enrolled.gid] }))
    expect(codes()).toEqual(['rule.close-without-rotation'])
  })

  it('rule.cut-gap, rule.record-sequence, rule.record-outside-cut', () => {
    const { patient, streams } = care()
    const block = lastBlock()
    takeForged(block, world.key(patient, { gen: 1, cut: [[streams[0], 3, 5]], why: 2 }))
    expect(codes()).toEqual(['rule.cut-gap'])
    takeForged(block, world.iot(patient, [world.record(streams[0], 1), world.record(streams[0], 3)]))
    expect(codes()).toEqual(['rule.cut-gap', 'rule.record-sequence'])
    takeForged(block, world.iot(patient, [world.record(streams[0], 4, 2)]))
    expect(codes().at(-1)).toBe('rule.record-outside-cut')
  })

  it('rule.diagnosis-after-close: by the anchor, not by the order of the chains', () => {
    const enrolled = care()
    const { patient, doctor, streams, gid } = enrolled
    world.post(world.iot(patient, [world.record(streams[0], 1)]))
    const diagnosis = world.diagnosis(doctor, patient, { g: gid, in: [[streams[0], 1, 1]] })
    const before = world.post(diagnosis)
    const cut = [
      [streams[0], 1, 1],
      [streams[1], 1, 0],
    ] as const
    world.post(world.key(patient, { gen: 2, cut, close: [gid] }))
    take(before)
    expect(codes()).toEqual([])
    const { pending } = world.block('docchain', [])
    takeForged(pending as PendingBlock, diagnosis)
    expect(codes()).toEqual(['rule.diagnosis-after-close'])
  })

  it('rule.anchor-lag: a block that passes over a userchain block older than 10 s', () => {
    const enrolled = care()
    const anchor = world.userHead
    world.post(closing(enrolled))
    const { pending } = world.block('docchain', [])
    const { seal } = pending as PendingBlock
    const { ms } = world.ledger.head('userchain')
    const stale = { ...seal, anchor: [[anchor.size, anchor.root]] as const }
    const block = { chain: 'docchain', firstIndex: 2, transactions: [] } as const
    rules.block({ ...block, seal: { ...stale, ms: ms + anchorLagMsMax } })
    expect(codes()).toEqual([])
    rules.block({ ...block, seal: { ...stale, ms: ms + anchorLagMsMax + 1 } })
    expect(codes()).toEqual(['rule.anchor-lag'])
  })
})

it('rule.algorithm-name: the program that the auditor runs, under a name that is not its own', () => {
  const { organisation } = world
  const register = (id: string, version: string, hash: Uint8Array) => {
    const body = { v: 1, t: 'algorithm', a: organisation.account, id, version, hash, act: 1 } as const
    return world.byOp(organisation, body)
  }
  const own = fromHex(algorithmHashHex)
  const block = lastBlock()
  takeForged(block, register(algorithmName, algorithmVersion, own), register('another', '1', randomBytes(32)))
  expect(codes()).toEqual([])
  takeForged(block, register(algorithmName, '0.0.1', own))
  const [finding] = findings.list(() => undefined)
  expect(finding).toMatchObject({ code: 'rule.algorithm-name', index: block.firstIndex, height: block.seal.h })
  expect(finding?.message).toContain(algorithmHashHex)
})

describe('the sample of stored blocks', () => {
  const context = (nowMs = world.nowMs) => ({
    findings,
    nowMs,
    erasedMs: (record: RecordName) => erasedMs(world.ledger, record),
  })

  it('what a patient erased may be gone, and storage.kept: must be gone in the end', async () => {
    const { patient, streams } = care()
    const records = [1, 2].map((sequence) => world.record(streams[0], sequence))
    world.post(world.iot(patient, records))
    const erase = {
      v: 1,
      t: 'erase',
      a: patient.account,
      ...world.consent(),
      ranges: [[streams[0], 2, 2]],
      law: 1,
    } as const
    world.post(world.byOp(patient, erase))
    const samples = new Samples(randomBytes(32))
    samples.note('userchain', { index: 7, height: 3 }, world.sign(world.iot(patient, records)))
    const has = async ({ record }: { record?: RecordName }) => record?.sequence === 1
    await samples.check({ has }, context())
    await samples.check({ has }, context(world.nowMs + 2 * exportMs))
    expect(codes()).toEqual([])
    await samples.check({ has: async () => true }, context())
    expect(codes()).toEqual([])
    await samples.check({ has: async () => true }, context(world.nowMs + 2 * exportMs))
    expect(codes()).toEqual(['storage.kept'])
  })

  it('draws at most so many, and a block that nobody has is a finding', async () => {
    const { patient, streams } = care()
    const samples = new Samples(randomBytes(32))
    const records = Array.from({ length: 60 }, (_, i) => world.record(streams[0], i + 1))
    for (const height of [1, 2])
      samples.note('userchain', { index: height, height }, world.sign(world.iot(patient, records)))
    let asked = 0
    const words = await samples.check({ has: async () => ++asked > 1 }, context())
    expect([asked, samples.count]).toEqual([samplesMax, 120])
    expect(words).toContain(`${samplesMax} of 120`)
    expect(codes()).toEqual(['storage.missing'])
  })

  it('what was missing is asked for again in the next look, and stays a finding until a node has it', async () => {
    const { patient, streams } = care()
    const records = Array.from({ length: 60 }, (_, i) => world.record(streams[0], i + 1))
    const first = new Samples(randomBytes(32))
    for (const part of [records, [61, 62, 63, 64, 65].map((sequence) => world.record(streams[0], sequence))])
      first.note('userchain', { index: 1, height: 1 }, world.sign(world.iot(patient, part)))
    await first.check({ has: async () => false }, context())
    // Each block is a finding of its own, though one entry names them all.
    expect(codes()).toHaveLength(samplesMax)
    findings.endLook()
    const [lost] = first.missing
    const found = async (one: object) => one !== lost
    const looks = [
      [{ has: () => Promise.reject(new Error('nobody answers')) }, samplesMax],
      [{ has: found }, 1],
      [{ has: found }, 1],
      [{ has: async () => true }, 0],
    ] as const
    let { missing } = first
    for (const [probe, count] of looks) {
      const next = new Samples(randomBytes(32), missing)
      await next.check(probe, context())
      findings.endLook()
      expect(codes()).toEqual(Array.from({ length: count }, () => 'storage.missing'))
      missing = next.missing
    }
  })

  it('says what had no answer, and what nobody was asked', async () => {
    const { patient, streams } = care()
    const samples = new Samples(randomBytes(32))
    samples.note('userchain', { index: 1, height: 1 }, world.sign(world.iot(patient, [world.record(streams[0], 1)])))
    const failing = { has: () => Promise.reject(new Error('nobody answers')) }
    expect(await samples.check(failing, context())).toContain('1 questions had no answer')
    expect(await samples.check(undefined, context())).toContain('no storage node was asked')
    expect(codes()).toEqual([])
  })
})
