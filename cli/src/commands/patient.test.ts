import { expect, test } from 'vitest'
import { NodeError } from '../cluster/client.ts'
import { CommandError } from '../io.ts'
import { recordError, waitingWords } from './patient.ts'
import { lateWords, proofWords } from './patient-erase.ts'

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

test('of an erasure it is said what of its time came late and stays, and what takes it, too', () => {
  const [command, until] = ['patient erase anna --from 2026-05-01T08:00:00.000Z', '2026-05-01T10:00:00.000Z']
  expect(lateWords(null, command)).toBe('')
  expect(lateWords({ records: 1, until }, command)).toBe(
    `not erased   1 reading of that time came later and stays; with ${command} --until ${until} what came until then goes, too\n`,
  )
  expect(lateWords({ records: 2, until }, command)).toMatch(
    /^not erased {3}2 readings of that time came later and stay; /,
  )
})

test('a recording that cannot be used is told with the path that was looked at; another fault stays what it is', () => {
  const fault = (field: string): NodeError =>
    new NodeError('user: 100.hea does not exist', 400, { code: 'ERR_RECORD_INVALID', field })
  const told = recordError('/recordings/100', fault('record')) as CommandError
  expect(told).toBeInstanceOf(CommandError)
  expect(told.message).toMatch(/^user: 100\.hea does not exist; .*without an ending.*\/recordings\/100$/)
  const other = fault('from')
  expect(recordError('/recordings/100', other)).toBe(other)
})
