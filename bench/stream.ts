/**
 * From the sensor to the diagnosis at the patient's own node: a device sends a second of one ECG lead each second, in real time; her node
 * seals what a period brought, the ledger takes it, the doctor's node opens and judges it, and what it says comes back over the second
 * ledger. Counted from the last sample of a batch, so the period itself comes on top.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { generateEcg } from '@healthblock/diagnosis/generator'
import { toBase64 } from '@healthblock/encoding/bytes'
import { callNode, type NodeAccess } from '../cli/src/cluster/client.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import { cpuSecondsByRole, type EnrolledPatient, enrolPeople } from './support/enrolled.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const options = benchOptions()
const runs = options.quick
  ? [{ patients: 2, seconds: 16 }]
  : [1, 10, 40].map((patients) => ({ patients, seconds: 120 }))
const [periodMs, rateHz, gain] = [5_000, 250, 200]
/** The doctor's node says something of every batch: it waits no longer than this with what is unchanged. */
const postIntervalMs = 1_000
const answerWithinMs = 60_000

interface Diagnosis {
  readonly transactionId: string
  readonly in: readonly { readonly from: number; readonly to: number }[]
}

interface Reading {
  readonly sequence: number
  readonly to: string
}

/** Sends a second of ECG each second, in real time. */
async function measureAtDevice(device: NodeAccess, ecg: Int16Array, seconds: number): Promise<void> {
  const startedAt = Date.now()
  for (let second = 0; second < seconds; second++) {
    const untilMs = startedAt + (second + 1) * 1_000
    await delay(Math.max(0, untilMs - Date.now()))
    const samples = ecg.slice(second * rateHz, (second + 1) * rateHz)
    await callNode(device, 'POST', '/v1/streams/ecg/samples', {
      ...{ startMs: untilMs - 1_000, rateHz, gain, leads: ['ii'], samples: toBase64(new Uint8Array(samples.buffer)) },
    })
  }
}

/** Notes when the patient's node first shows a diagnosis of each of her records, as its page is told. */
async function watch(patient: EnrolledPatient, shownAt: Map<number, number>, signal: AbortSignal): Promise<void> {
  const { session, path } = patient
  const headers = { authorization: `Bearer ${session.bearer}` }
  const response = await fetch(new URL('/v1/events', session.url), { headers, signal })
  const decoder = new TextDecoder()
  for await (const bytes of response.body as ReadableStream<Uint8Array>) {
    if (!decoder.decode(bytes, { stream: true }).includes('event: diagnosis')) continue
    const page = await callNode<{ diagnoses: Diagnosis[] }>(session, 'GET', `${path}/diagnoses?limit=5`)
    const atMs = Date.now()
    for (const { in: inputs } of page.diagnoses) {
      for (const { from, to } of inputs) {
        for (let sequence = from; sequence <= to; sequence++) if (!shownAt.has(sequence)) shownAt.set(sequence, atMs)
      }
    }
  }
}

async function follow(patient: EnrolledPatient, ecg: Int16Array, seconds: number): Promise<number[]> {
  const stop = new AbortController()
  const shownAt = new Map<number, number>()
  const watching = watch(patient, shownAt, stop.signal).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error
  })
  const { credential } = await callNode<{ credential: string }>(patient.session, 'GET', `${patient.path}/device`)
  await measureAtDevice({ ...patient.session, name: 'device', bearer: credential }, ecg, seconds)
  const records = Math.floor((seconds * 1_000) / periodMs)
  const deadline = Date.now() + answerWithinMs
  while (shownAt.size < records && Date.now() < deadline) await delay(50)
  stop.abort()
  await watching
  const readings = await callNode<Reading[]>(patient.session, 'GET', `${patient.path}/readings`)
  return readings.slice(0, records).map(({ sequence, to }) => {
    const shown = shownAt.get(sequence)
    if (shown === undefined) throw new Error(`record ${sequence} was not diagnosed within ${answerWithinMs} ms`)
    return shown - Date.parse(to)
  })
}

async function measure(cluster: BenchCluster, { patients: count, seconds }: (typeof runs)[number]): Promise<Result> {
  const patients = await enrolPeople(
    cluster,
    Array.from({ length: count }, (_, at) => `patient-${at + 1}`),
  )
  const form = { rateHz, seconds, rhythm: 'regular' } as const
  const ecgs = patients.map((_, seed) => Int16Array.from(generateEcg({ ...form, seed }), (value) => value * gain))
  tell(`${count} patients stream for ${seconds} s`)
  const total = (): number => Object.values(cpuSecondsByRole(cluster)).reduce((sum, value) => sum + value, 0)
  const before = total()
  const startedAt = performance.now()
  // Devices are not switched on all in one moment.
  const delays = await Promise.all(
    patients.map(async (patient, at) => {
      await delay((at * periodMs) / count)
      return follow(patient, ecgs[at] as Int16Array, seconds)
    }),
  )
  const elapsed = (performance.now() - startedAt) / 1000
  const all = delays.flat()
  return {
    ...{ nodes: 4, stores: 3, patients: count, batchSeconds: periodMs / 1000, batches: all.length },
    ...{ p50Ms: percentile(all, 0.5), p99Ms: percentile(all, 0.99), slowestMs: Math.max(...all) },
    coresUsed: (total() - before) / elapsed,
  }
}

const results: Result[] = []
for (const run of runs) {
  const size = { accounting: 4, storage: 3, replicas: 3, doctors: 1, periodMs }
  const extra = ({ role }: { role: string }): Record<string, string> =>
    role === 'doctor' ? { DOCTOR_POST_INTERVAL_MS: String(postIntervalMs) } : {}
  results.push(await withCluster({ size, extra }, (cluster) => measure(cluster, run)))
}
report('stream', results, options)
