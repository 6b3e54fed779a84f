/**
 * A change of keys: how long the patient's node takes and how many bytes it posts with d doctors on record, and how long it takes from the
 * click until every honest node refuses, on a cluster of processes.
 */
import { readFileSync } from 'node:fs'
import { toHex } from '@healthblock/encoding/bytes'
import { callNode, nodeAccess } from '../cli/src/cluster/client.ts'
import { enrolPatient, enrolReaders } from '../cli/src/cluster/enrol.ts'
import { clusterPaths, readCluster } from '../cli/src/cluster/layout.ts'
import type { TestDoctor } from '../test/support/ledger.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import { BenchHousehold } from './support/household.ts'
import { Load } from './support/load.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const options = benchOptions({ steps: { type: 'string' } })
/** Numbers of doctors. Each has a patient of her own: whoever gets access now gets an envelope of each generation of this hour. */
const counts = (quick: readonly number[]): readonly number[] =>
  options.steps ?? (options.quick ? quick : [1, 10, 100, 1000])
/** Requests to the patient's node under way at a time. */
const grantsAtOnce = 4

/** Says how far it is, ten times on the way to `count` and not more often than each second; of one thing alone it says nothing. */
function progress(what: string, count: number): (done: number) => void {
  if (count === 1) return () => {}
  const every = Math.max(1, Math.ceil(count / 10))
  let toldMs = performance.now()
  return (done) => {
    if (done % every !== 0 || performance.now() - toldMs < 1_000) return
    toldMs = performance.now()
    tell(`rotation: ${what}: ${done} of ${count}`)
  }
}

/** Revocations and rotations of one household with so many doctors. */
async function household(count: number): Promise<Result> {
  tell(`rotation: ${count} doctors`)
  const home = new BenchHousehold()
  try {
    await home.enrol()
    const doctors: TestDoctor[] = []
    const granted = progress('doctors who were given the keys', count)
    while (doctors.length < count) {
      const doctor = home.world.enrolDoctor()
      doctors.push(doctor)
      await home.grant(doctor)
      granted(doctors.length)
    }
    return await measureHousehold(home, doctors)
  } finally {
    home.close()
  }
}

async function measureHousehold(home: BenchHousehold, doctors: readonly TestDoctor[]): Promise<Result> {
  const rounds = options.quick ? 6 : doctors.length > 100 ? 8 : 30
  const rotateMs: number[] = []
  const revokeMs: number[] = []
  let posted = { transactions: 0, sizeBytes: 0, entryBytesMax: 0 }
  const measured = progress(`rounds with ${doctors.length} doctors`, rounds)
  for (let round = 0; round < rounds; round++) {
    let from = performance.now()
    await home.rotate()
    rotateMs.push(performance.now() - from)
    posted = home.commit()
    const doctor = doctors[round % doctors.length] as TestDoctor
    from = performance.now()
    await home.revoke(doctor)
    revokeMs.push(performance.now() - from)
    home.commit()
    await home.grant(doctor)
    measured(round + 1)
  }
  return {
    ...{ what: 'at the node', doctors: doctors.length, streams: 3, rounds },
    ...{ rotateP50Ms: percentile(rotateMs, 0.5), revokeP50Ms: percentile(revokeMs, 0.5) },
    ...{ revokeP99Ms: percentile(revokeMs, 0.99), transactions: posted.transactions, sizeBytes: posted.sizeBytes },
    entryBytesMax: posted.entryBytesMax,
    bytesPerDoctor: posted.sizeBytes / doctors.length,
  }
}

interface Revocation {
  readonly recordedAt: string | null
  readonly refusedEverywhereAt: string | null
}

/** One patient of a running cluster, logged in. */
class Patient {
  readonly #access: ReturnType<typeof nodeAccess>
  readonly #path: string

  private constructor(access: ReturnType<typeof nodeAccess>, path: string) {
    this.#access = access
    this.#path = path
  }

  static async enrol({ dir }: BenchCluster, name: string): Promise<Patient> {
    const { account } = await enrolPatient(dir, readCluster(dir), name)
    const access = nodeAccess(dir, readCluster(dir), 'user')
    const passphrase = readFileSync(clusterPaths.passphrase(dir, name), 'utf8').trim()
    const opened = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', { person: account, passphrase })
    return new Patient({ ...access, bearer: opened.session }, `/v1/people/${account}`)
  }

  async #until<T>(path: string, isDone: (state: T) => boolean): Promise<T> {
    const deadline = Date.now() + 60_000
    for (;;) {
      const state = await callNode<T>(this.#access, 'GET', `${this.#path}${path}`)
      if (isDone(state)) return state
      if (Date.now() > deadline) throw new Error(`${path} does not come to an end: ${JSON.stringify(state)}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async grant(doctors: readonly Uint8Array[]): Promise<void> {
    const made: string[] = []
    const [posted, committed] = ['grants posted', 'grants committed'].map((what) => progress(what, doctors.length)) as [
      (done: number) => void,
      (done: number) => void,
    ]
    const waiting = doctors.values()
    const post = async (): Promise<void> => {
      for (const doctor of waiting) {
        const body = { doctor: toHex(doctor), streams: ['ecg', 'vitals', 'records'] }
        const { transactionId } = await callNode<{ transactionId: string }>(
          ...([this.#access, 'POST', `${this.#path}/grants`, body] as const),
        )
        made.push(transactionId)
        posted(made.length)
      }
    }
    await Promise.all(Array.from({ length: grantsAtOnce }, post))
    for (const [position, id] of made.entries()) {
      await this.#until<{ state?: string; status?: string }>(`/transactions/${id}`, (state) =>
        [state.state, state.status].includes('committed'),
      )
      committed(position + 1)
    }
  }

  /** Milliseconds from the click to the answer, to the record, to refused everywhere. */
  async revoke(doctor: Uint8Array): Promise<{ changedMs: number; recordedMs: number; refusedMs: number }> {
    const clicked = Date.now()
    const { transactionId } = await callNode<{ transactionId: string }>(
      ...([this.#access, 'POST', `${this.#path}/revocations`, { doctor: toHex(doctor) }] as const),
    )
    const changedMs = Date.now() - clicked
    const end = await this.#until<Revocation>(
      `/revocations/${transactionId}`,
      ({ refusedEverywhereAt }) => refusedEverywhereAt !== null,
    )
    const since = (time: string | null): number => Date.parse(time as string) - clicked
    return { changedMs, recordedMs: since(end.recordedAt), refusedMs: since(end.refusedEverywhereAt) }
  }
}

async function clicks(cluster: BenchCluster): Promise<Result[]> {
  const steps = counts([1, 4])
  tell(`rotation: ${Math.max(...steps)} doctors are registered`)
  const doctors = await new Load(cluster).enrolDoctors(cluster.urls[0] as string, Math.max(...steps))
  await enrolReaders(cluster.dir)
  const results: Result[] = []
  for (const count of steps) {
    tell(`rotation: clicks with ${count} doctors on record`)
    const patient = await Patient.enrol(cluster, `patient-${count}`)
    results.push(await measureClicks(patient, doctors.slice(0, count), cluster.urls.length))
  }
  return results
}

async function measureClicks(patient: Patient, doctors: readonly Uint8Array[], nodes: number): Promise<Result> {
  await patient.grant(doctors)
  const rounds = options.quick ? 3 : 20
  const times: { changedMs: number; recordedMs: number; refusedMs: number }[] = []
  const clicked = progress(`clicks with ${doctors.length} doctors`, rounds)
  for (let round = 0; round < rounds; round++) {
    const doctor = doctors[round % doctors.length] as Uint8Array
    times.push(await patient.revoke(doctor))
    await patient.grant([doctor])
    clicked(round + 1)
  }
  const refused = times.map(({ refusedMs }) => refusedMs)
  const p50 = (name: 'changedMs' | 'recordedMs'): number =>
    percentile(
      times.map((each) => each[name]),
      0.5,
    )
  return {
    ...{ what: 'click to refused everywhere', nodes, doctors: doctors.length, rounds },
    ...{ changedP50Ms: p50('changedMs'), recordedP50Ms: p50('recordedMs') },
    ...{ p50Ms: percentile(refused, 0.5), p99Ms: percentile(refused, 0.99) },
  }
}

const results: Result[] = []
for (const count of counts([1, 10, 100])) results.push(await household(count))
results.push(...(await withCluster({ size: { accounting: 4, storage: 1 } }, clicks)))
report('rotation', results, options)
process.exit(0)
