/**
 * How many patients, each streaming one ECG lead in records of ten seconds, a doctor node keeps up with on two cores. A real node follows a ledger over HTTP, verifies
 * it, fetches, opens and judges every record, seals and posts. The servers of ledger and store run in this process, too, and their work counts against the node.
 */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseTransactionLeaf, signingMessage } from '@healthblock/chain/transaction'
import { fromBase64, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import { createDoctorNode } from '../services/doctor-node/src/app.ts'
import {
  license,
  type Recipient,
  registerAlgorithm,
  startNetwork,
  type TestNetwork,
  TestPatient,
} from '../services/doctor-node/src/sample.test-support.ts'
import { temporaryFolder } from './support/folder.ts'
import { benchOptions, report, tell } from './support/report.ts'

const options = benchOptions()
const patientsCount = options.quick ? 50 : 500
const recordsEach = options.quick ? 3 : 6
const recordSeconds = 10
/** A node posts a diagnosis of each patient every so many seconds when nothing changes. */
const postSeconds = 900
const cores = 2
const apiSecret = 'secret-of-the-local-administrator'

type Call = <T>(method: string, path: string, body?: unknown) => Promise<T>

/** Enrols the node's doctor as the hospital's administrator does. */
async function enrol(call: Call, network: TestNetwork): Promise<Recipient> {
  const { organisation } = network.history.consortium
  const asked = { name: 'doctor', sponsor: toHex(organisation.account) }
  const made = await call<{ account: string; body: string }>('POST', '/v1/identity', asked)
  const { ledgerId } = network.history.ledger
  const message = signingMessage({ ledgerId, chain: 'userchain', bodyBytes: fromBase64(made.body) })
  await call('POST', '/v1/identity/confirm', { signature: toBase64(organisation.op.sign(message)) })
  const until = async (wanted: string): Promise<void> => {
    while ((await call<{ state: string }>('GET', '/v1/identity')).state !== wanted) await catchUp(call)
  }
  await until('registered')
  license(network.history, fromHex(made.account))
  await until('licensed')
  const leaf = network.accounting.received.find((one) => parseTransactionLeaf(one).body.t === 'register') as Uint8Array
  return { account: fromHex(made.account), kemKey: (parseTransactionLeaf(leaf).body as { kem: Uint8Array }).kem }
}

async function catchUp(call: Call): Promise<number> {
  const { pending } = await call<{ pending?: number }>('POST', '/v1/catch-up', { timeoutMs: 120_000 })
  // A catch-up that ran out of time is asked for again.
  return pending ?? 1
}

/** CPU milliseconds of the whole process until everything is read, judged and answered. */
async function cpuMsOf(call: Call, isDone: () => Promise<boolean>): Promise<number> {
  const before = process.cpuUsage()
  for (;;) if ((await catchUp(call)) === 0 && (await isDone())) break
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

const root = temporaryFolder()
const network = await startNetwork()
const ledger = {
  genesis: network.history.consortium.genesis.bytes,
  accounting: [network.accountingUrl],
  storage: [network.storageUrl],
}
const node = await createDoctorNode({
  config: {
    dir: join(root, 'doctor'),
    host: '127.0.0.1',
    port: 0,
    postIntervalMs: postSeconds * 1000,
    webDir: root,
    logLevel: 'silent',
    ledger,
  },
  secrets: { apiSecret },
  logger: createLogger({ name: 'doctor-node', level: 'silent' }),
  nowMs: () => Date.now(),
})
const { url } = await node.listen()
const call: Call = async (method, path, body) => {
  const headers = {
    authorization: `Bearer ${apiSecret}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  const response = await fetch(new URL(path, url), {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return (await response.json()) as never
}
const diagnosed = async (): Promise<number> => {
  let count = 0
  let before = ''
  for (;;) {
    const page = await call<{ transactionId: string; status: string }[]>('GET', `/v1/diagnoses?limit=1000${before}`)
    count += page.filter(({ status }) => status === 'preliminary').length
    if (page.length < 1000) return count
    before = `&before=${page[0]?.transactionId}`
  }
}

try {
  const doctor = await enrol(call, network)
  registerAlgorithm(network.history)
  tell(`${patientsCount} patients grant`)
  const patients = Array.from({ length: patientsCount }, () => new TestPatient(network))
  for (const patient of patients) await patient.rotate({ open: [doctor] })
  await cpuMsOf(call, async () => true)
  for (const patient of patients) patient.record(1)
  tell('the first record of each, and its diagnosis')
  const firstMs = await cpuMsOf(call, async () => (await diagnosed()) >= patientsCount)
  for (const patient of patients) patient.record(recordsEach)
  tell(`${recordsEach} more of each`)
  const all = patientsCount * (1 + recordsEach)
  const readMs = await cpuMsOf(call, async () => (await call<unknown[]>('GET', '/v1/readings')).length >= all)
  const perRecordMs = readMs / (patientsCount * recordsEach)
  const perPostMs = Math.max(0, firstMs / patientsCount - perRecordMs)
  const loadPerPatient = perRecordMs / recordSeconds + perPostMs / postSeconds
  report(
    'doctor',
    [
      {
        patients: patientsCount,
        records: patientsCount * recordsEach,
        recordCpuMs: perRecordMs,
        diagnosisCpuMs: perPostMs,
        coresUsed: (patientsCount * loadPerPatient) / 1000,
        patientsOnTwoCores: Math.floor((cores * 1000) / loadPerPatient),
        residentMb: Math.round(process.memoryUsage().rss / 1e6),
      },
    ],
    options,
  )
} finally {
  await node.stop()
  await network.close()
  rmSync(root, { recursive: true })
}
