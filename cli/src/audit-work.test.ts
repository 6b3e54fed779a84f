import type { Finding } from '@healthblock/audit/report'
import { expect, test } from 'vitest'
import { findingsText, guideText } from './audit-work.ts'

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
