/** Which lead and which streams of a patient are judged, and that the state of all of it fits. */
import { expect, test } from 'vitest'
import { batchSampleMissing, type EcgBatch, type VitalSign, vitalSigns } from './batch.ts'
import { type DiagnosisRecord, defaultParameters, diagnose, stateBytesMax } from './diagnose.ts'
import { encodeFitting, parseDiagnosis } from './document.ts'
import { generateEcg } from './generator.ts'
import { chooseLead } from './lead-choice.ts'

const startMs = 1_790_000_000_000
const rateHz = 250
const size = 10 * rateHz
const streamOf = (number: number) => Uint8Array.of(number, 2, 3, 4, 5, 6, 7, 8)
const heart = generateEcg({ seed: 11, rateHz, seconds: 120, changes: [{ fromSeconds: 60, rhythm: 'fast' }] })
const flat = () => 0
const missing = () => batchSampleMissing

/** Batches of ten seconds; each lead says what it makes of the heart's sample `i`. */
function records(leads: Record<string, (microUnits: number, i: number) => number>, stream = 1, count = 12) {
  const names = Object.keys(leads)
  return Array.from({ length: count }, (_, n): DiagnosisRecord & EcgBatch => {
    const samples = new Int16Array(size * names.length)
    for (let i = 0; i < size; i++)
      for (const [k, name] of names.entries()) {
        const at = n * size + i
        samples[i * names.length + k] = leads[name]?.(Math.round((heart[at] as number) * 200), at) ?? 0
      }
    return {
      ...{ stream: streamOf(stream), sequence: n + 1, kind: 'ecg', startMs: startMs + n * 10_000 },
      ...{ rateMilliHz: rateHz * 1000, leads: names, unit: 'mv', gainMilli: 200_000, baseline: 0, samples },
    }
  })
}
const own = (value: number) => value
const codesOf = (all: readonly DiagnosisRecord[]) => diagnose({ records: all }).findings.map(({ code }) => code)

test('of twelve leads the second is judged, wherever it stands', () => {
  const names = ['v1', 'v2', 'v3', 'avr', 'avl', 'avf', 'iii', 'i', 'ii', 'v4', 'v5', 'v6']
  const all = records(Object.fromEntries(names.map((name) => [name, name === 'ii' ? own : flat])))
  expect(chooseLead(all[0] as EcgBatch)).toBe(8)
  expect(codesOf(all)).toContain('ecg.tachycardia')
})

test.each([
  ['flat', flat],
  ['missing', missing],
])('a %s lead gives way to one that lives; names that are not known are taken in their order', (_name, dead) => {
  expect(chooseLead(records({ ii: dead, x: dead, y: own }, 1, 1)[0] as EcgBatch)).toBe(2)
  expect(chooseLead(records({ v5: dead, i: dead }, 1, 1)[0] as EcgBatch)).toBe(1)
})

test('when the electrode of the judged lead falls off, another one is judged, and stays so', () => {
  const off = (value: number, i: number) => (i >= 3 * size && i < 9 * size ? 0 : value)
  const all = records({ ii: off, v5: own })
  const whole = diagnose({ records: all })
  expect(whole.findings.map(({ code }) => code)).toContain('ecg.tachycardia')
  expect(whole.findings.map(({ code }) => code)).not.toContain('ecg.unreadable')
  // A doctor who set the lead is obeyed: then the same patient cannot be judged.
  const set = diagnose({ records: all, parameters: { lead: 0 } })
  expect(set.findings.map(({ code }) => code)).toContain('ecg.unreadable')
  // Over two runs it is the same lead.
  const first = diagnose({ records: all.slice(0, 5) })
  expect(diagnose({ records: all.slice(5), carriedState: first.state }).state).toEqual(whole.state)
})

test('a lead that the doctor set and the batch lacks is chosen instead', () => {
  expect(diagnose({ records: records({ ii: own }), parameters: { lead: 7 } }).findings[0]?.code).toBe('ecg.tachycardia')
})

test('of three streams two are judged, the third is said not to be; its place is free ten minutes after another one ended', () => {
  const quiet = records({ ii: (value, i) => (i < 6 * size ? value : 0) }, 1, 6)
  const two = records({ ii: own }, 2, 6)
  const three = records({ ii: own }, 3)
  expect(codesOf([...quiet, ...two, ...three])).toEqual(['stream.not-judged'])
  const later = three.map((record) => ({ ...record, startMs: record.startMs + 700_000 }))
  expect(codesOf([...quiet, ...two, ...later])).toContain('ecg.tachycardia')
  expect(codesOf([...quiet, ...two, ...later])).not.toContain('stream.not-judged')
})

test('two streams, all vital signs with their usual values, and many findings fit the state and the document', () => {
  const values: Record<VitalSign, [number, number]> = {
    'heart-rate': [70, 180],
    'respiratory-rate': [16, 40],
    spo2: [97, 70],
    temperature: [37, 41],
    'systolic-pressure': [120, 60],
    'diastolic-pressure': [80, 140],
    pulse: [70, 180],
    glucose: [100, 500],
    consciousness: [0, 4],
    'supplemental-oxygen': [0, 10],
  }
  const signs = Object.keys(vitalSigns) as VitalSign[]
  const vitals = Array.from({ length: 1500 }, (_, minute): DiagnosisRecord => {
    const atMs = startMs + (minute - 1500) * 60_000
    const ill = minute > 1480 ? 1 : 0
    const rows = signs.map((sign) => ({ sign, atMs, value: values[sign][ill] }))
    return { stream: streamOf(9), sequence: minute + 1, kind: 'vitals', startMs: atMs, rows }
  })
  // The same heart at the highest rate, of which most is carried.
  const fast = (batches: ReturnType<typeof records>) =>
    batches.map((batch) => ({
      ...batch,
      rateMilliHz: 1_000_000,
      samples: Int16Array.from({ length: 4 * batch.samples.length }, (_, i) => batch.samples[i >> 2] as number),
    }))
  const all = [...vitals, ...[1, 2, 3].flatMap((stream) => fast(records({ mlii: own }, stream)))]
  const { findings, state } = diagnose({ records: all })
  expect(findings.length).toBeGreaterThan(10)
  expect(state.length).toBeLessThanOrEqual(stateBytesMax)
  const bytes = encodeFitting({
    algorithm: { name: 'a', version: '1', hash: new Uint8Array(32) },
    ...{ parameters: defaultParameters, atMs: startMs, in: [], findings, state, carried: new Uint8Array(0), text: '' },
  })
  expect(parseDiagnosis(bytes).findings.length).toBe(findings.length)
})

// From 60 s on the judged lead shows the quiet line of a lead that sees nothing: a little noise.
const hush = (i: number) => (Math.imul(i, 0x9e3779b9) >> 30) * 4
const silenced = (value: number, i: number) => (i < 6 * size ? value : hush(i))

test.each<[string, (value: number, i: number) => number]>([
  ['silent too', silenced],
  ['missing', missing],
  ['full of the spikes of a pacemaker', (value, i) => (i < 6 * size ? value : i % 250 === 0 ? 600 : hush(i))],
  ['full of noise', (value, i) => (i < 6 * size ? value : (Math.imul(i, 0x9e3779b9) >> 24) * 2)],
])('a heart that stands still in one lead is an alarm when the other is %s', (_name, other) => {
  expect(codesOf(records({ ii: silenced, v1: other }))).toContain('ecg.asystole')
})

test('a heart that beats in another lead does not stand still, and does not pause', () => {
  const lost = (value: number, i: number) => (i >= 6 * size && i < 6 * size + 800 ? hush(i) : value)
  expect(codesOf(records({ ii: silenced }))).toContain('ecg.asystole')
  expect(codesOf(records({ ii: silenced, v1: own }))).not.toContain('ecg.asystole')
  expect(codesOf(records({ ii: lost }))).toContain('ecg.pause')
  expect(codesOf(records({ ii: lost, v1: own }))).not.toContain('ecg.pause')
})
