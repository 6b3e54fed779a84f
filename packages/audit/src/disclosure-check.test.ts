import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import { encodeDisclosure, type HeldNodes, parseDisclosure } from '@healthblock/crypto/disclosure'
import { sha256 } from '@healthblock/crypto/hash'
import { epochKeyFrom, newStreamRoot, type TreeNode } from '@healthblock/crypto/key-tree'
import { type PayloadKind, payloadKinds, recordBlockSizeBytes, sealPayload } from '@healthblock/crypto/payload'
import { algorithmHashHex, algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { encodeBatch, parseBatch } from '@healthblock/diagnosis/batch'
import { defaultParameters, diagnose } from '@healthblock/diagnosis/diagnose'
import { type DiagnosisDocument, encodeFitting } from '@healthblock/diagnosis/document'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Care, type Draft, enrol, World } from '../../chain/src/testkit.ts'
import { DisclosedRecords } from './disclosed-records.ts'
import { checkDisclosure } from './disclosure-check.ts'
import type { RecordName } from './erasures.ts'
import { Recall } from './recall.ts'
import type { FindingParts } from './report.ts'

const algorithmHash = fromHex(algorithmHashHex)
const minutes = 60_000
const beginMs = 1_700_000_000_000
const noCarry = new Uint8Array(0)

let world: World
let care: Care
let records: DisclosedRecords
let blocks: Map<string, Uint8Array>
let held: HeldNodes[]
/** All that was posted, for who reads the ledger from its begin. */
let posted: Parameters<Recall['block']>[0][]

beforeEach(() => {
  world = new World()
  care = enrol(world)
  const { ledgerId } = world.ledger
  const { patient, doctor, streams } = care
  records = new DisclosedRecords(ledgerId, patient.account)
  blocks = new Map()
  posted = []
  const diagnosisStream = diagnosisStreamId({ ledgerId, patient: patient.account, doctor: doctor.account })
  const ids = [...streams, diagnosisStream].sort((a, b) => (toHex(a) < toHex(b) ? -1 : 1))
  held = ids.map((stream) => ({ stream, generation: 1, first: world.slot - 1, nodes: [newStreamRoot()] }))
  const { organisation } = world
  const algorithm = {
    v: 1,
    t: 'algorithm',
    a: organisation.account,
    id: algorithmName,
    version: algorithmVersion,
  } as const
  post(world.byOp(organisation, { ...algorithm, hash: algorithmHash, act: 1 }))
})

/** Commits drafts as one block, which the auditor sees. */
function post(...drafts: readonly Draft[]): Uint8Array {
  const { chain, seal, firstIndex, transactions } = world.post(...drafts)
  const block = { chain, seal, firstIndex, transactions: transactions.map(({ transaction }) => transaction) }
  records.block(block)
  posted.push(block)
  return transactions[0]?.id as Uint8Array
}

/** Seals as the patient's or the doctor's node does, stores the block, and gives its CID. */
function seal(
  entry: { stream: Uint8Array; sequence: number; kind: PayloadKind; writer?: Uint8Array; sizeBytes: number },
  plaintext: Uint8Array,
): Uint8Array {
  const { stream, kind, sequence, sizeBytes, writer = care.patient.account } = entry
  const { nodes, first } = held.find((one) => toHex(one.stream) === toHex(stream)) as HeldNodes
  const epoch = world.slot
  const epochKey = epochKeyFrom({ nodes: nodes as TreeNode[], first, epoch })
  const fields = {
    kind,
    ledgerId: world.ledger.ledgerId,
    owner: care.patient.account,
    writer,
    stream,
    generation: 1,
    epoch,
    sequence,
  }
  const { block } = sealPayload({ ...fields, epochKey, plaintext, sizeBytes })
  const cid = sha256(block)
  blocks.set(toHex(cid), block)
  return cid
}

/** One minute of vital signs that grow worse with the sequence. */
function batchOf(sequence: number) {
  const startMs = beginMs + sequence * minutes
  const rows = Array.from({ length: 6 }, (_, i) => [
    { atMs: startMs + i * 10_000, sign: 'spo2' as const, value: 97 - 2 * sequence },
    { atMs: startMs + i * 10_000, sign: 'heart-rate' as const, value: 80 + 15 * sequence },
  ]).flat()
  return parseBatch(encodeBatch({ kind: 'vitals', startMs, rows }))
}

/** Records of the first stream, on Userchain. */
function stream(from: number, to: number): void {
  const [stream] = care.streams
  const all = Array.from({ length: to - from + 1 }, (_, i) => {
    const sequence = from + i
    const cid = seal({ stream, sequence, kind: payloadKinds.data, sizeBytes: 4096 }, encodeBatch(batchOf(sequence)))
    return [stream, sequence, 1, world.slot, 0, 4096, cid] as const
  })
  post(world.iot(care.patient, all))
}

/** What a doctor's node would say of these records. */
function documentOf(from: number, to: number, carried?: DiagnosisDocument): DiagnosisDocument {
  const [stream] = care.streams
  const inputs = Array.from({ length: to - from + 1 }, (_, i) => ({ ...batchOf(from + i), stream, sequence: from + i }))
  const run = diagnose({ records: inputs, parameters: defaultParameters, carriedState: carried?.state })
  return {
    algorithm: { name: algorithmName, version: algorithmVersion, hash: algorithmHash },
    parameters: defaultParameters,
    atMs: world.nowMs,
    in: [{ stream, from, to }],
    ...run,
    carried: carried === undefined ? noCarry : sha256(carried.state),
    text: '',
  }
}

function diagnosis(
  document: DiagnosisDocument,
  sequence: number,
  fields: Partial<Parameters<World['diagnosis']>[2]> = {},
): Uint8Array {
  const { doctor, patient, gid } = care
  const stream = diagnosisStreamId({
    ledgerId: world.ledger.ledgerId,
    patient: patient.account,
    doctor: doctor.account,
  })
  const entry = {
    stream,
    sequence,
    kind: payloadKinds.diagnosis,
    writer: doctor.account,
    sizeBytes: recordBlockSizeBytes,
  }
  const cid = seal(entry, encodeFitting(document))
  const body = {
    g: gid,
    in: document.in.map(({ stream: one, from, to }) => [one, from, to] as const),
    seq: sequence,
    alg: document.algorithm.hash,
    cid,
    ...fields,
  }
  return post(world.diagnosis(doctor, patient, body))
}

async function check(nodes: readonly HeldNodes[] = held, isErased: (record: RecordName) => boolean = () => false) {
  const window = {
    ledgerId: world.ledger.ledgerId,
    patient: care.patient.account,
    from: world.slot - 1,
    until: world.slot + 1,
  }
  const disclosure = parseDisclosure(encodeDisclosure({ ...window, nodes }))
  const found: FindingParts[] = []
  const get = async (digest: Uint8Array) => blocks.get(toHex(digest))
  const summary = await checkDisclosure({
    disclosure,
    records,
    blocks: { get },
    isErased,
    add: (finding) => found.push(finding),
  })
  return { ...summary, found, codes: found.map(({ code }) => code) }
}

describe('diagnoses judged again', () => {
  it('give the same bytes, the second one from the state of the first', async () => {
    stream(1, 6)
    const first = documentOf(1, 3)
    const carry = diagnosis(first, 1)
    diagnosis(documentOf(4, 6, first), 2, { carry })
    const { same, found, notChecked } = await check()
    expect(found).toEqual([])
    expect([same, notChecked]).toEqual([2, []])
  })

  it('diagnosis.differs: a finding left out, a severity lowered, another state', async () => {
    stream(1, 6)
    const honest = documentOf(1, 6)
    expect(honest.findings.length).toBeGreaterThan(0)
    diagnosis({ ...honest, findings: honest.findings.slice(1) }, 1)
    diagnosis({ ...honest, findings: honest.findings.map((one) => ({ ...one, severity: 'info' as never })) }, 2)
    diagnosis({ ...honest, state: documentOf(1, 5).state }, 3)
    diagnosis(honest, 4)
    const { codes, same, found } = await check()
    expect(codes).toEqual(['diagnosis.differs', 'diagnosis.differs', 'diagnosis.differs'])
    expect(same).toBe(1)
    const place = world.ledger.index('docchain').boundaryAt(2)
    expect(found[0]).toMatchObject({ chain: 'docchain', height: 1 })
    expect(found[1]).toMatchObject({ height: 2, index: (place?.size as number) - 2 })
  })

  it('diagnosis.carried: a state that is not that of the diagnosis named', async () => {
    stream(1, 6)
    const first = documentOf(1, 3)
    const carry = diagnosis(first, 1)
    diagnosis(documentOf(4, 6, documentOf(1, 2)), 2, { carry })
    diagnosis(documentOf(4, 6, first), 3)
    expect((await check()).codes).toEqual(['diagnosis.carried', 'diagnosis.carried'])
  })

  it('diagnosis.mismatch: other records or another algorithm inside than on the ledger', async () => {
    stream(1, 3)
    const [one] = care.streams
    diagnosis(documentOf(1, 2), 1, { in: [[one, 1, 3]] })
    diagnosis(documentOf(1, 2), 2, { alg: new Uint8Array(32) })
    expect((await check()).codes).toEqual(['diagnosis.mismatch', 'diagnosis.mismatch'])
  })

  it('diagnosis.unreadable, diagnosis.malformed: it does not open, or is no diagnosis', async () => {
    stream(1, 2)
    const [one] = care.streams
    diagnosis(documentOf(1, 2), 1)
    const [cid] = [...blocks.keys()].slice(-1)
    blocks.set(
      cid as string,
      Uint8Array.from(blocks.get(cid as string) as Uint8Array, (byte, i) => (i === 9000 ? byte ^ 1 : byte)),
    )
    const ours = { ledgerId: world.ledger.ledgerId, patient: care.patient.account, doctor: care.doctor.account }
    const entry = {
      stream: diagnosisStreamId(ours),
      sequence: 2,
      kind: payloadKinds.diagnosis,
      writer: care.doctor.account,
    }
    const nonsense = seal({ ...entry, sizeBytes: recordBlockSizeBytes }, Uint8Array.of(1, 2, 3))
    const body = { g: care.gid, in: [[one, 1, 2] as const], seq: 2, alg: algorithmHash, cid: nonsense }
    post(world.diagnosis(care.doctor, care.patient, body))
    expect((await check()).codes).toEqual(['diagnosis.unreadable', 'diagnosis.malformed'])
  })

  it('record.unreadable, storage.missing: what a diagnosis rests on', async () => {
    stream(1, 2)
    const [first, second] = [...blocks.keys()] as [string, string]
    diagnosis(documentOf(1, 2), 1)
    const block = blocks.get(first) as Uint8Array
    blocks.set(first, blocks.get(second) as Uint8Array)
    expect((await check()).codes).toEqual(['record.unreadable'])
    blocks.set(first, block)
    blocks.delete(second)
    expect((await check()).codes).toEqual(['storage.missing'])
  })

  it('unreadable.false: a doctor said that he could not read what opens', async () => {
    stream(1, 2)
    const { size, root } = world.userHead
    const { doctor, patient, gid, streams } = care
    const body = {
      v: 1,
      t: 'unreadable',
      a: doctor.account,
      pat: patient.account,
      g: gid,
      basis: [size, root],
    } as const
    for (const code of [1, 4])
      post(
        world.byOp(
          doctor,
          { ...body, in: [[streams[0], code === 1 ? 1 : 2, code === 1 ? 1 : 2]], code } as never,
          'docchain',
        ),
      )
    const { codes, found } = await check()
    expect(codes).toEqual(['unreadable.false'])
    expect(found[0]?.message).toContain('code 4')
  })

  it('a doctor who set aside what no algorithm judges said the truth: another unit, another rate, a time that no diagnosis names', async () => {
    const [one] = care.streams
    const ecg = { kind: 'ecg', startMs: beginMs, rateMilliHz: 250_000, leads: ['ii'], unit: 'mv' } as const
    const rest = { gainMilli: 200_000, baseline: 0, samples: new Int16Array(500) }
    const batches = [
      { ...ecg, ...rest, leads: ['ii'], unit: 'uv' },
      { ...ecg, ...rest, leads: ['ii'], rateMilliHz: 50_000 },
      { ...ecg, ...rest, leads: ['ii'], startMs: 2 ** 44 },
      { ...ecg, ...rest, leads: ['ii'] },
    ]
    const entries = batches.map((batch, i) => {
      const entry = { stream: one, sequence: i + 1, kind: payloadKinds.data, sizeBytes: 4096 }
      return [one, i + 1, 1, world.slot, 0, 4096, seal(entry, encodeBatch(batch))] as const
    })
    post(world.iot(care.patient, entries))
    const { size, root } = world.userHead
    const { doctor, patient, gid } = care
    const body = { v: 1, t: 'unreadable', a: doctor.account, pat: patient.account, g: gid, code: 5 } as const
    const said = { ...body, basis: [size, root] as const }
    post(world.byOp(doctor, { ...said, in: [[one, 1, 3]] } as never, 'docchain'))
    expect((await check()).found).toEqual([])
    post(world.byOp(doctor, { ...said, in: [[one, 4, 4]] } as never, 'docchain'))
    expect((await check()).codes).toEqual(['unreadable.false'])
  })

  it('an older version: listed by its recall, named as not judged again, and carried on by the version that is here', async () => {
    const older = { name: algorithmName, version: '0.1.0', hash: new Uint8Array(32).fill(9) }
    const { organisation } = world
    const entry = { v: 1, t: 'algorithm', a: organisation.account, id: older.name, version: older.version } as const
    post(world.byOp(organisation, { ...entry, hash: older.hash, act: 1 }))
    stream(1, 6)
    // What the older version said need not be what this one would say.
    const first = { ...documentOf(1, 3), algorithm: older, findings: [] }
    const carry = diagnosis(first, 1)
    const second = diagnosis(documentOf(4, 6, first), 2, { carry })
    const { same, found, notChecked } = await check()
    expect(found).toEqual([])
    expect(same).toBe(1)
    expect(notChecked).toEqual([
      `1 entries of the patient were not judged again by ${algorithmName} ${algorithmVersion}: they were made by ${algorithmName} 0.1.0`,
    ])
    for (const [version, hash, id] of [
      [older.version, older.hash, carry],
      [algorithmVersion, algorithmHash, second],
    ] as const) {
      const recall = new Recall(world.ledger.ledgerId, { name: algorithmName, version })
      for (const block of posted) recall.block(block)
      expect(recall.algorithms.map((one) => one.hash)).toEqual([toHex(hash)])
      expect(recall.diagnoses.map(({ transactionId }) => transactionId)).toEqual([toHex(id)])
    }
  })

  it('an older version cannot be blamed: inside and on the ledger the same one must stand', async () => {
    stream(1, 3)
    const older = { name: algorithmName, version: '0.1.0', hash: new Uint8Array(32).fill(9) }
    diagnosis({ ...documentOf(1, 2), algorithm: older }, 1, { alg: algorithmHash })
    expect((await check()).codes).toEqual(['diagnosis.mismatch'])
  })

  it('records that she erased are missed by nobody', async () => {
    stream(1, 2)
    diagnosis(documentOf(1, 2), 1)
    blocks.delete([...blocks.keys()][1] as string)
    const { found, notChecked } = await check(held, ({ sequence }) => sequence === 2)
    expect(found).toEqual([])
    expect(notChecked.join()).toContain(
      '1 entries of the patient were not judged again: they rest on records that she erased',
    )
  })

  it('what the keys do not reach is said, not judged', async () => {
    stream(1, 3)
    const first = documentOf(1, 2)
    diagnosis(first, 1)
    const hand = {
      ...first,
      algorithm: { name: 'by-hand', version: '1', hash: new Uint8Array(32) },
      findings: [],
      state: noCarry,
    }
    diagnosis({ ...hand, text: 'seen' }, 2)
    const streamHex = toHex(care.streams[0])
    const withoutData = await check(held.filter(({ stream: one }) => toHex(one) !== streamHex))
    expect(withoutData.found).toEqual([])
    expect(withoutData.notChecked.join()).toMatch(/1 .*rest on records.*1 .*by hand/)
    const dataAlone = await check(held.filter(({ stream: one }) => toHex(one) === streamHex))
    expect(dataAlone.same).toBe(0)
    expect(dataAlone.notChecked.join()).toContain('2 entries of the patient were not opened')
  })
})
