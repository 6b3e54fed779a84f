/**
 * One altered byte somewhere in a long ledger: how long until it is noticed, and by whom. An auditor reads from four nodes, of which one serves
 * the altered byte; a follower, as users' and doctors' nodes run one, reads from that node first.
 */

import { rmSync } from 'node:fs'
import { audit } from '@healthblock/audit/audit'
import type { Finding } from '@healthblock/audit/report'
import { parseGenesis } from '@healthblock/chain/genesis'
import { LedgerFollower } from '@healthblock/runtime/follower'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { createLogger } from '@healthblock/runtime/logger'
import { withReplayStores } from '@healthblock/runtime/replay-stores'
import { temporaryFolder } from './support/folder.ts'
import { benchOptions, type Result, report, tell } from './support/report.ts'
import { type ServedLedger, servedToken, withServedLedger } from './support/served-ledger.ts'

const options = benchOptions({ million: { type: 'boolean' } })
const sizes = options.quick ? [1000] : [1000, 10_000, 100_000, ...(options.million ? [1_000_000] : [])]
const positions = options.quick ? [1, 50, 100] : [1, 25, 50, 75, 100]
/** A follower executes what it reads on one thread: it is asked in ledgers up to this size. */
const followedMax = 10_000
const tamperedNode = 2

interface Noticed {
  /** From the start of the work until somebody was told; absent if nobody was. */
  readonly ms?: number
  readonly told: string
}

/** Audits from nothing; the alteration must be the one finding, with its place. */
async function byAuditor(ledger: ServedLedger, index: number, code: string): Promise<Noticed & { wholeMs: number }> {
  const dir = temporaryFolder()
  const begun = performance.now()
  const found: { finding: Finding; ms: number }[] = []
  try {
    const nodes = ledger.urls.map((url, rank) => ({ name: `node-${rank}`, url }))
    const { findings } = await withReplayStores(dir, (open) =>
      audit({
        ...open,
        genesis: ledger.genesis,
        nodes,
        client: new LedgerClient({
          urls: ledger.urls,
          trust: genesisTrust(parseGenesis(ledger.genesis)),
          token: () => servedToken,
        }),
        now: Date.now,
        wait: async () => {},
        onFinding: (finding) => found.push({ finding, ms: performance.now() - begun }),
      }),
    )
    const wholeMs = performance.now() - begun
    const [only] = found
    const isRight =
      findings.length === 1 &&
      only?.finding.code === code &&
      only.finding.index === index &&
      only.finding.node === `node-${tamperedNode}`
    if (only === undefined || !isRight) return { told: 'nobody', wholeMs }
    const { chain, height, node } = only.finding
    return { ms: only.ms, told: `auditor: ${code} ${chain} ${height} ${index} ${node}`, wholeMs }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Follows Userchain, the altering node first: it must leave that node alone, and have the whole ledger from another. */
async function byFollower(ledger: ServedLedger, size: number): Promise<Noticed> {
  const dir = temporaryFolder()
  const urls = [ledger.urls[tamperedNode] as string, ...ledger.urls.filter((_, rank) => rank !== tamperedNode)]
  const begun = performance.now()
  let ms: number | undefined
  const follower = LedgerFollower.open({
    dir,
    genesis: ledger.genesis,
    urls,
    token: () => servedToken,
    docchain: false,
    logger: createLogger({ name: 'bench', level: 'silent' }),
    onEvent: (event) => {
      if (event.type === 'quarantine') ms ??= performance.now() - begun
    },
  })
  try {
    await follower.catchUp({ chain: 'userchain' })
    const isWhole = follower.head('userchain').size === size
    return ms === undefined || !isWhole ? { told: 'nobody' } : { ms, told: `follower: left node-${tamperedNode} alone` }
  } finally {
    await follower.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

function rowOf(place: { size: number; position: number; altered: string; by: string }, { ms, told }: Noticed): Result {
  return { ...place, detected: ms === undefined ? 'no' : 'yes', detectionMs: ms ?? -1, told }
}

const results: Result[] = []
tell(`tamper: making ${Math.max(...sizes)} transactions`)
await withServedLedger({ transactions: Math.max(...sizes), nodes: 4 }, async (ledger) => {
  for (const entries of sizes) {
    const size = ledger.sizeOf(entries)
    for (const position of positions) {
      const index = Math.min(size - 1, Math.floor((size * position) / 100))
      for (const [what, code] of [
        ['entry', 'entry.altered'],
        ['hash', 'tile.mismatch'],
      ] as const) {
        // In a large log each tile of level 0 is compared at one node alone, so a hash may be looked at elsewhere.
        if (what === 'hash' && size > 64 * 256) continue
        await ledger.tell({ size, tamper: { node: tamperedNode, index, what } })
        const noticed = await byAuditor(ledger, index, code)
        const place = { size, position, altered: what }
        results.push({ ...rowOf({ ...place, by: 'auditor' }, noticed), wholeMs: noticed.wholeMs })
        if (what === 'entry' && entries <= followedMax) {
          results.push({ ...rowOf({ ...place, by: 'follower' }, await byFollower(ledger, size)), wholeMs: 0 })
        }
      }
    }
  }
})
const detected = results.filter((row) => row.detected === 'yes').length
tell(`tamper: ${detected} of ${results.length} alterations were noticed`)
report('tamper', results, options)
if (detected < results.length) process.exitCode = 1
