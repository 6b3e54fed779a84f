import { defaultParameters } from '@healthblock/diagnosis/diagnose'
import { expect, test } from 'vitest'
import { news2Of } from './trends.ts'

test('the chart goes by the scale and age that the doctor set', () => {
  const atMs = 1_790_000_040_000
  const signs = { spo2: [[atMs, 90] as [number, number]], 'supplemental-oxygen': [[atMs, 0] as [number, number]] }
  const total = (change: object) =>
    news2Of(signs, { fromMs: atMs - 1, toMs: atMs + 1 }, { ...defaultParameters, ...change })[0]?.total
  expect(total({})).toBe(3)
  expect(total({ spo2Scale: 2 })).toBe(0)
  expect(total({ ageYears: 12 })).toBeNull()
})
