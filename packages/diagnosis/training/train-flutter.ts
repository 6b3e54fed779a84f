/**
 * Trains `src/ecg/flutter-table.ts`: `node training/train-flutter.ts --write`. Fibrillation is too rare in the records at hand, so that it is made: noise through
 * two resonators of 2.5 to 9 Hz of changing width, strength and skew. Real are the flutter of record 207 and everything that is neither: the MIT-BIH
 * records, the noise-stressed ones, intensive care, short recordings. `--cross` leaves out a fifth of the patients and of the made signals at a time.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { highPass1, lowPass40 } from '../src/ecg/coefficients.ts'
import { Filter } from '../src/ecg/filter.ts'
import { flutterMeasures, measureFlutter } from '../src/ecg/flutter.ts'
import { QualityMeter } from '../src/ecg/quality.ts'
import { Resampler } from '../src/ecg/resampler.ts'
import { sumTrees } from '../src/ecg/trees.ts'
import { decodeSignal, parseAnnotations, parseHeader } from '../src/wfdb/record.ts'
import { type BoostOptions, boost, createGenerator, moduleOf } from './boost.ts'
import { type Figure, keepFigures } from './figures.ts'
import { beginTraining } from './provenance.ts'

const data = new URL('../../../../shared/data/', import.meta.url)
const options: BoostOptions = {
  depth: 3,
  trees: 40,
  rate: 0.15,
  ridge: 10,
  leafLeast: 5,
  featureShare: 0.7,
  rowShare: 0.7,
  seed: 3,
}
const folds = 5
const madeSignals = 240
const madeSeconds = 30
/** Every k-th second without fibrillation is used. */
const quietStep = 4
const logitOn = 1000

/** How the names of made signals and of recordings that cannot be judged begin. */
const kinds = ['made', 'noise']

interface Row {
  patient: string
  isFibrillation: boolean
  measures: Float64Array
}

const rows: Row[] = []
const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))

/** Adds a row a second; `labelAt` gives 1 for fibrillation, 0 for none, -1 for seconds that are neither. */
function add(patient: string, microvolts: Float64Array, rate: number, labelAt: (second: number) => number): void {
  const resampler = new Resampler(Math.round(rate * 1000))
  const [high, low, quality] = [new Filter(highPass1), new Filter(lowPass40), new QualityMeter()]
  const ring = new Int16Array(1024)
  let tick = 0
  for (const sample of microvolts) {
    const count = resampler.push(sample)
    for (let k = 0; k < count; k++) {
      const value = resampler.out[k] as number
      const wide = tick === 0 ? low.settle(high.settle(value)) : low.push(high.push(value))
      ring[tick & 1023] = Math.round(Math.min(32_000, Math.max(-32_000, wide)))
      const isFull = quality.push(value, Number.isNaN(value))
      const second = Math.floor(tick / 250)
      const label = isFull && quality.quality === 'good' ? labelAt(second) : -1
      const measures = new Float64Array(flutterMeasures)
      if (label === 1 || (label === 0 && second % quietStep === 0))
        if (measureFlutter(measures, ring, tick)) rows.push({ patient, isFibrillation: label === 1, measures })
      tick++
    }
  }
}

function addRecords(): void {
  for (const file of readdirSync(new URL('mitdb/', data))
    .filter((name) => name.endsWith('.hea'))
    .sort()) {
    const record = file.slice(0, -4)
    const header = parseHeader(read(`mitdb/${file}`))
    const marks = parseAnnotations(read(`mitdb/${record}.atr`)).filter(({ symbol }) => symbol === '[' || symbol === ']')
    const times = marks.map(({ sample }) => sample / header.rate)
    const labelAt = (second: number) => {
      for (let i = 0; i + 1 < times.length; i += 2) {
        const [begin, end] = [times[i] as number, times[i + 1] as number]
        if (second > begin + 4 && second < end) return 1
        if (second > begin - 1 && second < end + 4) return -1
      }
      return 0
    }
    for (const channel of [0, 1]) {
      const { gain, baseline } = header.signals[channel] as { gain: number; baseline: number }
      const samples = decodeSignal(header, channel, read(`mitdb/${record}.dat`))
      const microvolts = Float64Array.from(samples, (sample) => ((sample - baseline) * 1000) / gain)
      add(record, microvolts, header.rate, labelAt)
    }
  }
  for (const line of read2('cinc2017/REFERENCE.csv')) {
    const [record = '', label] = line.split(',')
    const header = parseHeader(read(`cinc2017/${record}.hea`))
    const { gain, baseline, file } = header.signals[0] as { gain: number; baseline: number; file: string }
    const samples = decodeSignal(header, 0, read(`cinc2017/${file}`))
    const microvolts = Float64Array.from(samples, (sample) => ((sample - baseline) * 1000) / gain)
    add(label === '~' ? `noise ${record}` : record, microvolts, header.rate, () => 0)
  }
}

const read2 = (file: string) => new TextDecoder().decode(read(file)).trim().split(/\r?\n/)

function addOthers(): void {
  for (const name of ['118e00', '118e06', '118e12'])
    add(
      '118',
      Float64Array.from(read2(`noise-ecg/${name}.csv`), (mv) => Number(mv) * 1000),
      360,
      () => 0,
    )
  for (const name of ['e0103', 'e0110', 'e0124'])
    add(
      name,
      Float64Array.from(read2(`noise-ecg/${name}.csv`), (mv) => Number(mv) * 1000),
      250,
      () => 0,
    )
  for (const file of readdirSync(new URL('bidmc/', data))
    .filter((name) => name.endsWith('Signals.csv.gz'))
    .sort()) {
    const [head = '', ...lines] = gunzipSync(read(`bidmc/${file}`))
      .toString()
      .trim()
      .split('\n')
    const names = head.split(',').map((name) => name.trim())
    for (const lead of ['II', 'V', 'AVR'].filter((name) => names.includes(name))) {
      const at = names.indexOf(lead)
      add(
        file,
        Float64Array.from(lines, (line) => Number(line.split(',')[at]) * 1000),
        125,
        () => 0,
      )
    }
  }
}

/** Noise through a resonator that drifts, of unit strength. */
function resonate(normal: () => number, hertz: number, width: number, count: number): Float64Array {
  const out = new Float64Array(count)
  const r = Math.exp((-Math.PI * width) / 250)
  let [one, two, f, power] = [0, 0, hertz, 0]
  for (let i = 0; i < count; i++) {
    if (i % 25 === 0) f = Math.max(2.5, Math.min(9, f + 0.12 * normal() + 0.02 * (hertz - f)))
    const value = 2 * r * Math.cos((2 * Math.PI * f) / 250) * one - r * r * two + normal()
    two = one
    one = value
    out[i] = value
    power += value * value
  }
  const scale = Math.sqrt(count / power)
  return out.map((value) => value * scale)
}

function addMade(): void {
  const random = createGenerator(7)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const count = madeSeconds * 250
  for (let k = 0; k < madeSignals; k++) {
    const one = resonate(normal, 2.8 + 5.5 * random(), 0.15 + 1.6 * random() * random(), count)
    const two = resonate(normal, 2.8 + 5.5 * random(), 0.3 + 2 * random(), count)
    const [amplitude, second, skew] = [80 * Math.exp(2.5 * random()), k % 2 === 0 ? 0 : random(), 0.35 * random()]
    const [swing, noise] = [k % 3 === 0 ? 0.1 + 0.4 * random() : 0, 4 + 16 * random()]
    let wander = 0
    const microvolts = one.map((value, i) => {
      const sum = (value + second * (two[i] as number)) / Math.sqrt(1 + second * second)
      wander = 0.999 * wander + 0.3 * normal()
      const envelope = swing > 0 ? 0.55 + 0.45 * Math.sin((2 * Math.PI * swing * i) / 250) : 1
      return amplitude * envelope * (sum + skew * (sum * sum - 1)) + 2 * wander + noise * normal()
    })
    add(`made ${k}`, microvolts, 250, (second) => (second % 4 === 3 ? 1 : -1))
  }
}

const folders = ['bidmc', 'cinc2017', 'mitdb', 'noise-ecg']
const recipe = { script: 'training/train-flutter.ts', table: 'src/ecg/flutter-table.ts', folders }
const write = process.argv.includes('--write') ? beginTraining(recipe) : undefined
addRecords()
addOthers()
addMade()

function train(used: readonly Row[]) {
  const values = new Float32Array(used.length * flutterMeasures)
  for (const [i, { measures }] of used.entries()) values.set(measures, i * flutterMeasures)
  const targets = Uint8Array.from(used, ({ isFibrillation }) => (isFibrillation ? 1 : 0))
  const weights = Float64Array.from(used, ({ patient, isFibrillation }) =>
    isFibrillation && !patient.startsWith('made') ? 3 : patient.startsWith('noise') ? 3 : 1,
  )
  return boost({ width: flutterMeasures, values, targets, weights }, options)
}

if (process.argv.includes('--cross')) {
  const patients = [...new Set(rows.map(({ patient }) => patient))]
  const sums = new Map<string, [number, number]>()
  for (let fold = 0; fold < folds; fold++) {
    const isOut = ({ patient }: Row) => patients.indexOf(patient) % folds === fold
    const table = train(rows.filter((row) => !isOut(row)))
    for (const row of rows.filter(isOut)) {
      const kind = `${kinds.find((name) => row.patient.startsWith(name)) ?? 'real'} ${row.isFibrillation ? 'fibrillation' : 'other'}`
      const sum = sums.get(kind) ?? [0, 0]
      sums.set(kind, [sum[0] + (sumTrees(table, row.measures) > logitOn ? 1 : 0), sum[1] + 1])
    }
  }
  const figures: Figure[] = [...sums].map(([kind, [told, all]]) => ({
    task: `windows of 4 s told as fibrillation, ${kind}`,
    told,
    windows: all,
    percent: Number(((100 * told) / all).toFixed(2)),
  }))
  for (const figure of figures) console.log(JSON.stringify(figure))
  keepFigures('train-flutter', figures)
}
if (write !== undefined) {
  const comment = `/**\n * Trained by training/train-flutter.ts on made fibrillation, the flutter of record 207, and records of the MIT-BIH, noise stress, BIDMC and CinC 2017 sets.\n */`
  write(moduleOf(comment, { flutterTable: train(rows) }))
}
