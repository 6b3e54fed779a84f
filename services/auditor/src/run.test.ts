import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Finding } from '@healthblock/audit/report'
import { chainOrigin } from '@healthblock/chain/checkpoint'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { sampleWitness } from '../../../packages/chain/src/sample.test-support.ts'
import { createConsortium, startTestNode, TestLedger, type TestNode } from '../../../packages/runtime/src/testkit.ts'
import { TestWitness } from '../../../test/support/witness.ts'
import { run } from './run.ts'

const token = 'a-token-of-the-tests'

let dir: string
let history: TestLedger
let node: TestNode
let isAltered = false

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'hb-auditor-'))
  history = new TestLedger(createConsortium())
  history.block('userchain', [history.algorithm()])
  isAltered = false
  const entry = (chain: string, index: number, leaf: Uint8Array): Uint8Array =>
    isAltered && chain === 'userchain' && index === 2 ? leaf.with(40, (leaf[40] as number) ^ 1) : leaf
  node = await startTestNode(history, { lies: { entry }, token })
  writeFileSync(join(dir, 'genesis.cbor'), history.consortium.genesis.bytes)
  writeFileSync(join(dir, 'token'), `${token}\n`, { mode: 0o600 })
})
afterEach(async () => {
  await node.close()
  rmSync(dir, { recursive: true, force: true })
})

function environment(more: Record<string, string> = {}): Record<string, string> {
  return {
    AUDITOR_DIR: join(dir, 'state'),
    AUDITOR_GENESIS_FILE: join(dir, 'genesis.cbor'),
    AUDITOR_NODES: node.url,
    AUDITOR_TOKEN_FILE: join(dir, 'token'),
    AUDITOR_LOG_LEVEL: 'silent',
    ...more,
  }
}

test('audits once from the environment, and goes on from its folder', async () => {
  const options = { signal: new AbortController().signal, onFinding: () => {} }
  const first = await run(environment(), options)
  // One node of four was named: that is said, and no finding.
  expect(first.findings).toEqual([])
  history.block('userchain', [history.algorithm()])
  const second = await run(environment(), options)
  expect(second.chains.userchain.size).toBe(history.ledger.head('userchain').size)
  expect(second.ok).toBe(true)
})

test('asks the witnesses that the environment names', async () => {
  const options = { signal: new AbortController().signal, onFinding: () => {} }
  const witness = await TestWitness.start('witness.example/env')
  try {
    const origin = chainOrigin({ ledgerId: history.ledger.genesis.ledgerId, chain: 'userchain' })
    witness.held.set(origin, { size: 1, root: new Uint8Array(32) })
    const { findings, notChecked } = await run(
      environment({
        AUDITOR_WITNESSES: `${witness.url} ${witness.vkey}, http://127.0.0.1:1 ${sampleWitness('x').vkey}`,
      }),
      options,
    )
    expect(findings).toMatchObject([{ code: 'witness.fork', node: 'witness.example/env' }])
    expect(notChecked.some((words) => words.startsWith('userchain at x:'))).toBe(true)
    await expect(run(environment({ AUDITOR_WITNESSES: witness.url }), options)).rejects.toThrow('AUDITOR_WITNESSES')
  } finally {
    await witness.close()
  }
})

test('follows until the signal, and tells each finding when it appears', async () => {
  const stop = new AbortController()
  const told: Finding[] = []
  isAltered = true
  const onFinding = (finding: Finding): void => {
    told.push(finding)
    stop.abort()
  }
  const report = await run(environment({ AUDITOR_MODE: 'follow' }), { signal: stop.signal, onFinding })
  expect(report.ok).toBe(false)
  expect(told[0]).toMatchObject({ code: 'entry.altered', chain: 'userchain', index: 2 })
})

test('follows with the token that its file has by then', async () => {
  const stop = new AbortController()
  const told: string[] = []
  isAltered = true
  writeFileSync(join(dir, 'token'), 'one-that-has-ended\n')
  const onFinding = ({ code }: Finding): void => {
    told.push(code)
    if (code === 'node.refused') writeFileSync(join(dir, 'token'), `${token}\n`)
    if (code === 'entry.altered') stop.abort()
  }
  await run(environment({ AUDITOR_MODE: 'follow' }), { signal: stop.signal, onFinding })
  expect(told).toContain('node.refused')
  expect(told).toContain('entry.altered')
})

test('refuses an environment that is not whole, with every fault', async () => {
  const options = { signal: new AbortController().signal, onFinding: () => {} }
  const wrong = { ...environment(), AUDITOR_MODE: 'sometimes', AUDITOR_NODES: 'nowhere' }
  await expect(run(wrong, options)).rejects.toThrow(/AUDITOR_NODES[\s\S]*AUDITOR_MODE|AUDITOR_MODE[\s\S]*AUDITOR_NODES/)
})
