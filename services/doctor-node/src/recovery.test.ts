/** A doctor node that is killed, or was away: over HTTP, with a real ledger and real keys. */
import { type DiagnosisBody, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Diagnosis, enrol, type Node, openPractice, type Practice } from './node.test-support.ts'
import { type Recipient, registerAlgorithm, type TestNetwork, TestPatient } from './sample.test-support.ts'

describe('a doctor node', () => {
  let practice: Practice
  let network: TestNetwork
  let node: Node
  let doctor: Recipient

  beforeEach(async () => {
    practice = await openPractice()
    ;({ network, node } = practice)
    registerAlgorithm(network.history)
    doctor = await enrol(node, network)
  })

  afterEach(() => practice?.close())

  test('killed at any step it judges each record once, and posts nothing twice', { timeout: 120_000 }, async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    // Leaves of the ledger itself, not what was sent to it: a transaction leaf begins with 1, a SEAL with 2.
    const onRecord = (): DiagnosisBody[] =>
      network.history.leaves.docchain
        .filter((leaf) => leaf[1] === 1)
        .map((leaf) => parseTransactionLeaf(leaf).body)
        .filter((body): body is DiagnosisBody => body.t === 'diagnosis' && toHex(body.pat) === name)
    let records = 0
    let deaths = 0
    for (let step = 1; step <= 90; step += 2) {
      const life = node.dieAt(step)
      other.record(1, { rhythm: 'fast' })
      records++
      const round = await node.call('POST', '/v1/catch-up', { timeoutMs: 3_000 })
      if (life.hasDied() || round.status >= 500) deaths++
      await node.stop()
      await node.start()
    }
    expect(deaths).toBeGreaterThan(20)
    await node.diagnosesWhen(() => {
      if (onRecord().some((body) => body.in.some(([, , to]) => to === records))) return true
      // What came after the one that was asked for waits for its interval: it is asked for, too.
      void node.call('POST', '/v1/diagnoses/request', { patient: name })
      return false
    })
    const judged = onRecord().flatMap((body) =>
      body.in.flatMap(([, from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i)),
    )
    expect(judged.sort((a, b) => a - b)).toEqual(Array.from({ length: records }, (_, i) => i + 1))
    expect(onRecord().map(({ seq }) => seq)).toEqual(onRecord().map((_, i) => i + 1))
  })

  test('catches up after more than a day, a record a minute: each judged once, in order', {
    timeout: 300_000,
  }, async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    await node.catchUp()
    await node.stop()
    for (let batch = 0; batch < 24; batch++) {
      other.pause(...Array.from({ length: 63 }, () => 'empty' as const))
      other.record(1)
    }
    const records = 24 * 64
    const name = toHex(other.account)
    await node.start()
    await node.diagnosesWhen((all) => {
      const own = all.filter(({ patient, status }) => patient === name && status === 'preliminary')
      const [to] = own.flatMap((one) => one.in.map((range) => range.to)).sort((a, b) => b - a)
      // What is left when the backlog was posted waits for its interval.
      if (own.length > 0 && (to ?? 0) < records) void node.call('POST', '/v1/diagnoses/request', { patient: name })
      return to === records
    })
    const own = (await node.get<Diagnosis[]>(`/v1/diagnoses?patient=${name}`)).flatMap((one) => one.in)
    expect(own.map(({ from }) => from)).toEqual([1, ...own.slice(0, -1).map(({ to }) => to + 1)])
    expect(await node.get(`/v1/readings?patient=${name}`)).toHaveLength(24)
  })
})
