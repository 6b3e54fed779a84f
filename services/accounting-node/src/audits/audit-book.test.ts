import type { Finding } from '@healthblock/audit/report'
import { expect, test } from 'vitest'
import { type AuditRecord, findingsKeptMax, withFinding } from './audit-book.ts'

const watch: AuditRecord = {
  ...{ number: 1, kind: 'watch', by: 'auditor', started: 0, ended: null, outcome: 'running' },
  ...{ isFromBeginning: false, reason: null, report: null, findings: [] },
}
const found = (code: string, index: number | null = null): Finding => ({
  ...{ code, chain: 'userchain', height: null, index, node: 'accounting-1', message: 'words' },
})

test('a watch that begins anew keeps what lasts once, and what came back as often as it did', () => {
  const told = [found('entry.altered', 3), found('entry.altered', 4), found('node.unreachable')]
  const record = [...told, ...told].reduce((one, finding, ms) => withFinding(one, finding, ms), watch)
  expect(record.findings.map(({ code, index, found: ms }) => [code, index, ms])).toEqual([
    ['entry.altered', 3, 0],
    ['entry.altered', 4, 1],
    ['node.unreachable', null, 2],
    ['node.unreachable', null, 5],
  ])
})

test('no more are kept than there is room for', () => {
  let record = watch
  for (let index = 0; index <= findingsKeptMax; index++) record = withFinding(record, found('entry.altered', index), 0)
  expect(record.findings).toHaveLength(findingsKeptMax)
})
