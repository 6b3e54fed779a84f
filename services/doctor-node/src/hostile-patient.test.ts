/** What a patient who means harm can do to the doctor's other patients: nothing. Over HTTP, with a real ledger and real keys. */
import { toHex } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hourMs } from '../../../packages/runtime/src/testkit.ts'
import { enrol, type Node, openPractice, type Practice } from './node.test-support.ts'
import { type Recipient, registerAlgorithm, type TestNetwork, TestPatient } from './sample.test-support.ts'

describe('a patient who means harm', () => {
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
})
