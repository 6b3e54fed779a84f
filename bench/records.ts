/**
 * Whole files up and down: through a patient's own node, which seals them and puts their address on the ledger; to a storage node alone, and
 * to a real Kubo, as IPFS files; and to a plain server that writes them into a folder. One copy everywhere, durable before the answer. And
 * revisions: the same name again and again.
 */

import { createHash, randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { findFreePort } from '@healthblock/runtime/ports'
import { callNode } from '../cli/src/cluster/client.ts'
import { readerToken } from '../cli/src/cluster/enrol.ts'
import { clusterPaths } from '../cli/src/cluster/layout.ts'
import { readProcess } from '../cli/src/cluster/processes.ts'
import { kuboBinary } from '../services/storage/src/kubo/kubo.fixture.ts'
import { KuboDaemon } from '../services/storage/src/kubo/kubo-daemon.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import { type EnrolledPatient, enrolPeople } from './support/enrolled.ts'
import { temporaryFolder } from './support/folder.ts'
import { startPlainServer } from './support/plain.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const options = benchOptions()
const sizes = options.quick ? [100_000, 1_000_000] : [100_000, 1_000_000, 10_000_000, 100_000_000]
const [revisions, revisionSize] = [options.quick ? 5 : 100, 100_000]
/** Each size so often that a round moves some megabytes. */
const timesOf = (size: number): number => (options.quick ? 3 : Math.max(2, Math.min(20, Math.floor(10_000_000 / size))))
const folder = temporaryFolder('records-')

/** Where files are kept: `put` gives what `get` asks for. */
interface Place {
  readonly name: string
  readonly put: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>
  readonly get: (id: string) => Promise<Uint8Array>
}

const noHeaders: Readonly<Record<string, string>> = {}

async function request(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, init)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response
}

/** A node that speaks the Kubo RPC. */
function ipfs(name: string, url: string, token: string | undefined): Place {
  const headers = token === undefined ? noHeaders : { authorization: `Bearer ${token}` }
  return {
    name,
    put: async (bytes) => {
      const body = new FormData()
      body.set('file', new Blob([bytes]))
      const query = 'cid-version=1&raw-leaves=true&pin=true&quieter=true'
      const response = await request(`${url}/api/v0/add?${query}`, { method: 'POST', headers, body })
      const line = (await response.text()).trim().split('\n').at(-1) as string
      return (JSON.parse(line) as { Hash: string }).Hash
    },
    get: async (id) => (await request(`${url}/api/v0/cat?arg=${id}`, { method: 'POST', headers })).bytes(),
  }
}

interface Upload {
  readonly sequence: number
  readonly offset: number
  readonly stored: boolean
  readonly partSizeMax: number
}

/** A patient's own node. `name` is that of the file. */
function ownNode({ session, path }: EnrolledPatient, name: () => string): Place {
  const headers = { authorization: `Bearer ${session.bearer}` }
  const files = `${session.url}${path}/files`
  return {
    name: 'own node',
    put: async (bytes) => {
      const body = { name: name(), type: 'application/octet-stream', size: bytes.length }
      let state = await callNode<Upload>(session, 'POST', `${path}/files`, body)
      while (!state.stored) {
        const part = bytes.subarray(state.offset, state.offset + state.partSizeMax)
        const url = `${files}/${state.sequence}?offset=${state.offset}`
        const type = { 'content-type': 'application/octet-stream' }
        const response = await request(url, { method: 'PUT', headers: { ...headers, ...type }, body: part })
        state = (await response.json()) as Upload
      }
      return String(state.sequence)
    },
    get: async (id) => (await request(`${files}/${id}`, { headers })).bytes(),
  }
}

function plain(url: string): Place {
  return {
    name: 'plain http',
    put: async (bytes) => {
      const id = createHash('sha256').update(bytes.subarray(0, 64)).digest('hex')
      await request(`${url}/files/${id}`, { method: 'PUT', body: bytes })
      return id
    },
    get: async (id) => (await request(`${url}/files/${id}`, {})).bytes(),
  }
}

async function measure({ name, put, get }: Place, size: number): Promise<Result> {
  tell(`${name}: ${timesOf(size)} files of ${size} bytes`)
  const [up, down]: [number[], number[]] = [[], []]
  for (let time = 0; time < timesOf(size); time++) {
    const bytes = new Uint8Array(randomBytes(size))
    const startedAt = performance.now()
    const id = await put(bytes)
    const storedAt = performance.now()
    const back = await get(id)
    down.push(performance.now() - storedAt)
    up.push(storedAt - startedAt)
    if (Buffer.compare(back, bytes) !== 0) throw new Error(`${name} gave other bytes back`)
  }
  const rate = (times: readonly number[]): number => size / 1e6 / (percentile(times, 0.5) / 1000)
  return {
    ...{ system: name, sizeBytes: size, files: up.length },
    ...{ upMs: percentile(up, 0.5), upMegabytesPerSecond: rate(up) },
    ...{ downMs: percentile(down, 0.5), downMegabytesPerSecond: rate(down) },
  }
}

/** The same name again and again: what the last revision costs against the first, and how long the list of all takes. */
async function revise(patient: EnrolledPatient): Promise<Result> {
  tell(`${revisions} revisions of one file`)
  const { put } = ownNode(patient, () => 'report.pdf')
  const times: number[] = []
  for (let revision = 0; revision < revisions; revision++) {
    const startedAt = performance.now()
    await put(new Uint8Array(randomBytes(revisionSize)))
    times.push(performance.now() - startedAt)
  }
  const listedAt = performance.now()
  const rows = await callNode<{ name: string }[]>(patient.session, 'GET', `${patient.path}/files`)
  const listMs = performance.now() - listedAt
  if (rows.filter(({ name }) => name === 'report.pdf').length !== revisions) throw new Error('a revision is missing')
  const part = Math.ceil(revisions / 5)
  return {
    ...{ system: 'own node', what: 'revisions', sizeBytes: revisionSize, revisions },
    ...{ firstMs: percentile(times.slice(0, part), 0.5), lastMs: percentile(times.slice(-part), 0.5), listMs },
  }
}

async function startKubo(): Promise<KuboDaemon | undefined> {
  if (kuboBinary === undefined) return undefined
  const daemon = new KuboDaemon({
    ...{ binary: kuboBinary, dir: join(folder, 'kubo'), host: '127.0.0.1', port: await findFreePort() },
    ...{ identitySeed: new Uint8Array(randomBytes(32)), swarmKey: new Uint8Array(randomBytes(32)) },
    onRestart: () => {},
  })
  await daemon.start([])
  return daemon
}

async function measureAll(cluster: BenchCluster): Promise<Result[]> {
  const [patient] = await enrolPeople(cluster, ['anna'])
  if (patient === undefined) throw new Error('nobody was enrolled')
  const store = readProcess(clusterPaths.node(cluster.dir, 'storage-0')).url as string
  const server = await startPlainServer(join(folder, 'plain'))
  const kubo = await startKubo()
  if (kubo === undefined) tell('no Kubo here (KUBO_BINARY): it is left out')
  let number = 0
  const places = [
    ownNode(patient, () => `file-${number++}`),
    ipfs('own storage', store, readerToken(cluster.dir, 'tenant', 'storage')),
    ...(kubo === undefined ? [] : [ipfs('kubo', kubo.client.url, kubo.client.token)]),
    plain(server.url),
  ]
  try {
    const results: Result[] = []
    // Places take turns, so that a busy machine slows them alike.
    for (const size of sizes) for (const place of places) results.push(await measure(place, size))
    return [...results, await revise(patient)]
  } finally {
    await kubo?.stop()
    await server.end()
  }
}

try {
  const size = { accounting: 1, storage: 1, replicas: 1, doctors: 0, patients: ['anna'] }
  report('records', await withCluster({ size }, measureAll), options)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
