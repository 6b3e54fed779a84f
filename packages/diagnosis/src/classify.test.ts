import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { EcgLead } from './annotate.ts'
import { classifyEcg, classifyMeasures, ecgLabels } from './classify.ts'
import { decodeSignal, parseHeader } from './wfdb/record.ts'

const data = new URL('../../../../shared/data/cinc2017/', import.meta.url)
const hasData = existsSync(data)

function read(record: string): EcgLead {
  const bytes = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
  const header = parseHeader(bytes(`${record}.hea`))
  const { gain, baseline, file } = header.signals[0] as { gain: number; baseline: number; file: string }
  return { samples: decodeSignal(header, 0, bytes(file)), gain, baseline, rate: header.rate }
}

test('probabilities are shares of e to the power of the sums, to a hundredth', () => {
  const leaf = (thousandths: number) => ({ depth: 0, features: [], thresholds: [], leaves: [thousandths] })
  const sums = [1200, -300, 0, -4000]
  const { label, probabilities } = classifyMeasures(new Float64Array(1), sums.map(leaf))
  const powers = sums.map((sum) => Math.exp(sum / 1000))
  const all = powers.reduce((a, b) => a + b)
  expect(label).toBe('N')
  for (const [i, name] of ecgLabels.entries())
    expect(Math.abs(probabilities[name] - (powers[i] as number) / all)).toBeLessThan(0.01)
})

test.each([
  ['nothing', 0, () => 0],
  ['a flat line', 9000, () => 5],
  ['noise without a beat', 9000, (i: number) => Math.imul(i, 0x9e3779b9) >> 20],
])('%s has a label, and probabilities', (_name, length, value) => {
  const samples = Int32Array.from({ length }, (_, i) => value(i))
  const { label, probabilities } = classifyEcg({ samples, gain: 200, baseline: 0, rate: 300 })
  expect(ecgLabels).toContain(label)
  expect(Object.values(probabilities).reduce((a, b) => a + b)).toBeCloseTo(1)
})

test.skipIf(!hasData)('data: a recording upside down, or with another gain, has the same label', () => {
  const lines = readFileSync(new URL('REFERENCE.csv', data), 'utf8').trim().split('\n').slice(0, 60)
  let same = 0
  for (const line of lines) {
    const lead = read(line.split(',')[0] as string)
    const { label } = classifyEcg(lead)
    const turned = { ...lead, samples: lead.samples.map((sample) => 2 * lead.baseline - sample), gain: 2 * lead.gain }
    if (classifyEcg(turned).label === label) same++
  }
  expect(same).toBeGreaterThanOrEqual(54)
})
