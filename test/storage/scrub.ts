/**
 * A store that has grown: the rate of puts in it against that at its beginning, and what a scrub of all of it does to
 * reads at the same time. Exit 0 if the rate stays within 15 % and the p99 of reads below twice that without a scrub.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { BlockClient, cidOf, newBlocks } from '../../bench/support/block-client.ts'
import { percentile } from '../../bench/support/report.ts'
import { startStandalone } from '../../bench/support/standalone.ts'

const { values } = parseArgs({
  options: { blocks: { type: 'string', default: '100000' }, json: { type: 'boolean', default: false } },
})
const writers = 32
const readers = 4
const sizeBytes = 1024
/** Blocks before the first rate is taken, and of each rate. */
const blocksBefore = 1000
const sampleBlocks = 3000
const rounds = 5
const readsMin = 4000
const rateMin = 0.85
const p99Max = 2

async function putAll(client: BlockClient, count: number): Promise<{ perSecond: number; cids: string[] }> {
  const blocks = newBlocks(count, sizeBytes)
  const beganAt = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: writers }, async () => {
      while (next < count) await client.put(blocks[next++] as Buffer)
    }),
  )
  return { perSecond: (count / (performance.now() - beganAt)) * 1000, cids: blocks.slice(0, 200).map(cidOf) }
}

/** The median of several rounds. */
async function rateOf(client: BlockClient): Promise<number> {
  const rates: number[] = []
  for (let round = 0; round < rounds; round++) rates.push((await putAll(client, sampleBlocks)).perSecond)
  return percentile(rates, 0.5)
}

/** The p99 of reads of known blocks while something lasts, and of {@link readsMin} at least. */
async function readWhile(client: BlockClient, cids: readonly string[], isLasting: () => boolean): Promise<number> {
  const times: number[] = []
  await Promise.all(
    Array.from({ length: readers }, async () => {
      while (isLasting() || times.length < readsMin) {
        const at = performance.now()
        await client.get(cids[Math.floor(Math.random() * cids.length)] as string)
        times.push(performance.now() - at)
      }
    }),
  )
  return percentile(times, 0.99)
}

const folder = mkdtempSync(join(tmpdir(), 'healthblock-scrub-'))
const network = await startStandalone({ dir: folder, nodes: 1, replicas: 1 })
try {
  const [url] = network.urls as [string]
  const client = new BlockClient(url, network.token)
  const cids = (await putAll(client, blocksBefore)).cids
  const before = await rateOf(client)
  const wanted = Number(values.blocks)
  for (let count = blocksBefore + rounds * sampleBlocks; count < wanted; count += 10_000) {
    cids.push(...(await putAll(client, Math.min(10_000, wanted - count))).cids)
    if (count % 100_000 < 10_000) process.stderr.write(`storage: ${count} of ${wanted} blocks\n`)
  }
  const after = await rateOf(client)
  await readWhile(client, cids, () => false)
  const quietMs = await readWhile(client, cids, () => false)
  let isScrubbing = true
  const beganAt = performance.now()
  const scrub = fetch(`${url}/v1/scrub`, { method: 'POST', headers: { authorization: `Bearer ${network.token}` } })
    .then((answer) => answer.text())
    .finally(() => {
      isScrubbing = false
    })
  await delay(50)
  const scrubbedMs = await readWhile(client, cids, () => isScrubbing)
  const { checked, damaged } = JSON.parse((await scrub).trim().split('\n').at(-1) as string) as Record<string, number>
  const seconds = (performance.now() - beganAt) / 1000
  client.close()
  const found = { blocks: checked, damaged, seconds, before, after, rate: after / before, quietMs, scrubbedMs }
  const ok = found.rate >= rateMin && scrubbedMs / quietMs <= p99Max && damaged === 0
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ ok, ...found })}\n`
      : `puts: ${before.toFixed(0)}/s at the beginning, ${after.toFixed(0)}/s with ${wanted} blocks (x ${found.rate.toFixed(2)})
reads: p99 ${quietMs.toFixed(2)} ms, ${scrubbedMs.toFixed(2)} ms during a scrub of ${checked} blocks in ${seconds.toFixed(0)} s (x ${(scrubbedMs / quietMs).toFixed(2)})
${ok ? 'passed' : 'FAILED'}
`,
  )
  process.exitCode = ok ? 0 : 1
} finally {
  await network.end()
  rmSync(folder, { recursive: true, force: true })
}
