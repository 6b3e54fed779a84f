/** An audit that is killed at any moment goes on from what it had written, and says in the end what one that ran through says. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AuditReport } from '@healthblock/audit/report'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeLongLedger } from '../../bench/support/long-ledger.ts'
import { projectRoot } from '../../cli/src/cluster/root.ts'
import { startTestNode, type TestLedger, type TestNode } from '../../packages/runtime/src/testkit.ts'
import { storyMs } from '../support/cluster.ts'

let dir: string
let history: TestLedger
const nodes: TestNode[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-audit-kill-'))
  history = makeLongLedger(3_000)
})
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.close()
  rmSync(dir, { recursive: true, force: true })
})

function startAudit(work: string) {
  const urls = nodes.flatMap(({ url }) => ['--url', url])
  const named = ['--genesis', join(dir, 'genesis.cbor'), '--token', 'test-token', '--work', work]
  const args = [
    '--disable-warning=ExperimentalWarning',
    join(projectRoot, 'cli/src/main.ts'),
    'audit',
    ...urls,
    ...named,
    '--json',
  ]
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function finish(child: ReturnType<typeof startAudit>): Promise<AuditReport> {
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  await once(child, 'close')
  return JSON.parse(text) as AuditReport
}

/** Blocks of Userchain that an audit has written. */
function blocksIn(work: string): number {
  const path = join(work, 'userchain.db')
  if (!existsSync(path)) return 0
  try {
    const database = new DatabaseSync(path, { readOnly: true })
    try {
      return Number(database.prepare('SELECT count(*) AS n FROM boundary').get()?.n)
    } finally {
      database.close()
    }
  } catch {
    // It is being made at this moment.
    return 0
  }
}

async function killOnceBeyond(work: string, blocks: number): Promise<void> {
  const child = startAudit(work)
  const ended = once(child, 'close')
  let isOver = false
  void ended.then(() => {
    isOver = true
  })
  while (!isOver && blocksIn(work) <= blocks) await new Promise((resolve) => setTimeout(resolve, 5))
  child.kill('SIGKILL')
  await ended
}

test('kill -9 at any moment', { timeout: storyMs }, async () => {
  nodes.push(await startTestNode(history, { rank: 0 }), await startTestNode(history, { rank: 1 }))
  writeFileSync(join(dir, 'genesis.cbor'), history.consortium.genesis.bytes)
  const work = join(dir, 'work')
  // Before anything is there, when the files are made, when blocks are written, when they all are.
  const seen: number[] = []
  for (const blocks of [-1, 0, 1, 4]) {
    await killOnceBeyond(work, blocks)
    seen.push(blocksIn(work))
  }
  expect(seen.at(-1)).toBeGreaterThan(4)
  expect([...seen].sort((a, b) => a - b)).toEqual(seen)
  const { ok, findings, chains, transactions } = await finish(startAudit(work))
  expect(findings).toEqual([])
  expect(ok).toBe(true)
  const { height, size, root, stateRoot } = history.ledger.head('userchain')
  expect(chains.userchain).toEqual({ height, size, root: toHex(root), stateRoot: toHex(stateRoot) })
  expect(transactions).toBe(size - height)
})
