/** What a patient who means harm can do to the doctor's other patients: nothing. Over HTTP, with a real ledger and real keys. */
import { encodeBatch } from '@healthblock/diagnosis/batch'
import { toHex } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hourMs } from '../../../packages/runtime/src/testkit.ts'
import { costOf } from './judging/judge.ts'
import { type Diagnosis, enrol, type Node, openPractice, type Practice } from './node.test-support.ts'
import { type Recipient, registerAlgorithm, type TestNetwork, TestPatient } from './sample.test-support.ts'

describe('a patient who means harm', { timeout: 120_000 }, () => {
  let practice: Practice
  let network: TestNetwork
  let node: Node
  let doctor: Recipient

  beforeAll(async () => {
    practice = await openPractice()
    ;({ network, node } = practice)
    doctor = await enrol(node, network)
  })

  afterAll(() => practice?.close())

  test('a window that begins after the last moment of any calendar costs the others none of their lists', async () => {
    const [honest, hostile] = [new TestPatient(network), new TestPatient(network)]
    await honest.rotate({ open: [doctor] })
    honest.record(1)
    await hostile.rotate({ open: [doctor], fromEpoch: Math.floor(8_900_000_000_000_000 / hourMs) })
    hostile.record(1)
    await node.catchUp()
    const grants = await node.get<{ patient: string; from: string }[]>('/v1/patients')
    expect(grants.map(({ patient }) => patient).sort()).toEqual([toHex(honest.account), toHex(hostile.account)].sort())
    for (const path of ['/v1/patients/summary', '/v1/alarms', '/v1/unread', '/v1/readings'])
      expect((await node.call('GET', path)).status, path).toBe(200)
  })

  test('a record of a time that no diagnosis can name is set aside, and the next one is judged', async () => {
    registerAlgorithm(network.history)
    const patient = new TestPatient(network)
    await patient.rotate({ open: [doctor] })
    const name = toHex(patient.account)
    patient.record(3, { rhythm: 'fast' })
    patient.record(3, { startMs: 2 ** 45, rhythm: 'fast' })
    patient.record(1, { rhythm: 'fast' })
    const list = await node.diagnosesWhen((all) => all.some((one) => one.patient === name))
    const own = list.filter((one) => one.patient === name)
    expect(own.flatMap((one) => one.in.map(({ from, to }) => [from, to]))).toEqual([
      [1, 3],
      [7, 7],
    ])
    const unread = await node.get<{ from: number; to: number; state: string; reason: string }[]>(
      `/v1/unread?patient=${name}`,
    )
    expect(unread).toMatchObject([{ from: 4, to: 6, state: 'unreadable', reason: 'format' }])
  })

  test('whoever gives access a hundred times is listed 64 times, and judged once', async () => {
    const patient = new TestPatient(network)
    for (let i = 0; i < 5; i++) await patient.rotate({ open: Array.from({ length: 20 }, () => doctor) })
    patient.record(1)
    const name = toHex(patient.account)
    const own = <T extends { patient: string }>(all: T[]): T[] => all.filter((one) => one.patient === name)
    await node.diagnosesWhen((all) => own(all)[0]?.status === 'preliminary')
    expect(own(await node.get<{ patient: string; state: string }[]>('/v1/patients')).length).toBe(64)
    expect(own(await node.get<{ patient: string; state: string }[]>('/v1/patients/summary'))).toMatchObject([
      { state: 'live' },
    ])
    expect(own(await node.get<Diagnosis[]>('/v1/diagnoses'))).toHaveLength(1)
  })

  test('a backlog, however long, is judged four hours at a time: nobody waits for it longer', async () => {
    const patient = new TestPatient(network)
    await patient.rotate()
    // 80 s of ECG each.
    for (const count of [60, 60, 60, 10]) patient.record(count, { form: { rateHz: 100, secondsPerBatch: 80 } })
    await patient.rotate({ open: [doctor], history: true })
    const name = toHex(patient.account)
    const own = (all: Diagnosis[]): Diagnosis[] => all.filter((one) => one.patient === name)
    await node.diagnosesWhen((all) => own(all)[0]?.status === 'preliminary')
    // The rest is said with what comes next, or when somebody asks.
    expect((await node.call('POST', '/v1/diagnoses/request', { patient: name })).status).toBe(202)
    const list = await node.diagnosesWhen((all) => own(all).length === 2)
    expect(own(list).map((one) => one.in.map(({ from, to }) => [from, to]))).toEqual([[[1, 180]], [[181, 190]]])
  })

  test('vital signs in a stream that is said to be of ECG are judged, and cost what vital signs do', async () => {
    const patient = new TestPatient(network)
    await patient.rotate({ open: [doctor] })
    const startMs = Date.now()
    const rows = [{ atMs: startMs, sign: 'heart-rate', value: 60 }] as const
    patient.record(1, { text: encodeBatch({ kind: 'vitals', startMs, rows: [...rows] }) })
    patient.record(1)
    const name = toHex(patient.account)
    await node.diagnosesWhen((all) => all.some((one) => one.patient === name))
    const readings = await node.get<{ kind: string }[]>(`/v1/readings?patient=${name}`)
    expect(readings.map(({ kind }) => kind).sort()).toEqual(['ecg', 'vitals'])
    expect(await node.get(`/v1/unread?patient=${name}`)).toEqual([])
  })

  test('years that are packed into a few records are shown as far as they go: no question opens more than 300,000 values, and a few records', async () => {
    const patient = new TestPatient(network, 2)
    await patient.rotate({ open: [doctor] })
    const perRecord = 1_600
    const stepMs = perRecord * 60_000
    let startMs = Date.now() - 220 * stepMs
    for (let number = 0; number < 210; number++) {
      const from = startMs
      startMs += stepMs
      const rows = Array.from({ length: perRecord }, (_, i) => ({
        ...{ atMs: from + i * 60_000, sign: 'glucose' as const, value: 0 },
      }))
      patient.record(1, { text: encodeBatch({ kind: 'vitals', startMs: from, rows }) })
    }
    await node.catchUp()
    const path = `/v1/patients/${toHex(patient.account)}/trends?from=0&to=${Date.now()}`
    const { signs, isPartial } = await node.get<{ signs: { glucose: number[][] }; isPartial: boolean }>(path)
    expect(isPartial).toBe(true)
    expect(signs.glucose.length).toBeGreaterThanOrEqual(300_000)
    expect(signs.glucose.length).toBeLessThan(300_000 + 8 * perRecord)
    expect(signs.glucose.at(-1)?.[0]).toBe(Math.floor((startMs - 60_000) / 60_000) * 60_000)
  })
})

test('what a record costs is the time that it tells of for an ECG, its size for vital signs, and nothing without readings', () => {
  const ecg = { kind: 0, streamkind: 1, size: 65_536, start: 1_000, until: 61_000 }
  expect(costOf(ecg)).toBe(1)
  expect(costOf({ ...ecg, streamkind: 2, size: 2 ** 20 })).toBe(45)
  for (const none of [{ kind: 1 }, { kind: 2 }, { until: 500 }]) expect(costOf({ ...ecg, ...none })).toBe(0)
})
