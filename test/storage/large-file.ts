/**
 * A file of a GiB through a user node, up and down, while the node's memory is watched. Exit 0 if it comes back as it
 * was and the node grew by less than 64 MiB.
 */
import { createCipheriv, createHash, type Hash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { readProcess } from '../../cli/src/cluster/processes.ts'
import { TestCluster } from '../support/cluster.ts'

const { values } = parseArgs({
  options: { mib: { type: 'string', default: '1024' }, json: { type: 'boolean', default: false } },
})
const growthMibMax = 64
const sampleMs = 50

/** Bytes that nothing compresses, the same for one key, a part at a time: a GiB of them is never in memory. */
function* partsOf(key: Uint8Array, size: number, partSize: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(partSize)
  for (let at = 0; at < size; at += partSize) yield cipher.update(zeros.subarray(0, Math.min(partSize, size - at)))
}

/** A session of the one patient. */
interface Session {
  readonly files: URL
  readonly headers: Readonly<Record<string, string>>
}

async function openSession(cluster: TestCluster, household: string): Promise<Session> {
  const account = cluster.file.patients[0]?.account as string
  const access = nodeAccess(cluster.dir, cluster.file, household)
  const passphrase = readFileSync(clusterPaths.passphrase(cluster.dir, 'anna'), 'utf8').trim()
  const { session } = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', {
    person: account,
    passphrase,
  })
  return {
    files: new URL(`/v1/people/${account}/files`, access.url),
    headers: { authorization: `Bearer ${session}` },
  }
}

async function checked(response: Response): Promise<Response> {
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
  return response
}

/** Sends a file up in parts. @returns its number in the stream. */
async function upload({ files, headers }: Session, name: string, size: number, hash: Hash): Promise<number> {
  const json = { ...headers, 'content-type': 'application/json' }
  const begun = await checked(
    await fetch(files, { method: 'POST', headers: json, body: JSON.stringify({ name, size }) }),
  )
  const { sequence, partSizeMax } = (await begun.json()) as { sequence: number; partSizeMax: number }
  let offset = 0
  for (const bytes of partsOf(randomBytes(32), size, partSizeMax)) {
    hash.update(bytes)
    const part = await fetch(`${files}/${sequence}?offset=${offset}`, {
      method: 'PUT',
      headers: { ...headers, 'content-type': 'application/octet-stream' },
      body: new Uint8Array(bytes),
    })
    await (await checked(part)).arrayBuffer()
    offset += bytes.length
  }
  return sequence
}

async function download({ files, headers }: Session, sequence: number, hash: Hash): Promise<void> {
  const answer = await checked(await fetch(`${files}/${sequence}`, { headers }))
  for await (const chunk of answer.body ?? []) hash.update(chunk as Uint8Array)
}

/** Watches a process's memory while `work` runs: MiB before, and the most. */
async function watched(pid: number, work: () => Promise<void>): Promise<{ beforeMib: number; mostMib: number }> {
  const resident = (): number =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  const beforeMib = resident()
  let mostMib = beforeMib
  const timer = setInterval(() => {
    mostMib = Math.max(mostMib, resident())
  }, sampleMs)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  return { beforeMib, mostMib }
}

const cluster = await TestCluster.start({ doctors: 0, patients: ['anna'] })
try {
  const household = cluster.file.nodes.find(({ role }) => role === 'user')?.name as string
  const { pid } = readProcess(cluster.node(household)) as { pid: number }
  const session = await openSession(cluster, household)
  const through = async (name: string, size: number): Promise<{ same: boolean; upMs: number; downMs: number }> => {
    const [sent, received] = [createHash('sha256'), createHash('sha256')]
    const beganAt = performance.now()
    const sequence = await upload(session, name, size, sent)
    const sentAt = performance.now()
    await download(session, sequence, received)
    const same = sent.digest('hex') === received.digest('hex')
    return { same, upMs: sentAt - beganAt, downMs: performance.now() - sentAt }
  }
  await through('warm.bin', 8 * 1024 * 1024)
  const mib = Number(values.mib)
  let found = { same: false, upMs: 0, downMs: 0 }
  const { beforeMib, mostMib } = await watched(pid, async () => {
    found = await through('large.bin', mib * 1024 * 1024)
  })
  const grownMib = mostMib - beforeMib
  const ok = found.same && grownMib < growthMibMax
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(0)} s`
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ ok, mib, ...found, beforeMib, grownMib })}\n`
      : `${mib} MiB up in ${seconds(found.upMs)}, down in ${seconds(found.downMs)}, ${found.same ? 'the same' : 'OTHER'} bytes; the user node grew from ${beforeMib.toFixed(0)} by ${grownMib.toFixed(1)} MiB
${ok ? 'passed' : 'FAILED'}
`,
  )
  process.exitCode = ok ? 0 : 1
} finally {
  await cluster.remove()
}
