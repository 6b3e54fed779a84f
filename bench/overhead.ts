/**
 * What all of it costs: processor seconds of 1,000 readings of ten seconds, from the device until the doctor's node has judged them, against a
 * plain server that keeps the same samples in SQLite and gives them back, in the clear. Both on this machine, one after the other. Against a
 * mined chain nothing is measured: there is none here that mines.
 */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { toBase64 } from '@healthblock/encoding/bytes'
import { callNode, nodeAccess } from '../cli/src/cluster/client.ts'
import { readCluster } from '../cli/src/cluster/layout.ts'
import { writeGeneratedRecord } from '../cli/src/demo/record.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import { cpuSecondsByRole, enrolPeople } from './support/enrolled.ts'
import { temporaryFolder } from './support/folder.ts'
import { startPlainServer } from './support/plain.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'
import { threadTimes } from './support/thread-times.ts'

const options = benchOptions()
const readings = options.quick ? 60 : 1_000
const [readingSeconds, rateHz] = [10, 250]
const folder = temporaryFolder('overhead-')

async function measureCluster(cluster: BenchCluster, accounting: number): Promise<Result> {
  const [patient] = await enrolPeople(cluster, ['anna'])
  if (patient === undefined) throw new Error('nobody was enrolled')
  const form = { name: `made-${accounting}`, seed: 7, rateHz, rhythm: 'regular' } as const
  const record = await writeGeneratedRecord(folder, { ...form, seconds: readings * readingSeconds })
  const doctor = nodeAccess(cluster.dir, readCluster(cluster.dir), 'doctor-a')
  const before = cpuSecondsByRole(cluster)
  const startedAt = performance.now()
  const { job } = await callNode<{ job: string }>(patient.session, 'POST', `${patient.path}/record`, {
    record,
    speed: 'max',
  })
  for (;;) {
    const { state, error } = await callNode<{ state: string; error?: string }>(
      patient.session,
      'GET',
      `/v1/jobs/${job}`,
    )
    if (state === 'failed') throw new Error(error)
    if (state === 'done') break
    await delay(50)
  }
  const judged = async (): Promise<boolean> => {
    // Judging takes its turns; a node that is busy with it answers late.
    await callNode(doctor, 'POST', '/v1/catch-up', { timeoutMs: 50_000 }, 300_000)
    return (await callNode<unknown[]>(doctor, 'GET', `/v1/readings?patient=${patient.account}`)).length >= readings
  }
  while (!(await judged())) await delay(100)
  const seconds = (performance.now() - startedAt) / 1000
  const after = cpuSecondsByRole(cluster)
  const perThousand = (role: string): number => (((after[role] ?? 0) - (before[role] ?? 0)) / readings) * 1000
  const roles = { accounting: perThousand('accounting'), storage: perThousand('storage') }
  const nodes = { user: perThousand('user'), doctor: perThousand('doctor') }
  return {
    ...{ system: 'healthblock', nodes: accounting, stores: 3, readings, readingsPerSecond: readings / seconds },
    cpuSecondsPer1000: roles.accounting + roles.storage + nodes.user + nodes.doctor,
    ...{ accountingCpuSeconds: roles.accounting, storageCpuSeconds: roles.storage },
    ...{ userCpuSeconds: nodes.user, doctorCpuSeconds: nodes.doctor },
  }
}

function cpuSecondsOf(pid: number): number {
  const times = threadTimes(pid)
  return times === undefined ? 0 : (times.main + times.workers + times.helpers + times.pool) / 1e6
}

async function measurePlain(): Promise<Result> {
  const server = await startPlainServer(join(folder, 'plain'))
  try {
    const samples = toBase64(new Uint8Array(readingSeconds * rateHz * 2).map((_, at) => (at * 7) % 251))
    const count = Math.max(readings, 500)
    const before = cpuSecondsOf(server.pid)
    const times: number[] = []
    const startedAt = performance.now()
    for (let at = 0; at < count; at++) {
      const sentAt = performance.now()
      const body = JSON.stringify({ startMs: Date.now(), rateHz, samples })
      const posted = await fetch(`${server.url}/readings`, { method: 'POST', body })
      const { id } = (await posted.json()) as { id: number }
      await (await fetch(`${server.url}/readings/${id}`)).json()
      times.push(performance.now() - sentAt)
    }
    const seconds = (performance.now() - startedAt) / 1000
    return {
      ...{ system: 'http + sqlite', nodes: 1, readings: count, readingsPerSecond: count / seconds },
      cpuSecondsPer1000: ((cpuSecondsOf(server.pid) - before) / count) * 1000,
      ...{ p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) },
    }
  } finally {
    await server.end()
  }
}

try {
  const results: Result[] = []
  tell(`${readings} readings to a plain server`)
  const plain = await measurePlain()
  results.push(plain)
  for (const accounting of options.quick ? [4] : [1, 4]) {
    tell(`${readings} readings through ${accounting} accounting nodes, three stores, a household and a doctor`)
    const size = { accounting, storage: 3, replicas: 3, doctors: 1, patients: ['anna'] }
    const measured = await withCluster({ size }, (cluster) => measureCluster(cluster, accounting))
    const times = Number(measured.cpuSecondsPer1000) / Number(plain.cpuSecondsPer1000)
    results.push({ ...measured, timesPlain: times })
  }
  report('overhead', results, options)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
