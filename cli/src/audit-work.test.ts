import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditReport, Finding } from '@healthblock/audit/report'
import { ChainError } from '@healthblock/chain/errors'
import { expect, test } from 'vitest'
import { findingsText, guideText, lookTeller, withWork } from './audit-work.ts'
import { CommandError } from './io.ts'

const found = (code: string, node: string): Finding => ({
  code,
  chain: 'userchain',
  height: 1,
  index: 2,
  node,
  message: '',
})

test('says what each kind of finding means, once', () => {
  const text = guideText([
    found('entry.altered', 'accounting-0'),
    found('entry.altered', 'accounting-1'),
    found('node.unreachable', 'accounting-2'),
    found('block.key.signature', 'accounting-2'),
    found('unheard-of', 'accounting-2'),
  ])
  const heads = text.split('\n').filter((line) => /^[a-z]/.test(line))
  expect(heads.map((line) => line.split(':')[0])).toEqual(['entry.altered', 'node.unreachable', 'block.key.signature'])
  expect(text.match(/What to do: /g)).toHaveLength(3)
  expect(guideText([])).toBe('')
})

test.each([
  [0, 'no findings'],
  [1, '1 finding'],
  [2, '2 findings'],
])('%i is said as "%s"', (count, words) => {
  expect(findingsText(count)).toBe(words)
})

test('a watch tells of growth once a minute, of findings at once, and of each thing that is not checked once', () => {
  const lines: string[] = []
  let nowMs = Date.UTC(2026, 0, 1)
  const stderr = (text: string): void => void lines.push(text.replace(/^\S+Z /, '').trimEnd())
  const io = { stdin: process.stdin, stdout: stderr, stderr, interactive: false }
  const tell = lookTeller(io, () => nowMs)
  const look = (size: number, findings: readonly Finding[], notChecked: readonly string[]): void => {
    const chain = { height: 1, size, root: '', stateRoot: '' }
    const chains = { userchain: chain, docchain: chain }
    const report: AuditReport = { ok: true, chains, transactions: 0, seconds: 0, notChecked, findings }
    tell(report)
    nowMs += 2_000
  }
  for (let size = 10; size < 40; size++) look(size, [], [`${size} of 99 blocks were asked for`])
  look(40, [], ['40 of 99 blocks were asked for', 'a witness is away'])
  look(41, [found('node.unreachable', 'accounting-2')], ['a witness is away'])
  look(42, [], [])
  expect(lines).toEqual([
    'not checked: 10 of 99 blocks were asked for',
    'userchain 10, docchain 10 entries; no findings',
    'not checked: a witness is away',
    'userchain 40, docchain 40 entries; no findings',
    'userchain 41, docchain 41 entries; 1 finding',
    'userchain 42, docchain 42 entries; no findings',
  ])
})

test('a work folder with the state of another ledger is named, with what to do', async () => {
  const work = mkdtempSync(join(tmpdir(), 'hb-work-'))
  try {
    const replayed = withWork(work, () => {
      throw new ChainError('the store belongs to another ledger', { code: 'ERR_STATE_CORRUPT' })
    })
    await expect(replayed).rejects.toThrow(CommandError)
    const words = `--work ${work} holds no replayed state of this ledger: the store belongs to another ledger. Name`
    await expect(replayed).rejects.toThrow(words)
  } finally {
    rmSync(work, { recursive: true })
  }
})
