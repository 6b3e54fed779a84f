/**
 * Trains the tables of `src/ecg/beat-table.ts` on the records of the MIT-BIH Arrhythmia Database in ../shared/data/mitdb (the training half of the usual division
 * between patients): `node training/train-beats.ts --write`. `--cross` leaves out two records at a time, one patient each, and prints what is found in them.
 * Seeded: the same records give the same tables.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { EcgAnalyser } from '../src/ecg/analyser.ts'
import { boundVentricular, classifyBeat, featureCount } from '../src/ecg/beat.ts'
import { shapeCount } from '../src/ecg/shape.ts'
import { sumTrees, type TreeTable } from '../src/ecg/trees.ts'
import { ShapeVotes } from '../src/ecg/vote.ts'
import { secondLeadWeight } from '../src/leads.ts'
import { decodeSignal, isBeat, parseAnnotations, parseHeader } from '../src/wfdb/record.ts'
import { type BoostOptions, boost, moduleOf, type Training } from './boost.ts'
import { bootstrap, type Figure, keepFigures } from './figures.ts'

const data = new URL('../../../../shared/data/mitdb/', import.meta.url)
const options: BoostOptions = {
  depth: 5,
  trees: 150,
  rate: 0.07,
  ridge: 5,
  leafLeast: 2,
  featureShare: 0.5,
  rowShare: 0.7,
  seed: 1,
}
const folds = 11
/** Of a class with more beats in a record, about so many are looked at. */
const beatsOfClass = 500
/** Each record is read four times: both leads, and both at a third of the rate, as cheap recorders have it. */
const variants = [
  { channel: 0, divide: 1, weight: 1 },
  { channel: 1, divide: 1, weight: 0.4 },
  { channel: 0, divide: 3, weight: 0.4 },
  { channel: 1, divide: 3, weight: 0.2 },
]

interface Row {
  record: string
  variant: number
  /** Sample of the reference annotation. */
  sample: number
  symbol: string
  features: Float32Array
  shape: number
  isNew: boolean
}

/** Classes of AAMI EC57. */
const classOf = (symbol: string) =>
  'VE'.includes(symbol) ? 'V' : 'AaJS'.includes(symbol) ? 'S' : 'NLRej'.includes(symbol) ? 'N' : symbol

function rowsOf(record: string): Row[] {
  const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
  const header = parseHeader(read(`${record}.hea`))
  const rows: Row[] = []
  const reference = parseAnnotations(read(`${record}.atr`)).filter(({ symbol }) => isBeat(symbol))
  for (const [variant, { channel, divide }] of variants.entries()) {
    const { gain, baseline } = header.signals[channel] as { gain: number; baseline: number }
    const samples = decodeSignal(header, channel, read(`${record}.dat`))
    const microvolts = Float64Array.from({ length: Math.floor(samples.length / divide) }, (_, i) => {
      let sum = 0
      for (let k = 0; k < divide; k++) sum += (samples[i * divide + k] as number) - baseline
      return (sum * 1000) / (gain * divide)
    })
    const analyser = new EcgAnalyser({ rateMilliHz: (header.rate * 1000) / divide })
    let next = 0
    analyser.onBeat = (tick, features, { index, isNew }) => {
      const at = (tick * header.rate) / 250
      while (next < reference.length && (reference[next]?.sample ?? 0) < at - 54) next++
      const beat = reference[next]
      if (beat === undefined || Math.abs(beat.sample - at) > 54) return
      const symbol = classOf(beat.symbol)
      rows.push({
        record,
        variant,
        sample: beat.sample,
        symbol,
        features: Float32Array.from(features),
        shape: index,
        isNew,
      })
    }
    analyser.push(microvolts)
    analyser.finish()
  }
  return rows
}

function train(rows: readonly Row[], symbol: string): TreeTable {
  const nameOf = (row: Row) => `${row.record}${row.variant}${row.symbol}`
  const counts = new Map<string, number>()
  for (const row of rows) counts.set(nameOf(row), (counts.get(nameOf(row)) ?? 0) + 1)
  const countOf = (row: Row) => counts.get(nameOf(row)) ?? 1
  const stepOf = (row: Row) => Math.max(1, Math.floor(countOf(row) / beatsOfClass))
  // Fusions and paced beats are neither. Of very many beats of one class every k-th stands for the others.
  const seen = new Map<string, number>()
  const used = rows.filter((row) => {
    const index = seen.get(nameOf(row)) ?? 0
    seen.set(nameOf(row), index + 1)
    return 'NSV'.includes(row.symbol) && index % stepOf(row) === 0
  })
  const training: Training = {
    width: featureCount,
    values: new Float32Array(used.length * featureCount),
    targets: Uint8Array.from(used, (row) => (row.symbol === symbol ? 1 : 0)),
    // A record with very many beats of a class must not outweigh the others.
    weights: Float64Array.from(used, (row) => {
      const weight = (variants[row.variant]?.weight ?? 1) * stepOf(row)
      return weight * Math.min(1, 10 / Math.sqrt(countOf(row)))
    }),
  }
  for (const [i, { features }] of used.entries()) training.values.set(features, i * featureCount)
  return boost(training, options)
}

/** Logits of the beats of one record and variant, with the votes of their shapes, by sample of the reference. */
function judge(rows: readonly Row[], tables: { V: TreeTable; S: TreeTable }) {
  const votes = new ShapeVotes(shapeCount)
  return new Map(
    rows.map(({ features, shape, isNew, sample, symbol }) => {
      const values = Float64Array.from(features)
      const voted = votes.push(shape, isNew, sumTrees(tables.V, values))
      const ventricular = boundVentricular(voted, votes.meanOf(shape), values)
      return [sample, { symbol, ventricular, supraventricular: sumTrees(tables.S, values) }]
    }),
  )
}

type Judged = ReturnType<typeof judge>

/** Weighs two leads as `annotate.ts` does. */
function fuse(first: Judged, second: Judged): Judged {
  const mix = (a: number, b: number) => a + secondLeadWeight * (b - a)
  return new Map(
    [...first].map(([sample, beat]) => {
      const other = second.get(sample) ?? beat
      const ventricular = mix(beat.ventricular, other.ventricular)
      return [sample, { ...beat, ventricular, supraventricular: mix(beat.supraventricular, other.supraventricular) }]
    }),
  )
}

/** Found, missed, found wrongly. */
type Tally = [number, number, number]

function tally(judged: Judged, symbol: 'V' | 'S'): Tally {
  let [hit, miss, extra] = [0, 0, 0]
  for (const beat of judged.values()) {
    const isFound = classifyBeat(beat) === symbol
    if (beat.symbol === symbol) isFound ? hit++ : miss++
    // EC57 does not count a fusion or an unclassified beat that is called ventricular.
    else if (isFound && !(symbol === 'V' && 'F/fQ'.includes(beat.symbol))) extra++
  }
  return [hit, miss, extra]
}

const records = readdirSync(data)
  .filter((file) => file.endsWith('.hea'))
  .map((file) => file.slice(0, -4))
const all = new Map(records.map((record) => [record, rowsOf(record)]))

const sumOf = (all: readonly Tally[]): Tally => all.reduce(([a, b, c], [x, y, z]) => [a + x, b + y, c + z], [0, 0, 0])
const sensitivity = (all: readonly Tally[]) => {
  const [hit, miss] = sumOf(all)
  return (100 * hit) / (hit + miss)
}
const predictivity = (all: readonly Tally[]) => {
  const [hit, , extra] = sumOf(all)
  return (100 * hit) / (hit + extra)
}

function cross(): void {
  const tallied = new Map<string, Tally[]>()
  for (let fold = 0; fold < folds; fold++) {
    const out = records.filter((_, i) => i % folds === fold)
    const rest = records.filter((record) => !out.includes(record)).flatMap((other) => all.get(other) ?? [])
    const tables = { V: train(rest, 'V'), S: train(rest, 'S') }
    for (const record of out) {
      const rows = all.get(record) ?? []
      const leads = variants.map((_, v) =>
        judge(
          rows.filter(({ variant }) => variant === v),
          tables,
        ),
      ) as Judged[]
      const [first, second, slow] = leads as [Judged, Judged, Judged]
      const line: string[] = []
      for (const [name, judged] of Object.entries({
        'both leads': fuse(first, second),
        'first lead': first,
        'second lead': second,
        'first lead at 120 Hz': slow,
      })) {
        for (const symbol of ['V', 'S'] as const) {
          const key = `${symbol} beats, ${name}`
          const counts = tally(judged, symbol)
          tallied.set(key, [...(tallied.get(key) ?? []), counts])
          line.push(`${key} ${counts.join('/')}`)
        }
      }
      console.log(record, line.join('; '))
    }
  }
  const figures: Figure[] = []
  for (const [task, tallies] of tallied) {
    for (const [statistic, of] of Object.entries({ Se: sensitivity, PPV: predictivity })) {
      const { low, high } = bootstrap(tallies, of)
      const [value, from, to] = [of(tallies), low, high].map((x) => Number(x.toFixed(2)))
      figures.push({
        task: `${task}, between patients`,
        statistic,
        percent: value as number,
        low: from as number,
        high: to as number,
      })
    }
  }
  for (const figure of figures) console.log(JSON.stringify(figure))
  keepFigures('train-beats', figures)
}

if (process.argv.includes('--cross')) cross()
if (process.argv.includes('--write')) {
  const rows = records.flatMap((record) => all.get(record) ?? [])
  const comment = `/**\n * Trained by training/train-beats.ts on these records of the MIT-BIH Arrhythmia Database:\n * ${records.join(' ')}.\n */`
  const tables = { ventricularTable: train(rows, 'V'), supraventricularTable: train(rows, 'S') }
  writeFileSync(new URL('../src/ecg/beat-table.ts', import.meta.url), moduleOf(comment, tables))
}
