import { expect, test } from 'vitest'
import { waitingWords } from './patient.ts'
import { proofWords } from './patient-erase.ts'

test('batches that no storage node takes wait for storage, and those behind them too', () => {
  for (const unstored of [1, 3])
    expect(waitingWords({ batches: 4, unsent: 3, unstored })).toMatch(
      /^no storage node takes them now .*: 3 of 4 batches are sealed and kept/,
    )
})

test('batches that are stored wait for the ledger, and storage is not blamed', () => {
  const words = waitingWords({ batches: 4, unsent: 3, unstored: 0 })
  expect(words).toMatch(/^they are stored, and wait for the ledger .*: 3 of 4 batches are sealed and kept/)
  expect(words).not.toContain('storage')
})

test('of an erasure the command is printed that proves it later, with a few of many blocks', () => {
  expect(proofWords([])).toBe('')
  expect(proofWords(['a', 'b'])).toBe('proof later  ./healthblock storage proof a b\n')
  const many = Array.from({ length: 5_000 }, (_, at) => `c${at}`)
  expect(proofWords(many)).toMatch(
    /^proof later {2}\S+ storage proof c0 c1 c2 c3 {3}\(and 4996 blocks more, which --json lists\)\n$/,
  )
})
