import { expect, test } from 'vitest'
import { Gauges } from './gauges.ts'

const text = `# HELP accounting_term Term of leadership
# TYPE accounting_term gauge
accounting_term{chain="userchain"} 7
accounting_term{chain="docchain"} 3
accounting_open_incidents 2
accounting_commit_seconds_bucket{le="0.02",chain="userchain"} 5
accounting_anchor_lag_seconds{chain="docchain"} 0.25
accounting_clock_skew_seconds{chain="docchain"} Nan
nodejs_version_info{version="v26"} 1
`

test('plain gauges of the service are read, by chain and of the whole node', () => {
  const gauges = new Gauges(text)
  expect(gauges.of('accounting_term', 'userchain')).toBe(7)
  expect(gauges.of('accounting_term', 'docchain')).toBe(3)
  expect(gauges.of('accounting_open_incidents')).toBe(2)
  expect(gauges.of('accounting_anchor_lag_seconds', 'docchain')).toBe(0.25)
})

test('what is not shown, or is no number, is null', () => {
  const gauges = new Gauges(text)
  expect(gauges.of('accounting_term')).toBeNull()
  expect(gauges.of('accounting_clock_skew_seconds', 'docchain')).toBeNull()
  expect(gauges.of('accounting_commit_seconds_bucket', 'userchain')).toBeNull()
  expect(gauges.of('nodejs_version_info')).toBeNull()
  expect(new Gauges('{"not": "metrics"}').of('accounting_term', 'userchain')).toBeNull()
})
