import { expect, test } from 'vitest'
import { episodesOf } from './episodes.ts'
import type { Diagnosis, Finding } from './model.ts'

let number = 0
function diagnosis(findings: Partial<Finding>[], more: Partial<Diagnosis> = {}): Diagnosis {
  number++
  const at = new Date(1_700_000_000_000 + number * 1000).toISOString()
  const whole = { code: 'ecg.pause', from: 'T1', to: 'T2', severity: 'high', sentence: 'x', open: false }
  return {
    ...{ transactionId: String(number), doctor: 'a', at, algorithm: 'x@1', status: 'preliminary', amendments: [] },
    findings: findings.map((finding) => ({ ...whole, ...finding })),
    ...more,
  }
}

test('an episode that several diagnoses tell of is one, as the newest has it', () => {
  const told = [diagnosis([{ to: 'T2' }]), diagnosis([{ to: 'T3' }]), diagnosis([{ from: 'T9' }])]
  const { found } = episodesOf(told)
  expect(found.map(({ finding }) => [finding?.from, finding?.to])).toEqual([
    ['T9', 'T2'],
    ['T1', 'T3'],
  ])
})

test('the same of two doctors is two; what a person wrote by hand is one of its own', () => {
  const { found } = episodesOf([diagnosis([{}]), diagnosis([{}], { doctor: 'b' }), diagnosis([], { text: 'rest' })])
  expect(found.map((episode) => episode.diagnosis.text ?? episode.diagnosis.doctor)).toEqual(['rest', 'b', 'a'])
})

test('those without a finding, and those that do not open, are counted', () => {
  expect(episodesOf([diagnosis([]), diagnosis([]), diagnosis([], { status: 'sealed' })])).toEqual({
    ...{ found: [], clear: 2, sealed: 1 },
  })
})
