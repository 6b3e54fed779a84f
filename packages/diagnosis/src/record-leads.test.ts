import { describe, expect, test } from 'vitest'
import { DiagnosisError } from './errors.ts'
import { ecgSignals, pickLeads, thinSamples, usefulShare } from './record-leads.ts'
import { parseHeader, sampleMissing } from './wfdb/record.ts'

const headerOf = (lines: readonly string[], rate = 500) =>
  parseHeader(new TextEncoder().encode([`r ${lines.length} ${rate} 1000`, ...lines].join('\n')))
const namesOf = (lines: readonly string[]) => ecgSignals(headerOf(lines)).map(({ index }) => index)
const line = (units: string, description: string, format = '16') => `r.dat ${format} ${units} 16 0 0 0 0 ${description}`

describe('ECG leads of a record', () => {
  test.each([
    [
      ['12/mmHg', 'ABP'],
      ['20/NU', 'PLETH'],
      ['200/mV', 'V'],
      ['200/mV', 'II'],
    ],
    [
      ['1000', 'Resp. Imp.'],
      ['1000', 'CO2'],
      ['249/mV', 'ECG lead II'],
      ['249/mV', 'ECG lead AVR'],
    ],
    [
      ['1/mV', 'EEG (C4-A1)'],
      ['1/mV', 'EOG (left)'],
      ['200/mV', 'ECG'],
    ],
    [
      ['200/mV', 'PPG'],
      ['1/mmHg', 'ART'],
      ['200/uV', 'MLII'],
    ],
  ])('pressures, pulse waves and the like are none: %j', (...signals) => {
    const found = namesOf(signals.map(([units = '', name = '']) => line(units, name)))
    expect(found.every((index) => index >= 2)).toBe(true)
    expect(found.length).toBe(signals.length - 2)
  })

  test('of twelve leads II is judged, and V1 helps', () => {
    const twelve = ['I', 'II', 'III', 'AVR', 'AVL', 'AVF', 'V1', 'V2', 'V3', 'V4', 'V5', 'V6']
    const leads = ecgSignals(headerOf(twelve.map((name) => line('1000/mV', name))))
    const [first, second] = pickLeads(leads.map((lead) => ({ ...lead, share: 1 })) as never)
    expect([first, second].map((lead) => twelve[lead?.index ?? -1])).toEqual(['II', 'V1'])
    const loose = leads.map((lead) => ({ ...lead, share: 'ii v1'.split(' ').includes(lead.name) ? 0.5 : 1 }))
    expect(pickLeads(loose as never).map((lead) => twelve[lead?.index ?? -1])).toEqual(['I', 'V2'])
  })

  test('leads without a name keep their order; one lead has no help', () => {
    expect(namesOf([line('200/mV', 'ECG1'), line('200/mV', 'ECG2')])).toEqual([0, 1])
    expect(pickLeads([{ ...ecgSignals(headerOf([line('200/mV', '')]))[0], share: 0 }] as never)[1]).toBeUndefined()
  })

  test('units and samples per frame are turned into those of a lead', () => {
    const [lead] = ecgSignals(headerOf([line('0.2/uV', 'II', '16x4')], 125))
    expect(lead).toEqual({ index: 0, name: 'ii', gain: 200, rate: 500 })
  })

  test('a record without an ECG is refused, and says what it has', () => {
    const none = () => ecgSignals(headerOf([line('1/mmHg', 'ABP'), line('1/NU', 'PLETH')]))
    expect(none).toThrow(DiagnosisError)
    expect(none).toThrow('ABP in mmHg, PLETH in NU')
    expect(() => ecgSignals(headerOf([]))).toThrow(DiagnosisError)
  })
})

describe('what a lead shows', () => {
  const wave = Int32Array.from({ length: 1000 }, (_, i) => Math.round(100 * Math.sin(i / 20)))
  const lead = { gain: 200, rate: 250 }
  test.each([
    ['all', 1, (samples: Int32Array) => samples],
    ['missing', 0.5, (samples: Int32Array) => samples.fill(sampleMissing, 250, 750)],
    ['flat', 0.5, (samples: Int32Array) => samples.fill(7, 0, 500)],
    ['at the limit', 0.75, (samples: Int32Array) => samples.fill(2047, 100, 250)],
    ['nothing', 0, (samples: Int32Array) => samples.subarray(0, 0)],
  ])('%s: %f of it', (_, share, change) => {
    expect(usefulShare(change(Int32Array.from(wave)), lead)).toBe(share)
  })

  test('a lead above 1000 Hz is thinned, its gaps kept', () => {
    const samples = Int32Array.of(1, 3, 5, 7, sampleMissing, 9, 11)
    expect(thinSamples(samples, 2000)).toEqual({ samples: Int32Array.of(2, 6, sampleMissing), rate: 1000 })
    expect(thinSamples(samples, 1000).samples).toBe(samples)
  })
})
