/** Reads without a grant, from what a store signed: every rule is broken once, and seen. */
import type { PendingBlock } from '@healthblock/chain/block'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { encodeFetchEvidence, fetchPageMessage } from '@healthblock/runtime/fetch-page'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Care, enrol, World } from '../../chain/src/testkit.ts'
import { ReadCheck, readClockMs } from './reads.ts'
import { FindingList } from './report.ts'

interface Fetch {
  readonly ms: number
  readonly account: Uint8Array
  readonly digest: Uint8Array
}

let world: World
let care: Care
let grantedMs: number
let revokedMs: number
/** Of record 1, under the first keys; of record 2, under those after the revocation. */
let digests: [Uint8Array, Uint8Array]
let diagnosis: Uint8Array
let blocks: PendingBlock[]

beforeEach(() => {
  world = new World()
  blocks = []
  const commit = world.commit.bind(world)
  world.commit = (pending) => {
    blocks.push(pending)
    commit(pending)
  }
  care = enrol(world)
  grantedMs = world.nowMs
  const { patient, doctor, streams, gid } = care
  const [first, second] = [world.record(streams[0], 1), world.record(streams[0], 2, 2)]
  digests = [first[6], second[6]]
  world.post(world.iot(patient, [first]))
  const judged = world.diagnosis(doctor, patient, { g: gid, in: [[streams[0], 1, 1]] })
  diagnosis = (judged.body as { cid: Uint8Array }).cid
  world.post(judged)
  world.nowMs += 3_600_000 / 4
  const cut = [
    [streams[0], 1, 1],
    [streams[1], 1, 0],
  ] as const
  world.post(world.key(patient, { gen: 2, cut, close: [gid] }))
  revokedMs = world.nowMs
  world.post(world.iot(patient, [second]))
})

/** What the store signs for the patient of these fetches. */
function page(fetches: readonly Fetch[], signed: { key?: SigningKey; account?: Uint8Array } = {}): Uint8Array {
  const { ledgerId } = world.ledger
  const [store] = genesisAccounts(parseGenesis(world.genesis)).stores as [Uint8Array]
  const lines = fetches.map(({ ms, account, digest }) => ({
    at: new Date(ms).toISOString(),
    account: toHex(account),
    digest: toHex(digest),
    cid: 'bafk',
  }))
  const answer = encodeUtf8(JSON.stringify({ store: toHex(store), fetches: lines, next: '5.1', isEnd: true }))
  const { key = world.storeKey, account = care.patient.account } = signed
  const signature = key.sign(fetchPageMessage({ ledgerId, account, after: '', answer }))
  return encodeFetchEvidence({ account: care.patient.account, after: '', answer, signature })
}

function check(...pages: readonly Uint8Array[]): { codes: string[]; words: string } {
  const reads = new ReadCheck(world.ledger, pages)
  for (const chain of ['userchain', 'docchain'] as const)
    for (const block of blocks.filter((one) => one.chain === chain)) {
      const transactions = block.transactions.map(({ transaction }) => transaction)
      reads.block({ chain, firstIndex: block.firstIndex, seal: block.seal, transactions })
    }
  const findings = new FindingList()
  const words = reads.check(findings)
  return { codes: findings.list(() => undefined).map(({ code, chain }) => `${code} ${chain}`), words }
}

const by = (account: Uint8Array, ms: number, digest: Uint8Array = digests[0]): Fetch => ({ ms, account, digest })

describe('what is no finding', () => {
  it('the patient, and a doctor while he has the grant; a diagnosis by who wrote it', () => {
    const { patient, doctor } = care
    const fetches = [
      ...[
        by(doctor.account, grantedMs),
        by(doctor.account, revokedMs - 1),
        by(doctor.account, revokedMs + readClockMs),
      ],
      ...[by(patient.account, revokedMs + 1), by(doctor.account, revokedMs + 10_000_000, diagnosis)],
      by(patient.account, revokedMs, diagnosis),
    ]
    const { codes, words } = check(page(fetches), page(fetches))
    expect(codes).toEqual([])
    expect(words).toContain('6 fetches, as 1 storage nodes signed them')
  })

  it('no page: it says that nobody looked', () => {
    expect(check()).toMatchObject({ codes: [], words: expect.stringContaining('no signed fetch log was given') })
  })

  it('a block that no entry names: it is counted', () => {
    const { codes, words } = check(page([by(care.doctor.account, grantedMs, new Uint8Array(32))]))
    expect(codes).toEqual([])
    expect(words).toContain('1 were of blocks that no entry names')
  })

  it('a store at its work', () => {
    const [store] = genesisAccounts(parseGenesis(world.genesis)).stores as [Uint8Array]
    expect(check(page([by(store, revokedMs + readClockMs + 1)])).codes).toEqual([])
  })
})

describe('read.ungranted', () => {
  const ungranted = ['read.ungranted userchain']

  it('somebody who never had a grant', () => {
    const [other] = world.doctors(1)
    expect(check(page([by((other as { account: Uint8Array }).account, grantedMs)])).codes).toEqual(ungranted)
    expect(check(page([by(new Uint8Array(32).fill(7), grantedMs)])).codes).toEqual(ungranted)
  })

  it('before the grant, and after its end', () => {
    const { account } = care.doctor
    expect(check(page([by(account, grantedMs - readClockMs - 60_000)])).codes).toEqual(ungranted)
    expect(check(page([by(account, revokedMs + readClockMs + 1)])).codes).toEqual(ungranted)
  })

  it('a record of a stream that the grant does not cover', () => {
    const { patient, doctor } = care
    const stream = new Uint8Array(8).fill(9)
    world.post(world.device(patient, [stream]))
    const record = world.record(stream, 1, 2)
    world.post(world.iot(patient, [record]))
    expect(check(page([by(doctor.account, revokedMs - 1, record[6])])).codes).toEqual(ungranted)
  })

  it('a record of another patient that the store says to be hers is nobody’s of this page', () => {
    const other = enrol(world)
    const record = world.record(other.streams[0], 1)
    world.post(world.iot(other.patient, [record]))
    expect(check(page([by(care.doctor.account, grantedMs, record[6])])).codes).toEqual([])
  })

  it('a diagnosis that another doctor wrote', () => {
    const [other] = world.doctors(1)
    const { account } = other as { account: Uint8Array }
    expect(check(page([by(account, grantedMs, diagnosis)])).codes).toEqual(['read.ungranted docchain'])
  })
})

it('fetches.forged: what no store of this ledger signed, or for somebody else, or is no page', () => {
  const fetches = [by(care.doctor.account, revokedMs + 10_000_000)]
  const pages = [
    page(fetches, { key: generateSigningKey() }),
    page(fetches, { account: care.doctor.account }),
    Uint8Array.of(0x81, 0x01),
    page(fetches).map((byte, i) => (i === 80 ? byte ^ 1 : byte)),
  ]
  expect(check(...pages).codes).toEqual(
    pages.map(() => 'fetches.forged undefined').map((text) => text.replace('undefined', 'null')),
  )
})
