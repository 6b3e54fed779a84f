/** The chart that the doctor's portal shows, held against the score of `packages/diagnosis`, value by value. */
import { scoreNews2 } from '@healthblock/diagnosis/early-warning'
import { expect, test } from 'vitest'
import { news2Chart } from '../../web/src/doctor/news2-bands.ts'

/** Every value that may stand on the chart. */
const values: Readonly<Record<string, readonly (number | string | boolean)[]>> = {
  respiratoryRate: Array.from({ length: 61 }, (_, index) => index),
  spo2: Array.from({ length: 51 }, (_, index) => index + 50),
  supplementalOxygen: [true, false],
  systolicPressure: Array.from({ length: 301 }, (_, index) => index),
  pulse: Array.from({ length: 251 }, (_, index) => index),
  consciousness: ['A', 'C', 'V', 'P', 'U'],
  temperature: Array.from({ length: 151 }, (_, index) => (index + 300) / 10),
}

test.each(news2Chart.map(({ sign }) => sign))(
  '%s: each value stands in one row, with the points of the score',
  (sign) => {
    const chart = news2Chart.find((one) => one.sign === sign)
    for (const value of values[sign] ?? []) {
      const bands = chart?.bands.filter(({ holds }) => holds(value)) ?? []
      expect(bands, `${sign} ${value}`).toHaveLength(1)
      const { parts } = scoreNews2({ [sign]: value })
      expect([value, bands[0]?.points]).toEqual([value, (parts as Record<string, number>)[sign]])
    }
  },
)

test('rows are labelled as on the printed chart', () => {
  const labels = (sign: string) => news2Chart.find((one) => one.sign === sign)?.bands.map(({ label }) => label)
  expect(labels('respiratoryRate')).toEqual(['≥25', '21–24', '18–20', '15–17', '12–14', '9–11', '≤8'])
  expect(labels('spo2')).toEqual(['≥96', '94–95', '92–93', '≤91'])
  expect(labels('temperature')).toEqual(['≥39.1', '38.1–39.0', '37.1–38.0', '36.1–37.0', '35.1–36.0', '≤35.0'])
})
