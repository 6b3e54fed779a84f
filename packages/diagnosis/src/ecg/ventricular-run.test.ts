import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { decodeSignal, parseHeader } from '../wfdb/record.ts'
import { EcgAnalyser } from './analyser.ts'
import { VentricularRun } from './ventricular-run.ts'

type Beat = readonly [interval: number, shape: number, logit: number, isNew?: boolean]

/** What is told after each of a run's beats, which follow eight others, or are the first of a stream. */
function toldOf(beats: readonly Beat[], before = 8) {
  const run = new VentricularRun()
  for (let i = 0; i < before; i++) run.push(800, { isVentricular: false, isNew: false, shape: 0, logit: -3000 })
  return beats.map(([interval, shape, logit, isNew = false]) => {
    run.push(interval, { isVentricular: true, isNew, shape, logit })
    return run.rhythm
  })
}
const none = undefined

test('while an electrode is put on only a long run is told', () => {
  const beats = Array.from({ length: 6 }, (): Beat => [400, 1, 5000])
  expect(toldOf(beats.slice(0, 5), 0)).toEqual([none, none, none, none, none])
  expect(toldOf(beats, 0).at(-1)).toBe('VT')
  expect(toldOf(beats.slice(0, 3), 5)).toEqual([none, none, 'VT'])
})

test.each<[string, Beat[], (string | undefined)[]]>([
  [
    'one shape',
    [
      [420, 1, 5000],
      [380, 1, 6000],
      [400, 1, 2000],
    ],
    [none, none, 'VT'],
  ],
  [
    'two shapes in turn',
    [
      [540, 4, 9000],
      [580, 1, -400],
      [540, 4, 9000],
    ],
    [none, none, 'VT'],
  ],
  [
    'three shapes, each beyond doubt',
    [
      [400, 1, 9000],
      [312, 5, 3600, true],
      [372, 4, 8700],
    ],
    [none, none, 'VT'],
  ],
  [
    'slower than 100/min',
    [
      [900, 2, 5000],
      [950, 2, 5000],
      [930, 2, 5000],
    ],
    [none, none, 'IVR'],
  ],
  [
    'a slow run that becomes fast',
    [
      [900, 2, 5000],
      [950, 2, 5000],
      [930, 2, 5000],
      [420, 2, 5000],
      [400, 2, 5000],
      [410, 2, 5000],
    ],
    [none, none, 'IVR', 'IVR', 'IVR', 'VT'],
  ],
  [
    'a long one of many shapes of which little is certain',
    [
      [400, 0, 300],
      [350, 1, 100],
      [370, 2, 900],
      [330, 3, 200],
      [400, 4, 500],
      [360, 5, -100],
    ],
    [none, none, none, none, none, 'VT'],
  ],
])('a run is told: %s', (_name, beats, told) => {
  expect(toldOf(beats)).toEqual(told)
})

test.each<[string, Beat[]]>([
  [
    'two beats',
    [
      [420, 1, 9000],
      [400, 1, 9000],
    ],
  ],
  [
    'beats that resemble nothing before',
    [
      [400, 1, 4000, true],
      [380, 2, 4000, true],
      [390, 3, 4000, true],
    ],
  ],
  [
    'three shapes, little certain',
    [
      [936, 5, 3100],
      [360, 1, 5200],
      [416, 3, -300],
    ],
  ],
  [
    'one shape, less certain still',
    [
      [980, 3, 600],
      [764, 3, 800],
      [750, 3, 1100],
    ],
  ],
  [
    'uneven distances',
    [
      [500, 0, 8800],
      [692, 0, 8300],
      [268, 3, 2200],
    ],
  ],
  [
    'a long one at uneven distances',
    [
      [400, 3, 900],
      [340, 1, 700],
      [636, 3, 900],
      [336, 1, 700],
      [712, 3, 900],
      [324, 1, 700],
      [744, 3, 900],
    ],
  ],
])('movement is no run: %s', (_name, beats) => {
  expect(toldOf(beats)).toEqual(beats.map(() => none))
})

test('another beat ends a run', () => {
  const run = new VentricularRun()
  const beat = { isVentricular: true, isNew: false, shape: 1, logit: 5000 }
  for (let i = 0; i < 8; i++) run.push(800, { ...beat, isVentricular: false })
  for (let i = 0; i < 3; i++) run.push(400, beat)
  expect(run.rhythm).toBe('VT')
  run.push(400, { ...beat, isVentricular: false })
  expect(run.rhythm).toBe(none)
  for (let i = 0; i < 2; i++) run.push(400, beat)
  expect(run.rhythm).toBe(none)
})

const data = new URL('../../../../../shared/data/', import.meta.url)
const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))

/** Seconds at which a ventricular run is told in the first lead of a record. */
function runsIn(rate: number, microvolts: Float64Array): number[] {
  const analyser = new EcgAnalyser({ rateMilliHz: rate * 1000 })
  const events = [...analyser.push(microvolts), ...analyser.finish()]
  return events.flatMap((event) =>
    event.type === 'rhythm' && ['VT', 'IVR', 'VFL'].includes(event.rhythm) ? [event.tick / 250] : [],
  )
}

function leadOf(record: string): [rate: number, microvolts: Float64Array] {
  const header = parseHeader(read(`${record}.hea`))
  const { gain, baseline, file } = header.signals[0] as { gain: number; baseline: number; file: string }
  const samples = decodeSignal(header, 0, read(`${record.slice(0, record.lastIndexOf('/'))}/${file}`))
  return [header.rate, Float64Array.from(samples, (value) => ((value - baseline) * 1000) / gain)]
}

test.skipIf(!existsSync(data))(
  'data: an electrode that is moved, and a chest lead that breath moves, are no ventricular tachycardia',
  () => {
    for (const record of ['A00039', 'A00145', 'A00343', 'A01048'])
      expect(runsIn(...leadOf(`cinc2017/${record}`))).toEqual([])
    const [head = '', ...lines] = gunzipSync(read('bidmc/bidmc_25_Signals.csv.gz')).toString().trim().split('\n')
    const column = head.split(', ').indexOf('V')
    expect(
      runsIn(
        125,
        Float64Array.from(lines, (line) => Number(line.split(',')[column]) * 1000),
      ),
    ).toEqual([])
  },
)

test.skipIf(!existsSync(data))('data: runs that cardiologists marked are told', () => {
  const [rate, microvolts] = leadOf('mitdb/205')
  const told = runsIn(rate, microvolts)
  for (const second of [299, 303, 927, 1461]) expect(told.some((at) => at >= second && at < second + 4)).toBe(true)
})
