/**
 * The long tests of storage: a node that is killed during puts, over and over, and three nodes under load for minutes.
 * Exit 0 if nothing that was acknowledged is lost, nothing is half there, and memory stays flat.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { BlockClient, cidOf } from '../../bench/support/block-client.ts'
import { type Standalone, startStandalone } from '../../bench/support/standalone.ts'

const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '10' },
    json: { type: 'boolean', default: false },
  },
})
const writers = 8
const sampleOfCycle = 32
const putsOfCycleMax = 100
const cycleMsMax = 10_000
/** Memory at the end may be above that of the first third by so much: pages of SQLite and the heap's own breathing. */
const growthMax = 1.25

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}

function residentMb(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Blocks that a node acknowledged, by CID, with the hash of their bytes. */
type Acknowledged = Map<string, string>

async function missingOf(client: BlockClient, known: Iterable<[string, string]>): Promise<string[]> {
  const missing: string[] = []
  for (const [cid, hash] of known) {
    const bytes = await client.get(cid).catch(() => undefined)
    if (bytes === undefined || hashOf(bytes) !== hash) missing.push(cid)
  }
  return missing
}

/** Puts until the node dies. */
async function putUntilKilled(client: BlockClient, acknowledged: Acknowledged): Promise<void> {
  for (;;) {
    const block = randomBytes(64 + Math.floor(Math.random() * 40_000))
    try {
      await client.put(block)
    } catch {
      return
    }
    acknowledged.set(cidOf(block), hashOf(block))
  }
}

/** Waits for so many puts, or a moment if there are none: what a slow machine does in a given time may be nothing. */
async function untilAcknowledged(acknowledged: Acknowledged, count: number): Promise<void> {
  const until = performance.now() + cycleMsMax
  do await delay(2)
  while (acknowledged.size < count && performance.now() < until)
}

/** A node that is gone already has died by itself, which none may. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (cause) {
    throw new Error(`the node ${pid} ended by itself; what it said is above`, { cause })
  }
}

async function killCycles(
  folder: string,
  cycles: number,
): Promise<{ cycles: number; acknowledged: number; lost: number }> {
  const acknowledged: Acknowledged = new Map()
  const lost = new Set<string>()
  const settings = { dir: join(folder, 'killed'), nodes: 1, replicas: 1 }
  for (let cycle = 0; cycle < cycles; cycle++) {
    const network = await startStandalone(settings)
    const client = new BlockClient(network.urls[0] as string, network.token)
    for (const cid of await missingOf(client, [...acknowledged].slice(-sampleOfCycle))) lost.add(cid)
    const writing = Promise.all(Array.from({ length: writers }, () => putUntilKilled(client, acknowledged)))
    await untilAcknowledged(acknowledged, acknowledged.size + Math.floor(Math.random() * putsOfCycleMax))
    kill(network.pids[0] as number)
    await writing
    client.close()
    await network.end()
    if ((cycle + 1) % 25 === 0)
      tell(`storage: ${cycle + 1} of ${cycles} kills, ${acknowledged.size} puts acknowledged, ${lost.size} lost`)
  }
  const network = await startStandalone(settings)
  const client = new BlockClient(network.urls[0] as string, network.token)
  for (const cid of await missingOf(client, acknowledged)) lost.add(cid)
  client.close()
  await network.end()
  return { cycles, acknowledged: acknowledged.size, lost: lost.size }
}

async function loadUntil(
  clients: readonly BlockClient[],
  until: number,
  known: Acknowledged,
  failures: string[],
): Promise<void> {
  while (performance.now() < until) {
    const client = clients[Math.floor(Math.random() * clients.length)] as BlockClient
    try {
      const block = randomBytes(512 + Math.floor(Math.random() * 20_000))
      await client.put(block)
      known.set(cidOf(block), hashOf(block))
      const [cid, hash] = [...known].at(Math.floor(Math.random() * Math.min(known.size, 1000))) as [string, string]
      const other = clients[Math.floor(Math.random() * clients.length)] as BlockClient
      if (hashOf(await other.get(cid)) !== hash) failures.push(`${cid}: other bytes`)
    } catch (error) {
      failures.push(String(error))
    }
  }
}

async function soak(
  folder: string,
  minutes: number,
): Promise<{ minutes: number; puts: number; failures: number; lost: number; growth: number }> {
  const network: Standalone = await startStandalone({
    dir: join(folder, 'soaked'),
    nodes: 3,
    replicas: 3,
  })
  const clients = network.urls.map((url) => new BlockClient(url, network.token))
  const known: Acknowledged = new Map()
  const failures: string[] = []
  const samples: number[] = []
  const until = performance.now() + minutes * 60_000
  const load = Promise.all(Array.from({ length: writers }, () => loadUntil(clients, until, known, failures)))
  while (performance.now() < until) {
    await delay(Math.min(5_000, Math.max(100, until - performance.now())))
    samples.push(Math.max(...network.pids.map(residentMb)))
    tell(`storage: ${known.size} puts, ${failures.length} failures, ${samples.at(-1)?.toFixed(0)} MiB`)
  }
  await load
  for (const failure of failures.slice(0, 5)) tell(failure)
  const lost = (await missingOf(clients[1] as BlockClient, known)).length
  for (const client of clients) client.close()
  await network.end()
  const third = Math.max(1, Math.floor(samples.length / 3))
  const mean = (part: readonly number[]): number => part.reduce((sum, value) => sum + value, 0) / part.length
  const middle = samples.slice(third, 2 * third)
  // Without a sample, as with 0 minutes, nothing has grown.
  const growth = samples.length === 0 ? 1 : mean(samples.slice(-third)) / mean(middle.length > 0 ? middle : samples)
  return { minutes, puts: known.size, failures: failures.length, lost, growth }
}

const folder = mkdtempSync(join(tmpdir(), 'healthblock-storage-'))
try {
  const killed = await killCycles(folder, Number(values.cycles))
  const soaked = await soak(folder, Number(values.minutes))
  const ok = killed.lost === 0 && soaked.lost === 0 && soaked.failures === 0 && soaked.growth < growthMax
  if (values.json) process.stdout.write(`${JSON.stringify({ ok, killed, soaked })}\n`)
  else {
    process.stdout.write(`kill -9: ${killed.cycles} cycles, ${killed.acknowledged} puts acknowledged, ${killed.lost} lost
soak: ${soaked.minutes} min, ${soaked.puts} puts, ${soaked.failures} failures, ${soaked.lost} lost, memory x ${soaked.growth.toFixed(2)}
${ok ? 'passed' : 'FAILED'}
`)
  }
  process.exitCode = ok ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
