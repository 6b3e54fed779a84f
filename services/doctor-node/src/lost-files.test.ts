/** A doctor node whose `node.db` is damaged, lost, or an older copy: over HTTP, with a real ledger and real keys. */
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DiagnosisBody, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Diagnosis, enrol, type Node, openPractice, type Practice } from './node.test-support.ts'
import { type Recipient, registerAlgorithm, type TestNetwork, TestPatient } from './sample.test-support.ts'

describe("a doctor node's files", { timeout: 120_000 }, () => {
  let practice: Practice
  let root: string
  let network: TestNetwork
  let node: Node
  let doctor: Recipient
  let patient: TestPatient

  const path = (name: string): string => join(root, 'doctor', name)
  const name = (): string => toHex(patient.account)
  const judged = (): number[] =>
    network.history.leaves.docchain
      .filter((leaf) => leaf[1] === 1)
      .map((leaf) => parseTransactionLeaf(leaf).body)
      .filter((body): body is DiagnosisBody => body.t === 'diagnosis')
      .flatMap((body) => body.in.flatMap(([, from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i)))
  /** Everything that was recorded so far is judged on record. */
  const judgeAll = async (last: number): Promise<void> => {
    await node.diagnosesWhen((all) => {
      const own = all.filter(({ status }) => status === 'preliminary' || status === 'signed')
      if (own.some((one) => one.in.some(({ to }) => to === last))) return true
      void node.call('POST', '/v1/diagnoses/request', { patient: name() })
      return false
    })
  }
  const diagnoses = () => node.get<Diagnosis[]>('/v1/diagnoses')

  beforeEach(async () => {
    practice = await openPractice()
    ;({ root, network, node } = practice)
    registerAlgorithm(network.history)
    doctor = await enrol(node, network)
    patient = new TestPatient(network)
    await patient.rotate({ open: [doctor] })
    patient.record(1, { rhythm: 'fast' })
    await judgeAll(1)
    patient.record(1)
    await judgeAll(2)
  })

  afterEach(() => practice?.close())

  test('with a damaged page, or a part of it gone, it does not start, and says what to do', async () => {
    await node.stop()
    const whole = readFileSync(path('node.db'))
    const damages: [string, () => void][] = [
      ...[1, 2, 5].map((page): [string, () => void] => [
        `page ${page}`,
        () => {
          const bytes = Buffer.from(whole)
          bytes.fill(0x5a, page * 4096, page * 4096 + 200)
          writeFileSync(path('node.db'), bytes)
        },
      ]),
      ['cut', () => truncateSync(path('node.db'), whole.length - 3 * 4096 - 100)],
      [
        'no database',
        () => writeFileSync(path('node.db'), 'not a database, but long enough to be taken for one'.repeat(90)),
      ],
    ]
    for (const [what, damage] of damages) {
      writeFileSync(path('node.db'), whole)
      damage()
      await expect(node.start(), what).rejects.toMatchObject({
        message: expect.stringMatching(/node\.db is damaged .*restore it from a backup.*or move it away/),
        detail: { code: 'ERR_DATABASE_CORRUPT' },
      })
    }
    writeFileSync(path('node.db'), whole)
    await node.start()
    expect(await diagnoses()).toHaveLength(2)
  })

  test('without it, what it said is taken from the ledger, and nothing is judged again', async () => {
    const before = await diagnoses()
    const [first] = before as [Diagnosis]
    await node.call('POST', `/v1/diagnoses/${first.transactionId}/amend`, { act: 'correct', text: 'a word' })
    const corrected = await diagnoses()
    await node.stop()
    for (const end of ['', '-wal', '-shm']) rmSync(path(`node.db${end}`), { force: true })
    await node.start()
    patient.record(1, { rhythm: 'fast' })
    await judgeAll(3)
    const after = await diagnoses()
    expect(after).toHaveLength(3)
    expect(after.slice(0, 2)).toEqual(corrected)
    expect(judged()).toEqual([1, 2, 3])
    // What it says next goes on from there.
    const second = await node.call('POST', `/v1/diagnoses/${before[1]?.transactionId}/amend`, { act: 'sign' })
    expect(second.status).toBe(201)
  })

  test('with an older copy of its whole folder, likewise', async () => {
    await node.stop()
    cpSync(path(''), join(root, 'copy'), { recursive: true })
    await node.start()
    patient.record(1, { rhythm: 'fast' })
    await judgeAll(3)
    const before = await diagnoses()
    await node.stop()
    rmSync(path(''), { recursive: true })
    cpSync(join(root, 'copy'), path(''), { recursive: true })
    await node.start()
    patient.record(1)
    await judgeAll(4)
    expect((await diagnoses()).slice(0, 3)).toEqual(before)
    expect(judged()).toEqual([1, 2, 3, 4])
  })
})
