/**
 * Trains the tables of `src/ecg/beat-table.ts` on the records of the MIT-BIH Arrhythmia Database in ../shared/data/mitdb (the training half of the usual division
 * between patients): `node training/train-beats.ts --write`. `--cross` leaves out two records at a time, one patient each, and prints what is found in them.
 * Seeded: the same records give the same tables. What is measured of a beat depends on the table of flutter, which is trained first, and on no class of a beat.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { EcgAnalyser } from '../src/ecg/analyser.ts'
import {
  type BeatJudgement,
  type BeatLogits,
  type BeatTiming,
  boundVentricular,
  classifyBeat,
  featureCount,
  isUsualBeat,
} from '../src/ecg/beat.ts'
import { comesAsFusion, type FusedShape, isFusion, likestMixture, type Mixture } from '../src/ecg/fusion.ts'
import { shapeCount } from '../src/ecg/shape.ts'
import { sumTrees, type TreeTable } from '../src/ecg/trees.ts'
import { ShapeVotes } from '../src/ecg/vote.ts'
import { type BeatEvent, judgeAgain, secondLeadWeight } from '../src/leads.ts'
import { decodeSignal, isBeat, parseAnnotations, parseHeader } from '../src/wfdb/record.ts'
import { type BoostOptions, boost, moduleOf, type Training } from './boost.ts'
import { bootstrap, type Figure, keepFigures } from './figures.ts'
import { beginTraining } from './provenance.ts'

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
/** Each record is read four times: both leads, which weigh the same, and both at a third of the rate, as cheap recorders have it. */
const variants = [
  { first: 1, second: 0, divide: 1, weight: 1 },
  { first: 0, second: 1, divide: 1, weight: 1 },
  { first: 1, second: 0, divide: 3, weight: 0.4 },
  { first: 0, second: 1, divide: 3, weight: 0.4 },
]
/** Leads that are judged and never trained on: sums of both, which look like leads that lie between and beside them, and the first upside down. */
const judgedOnly = [
  { first: 0.7, second: 0.7, divide: 1, weight: 0 },
  { first: 0.7, second: -0.7, divide: 1, weight: 0 },
  { first: -1, second: 0, divide: 1, weight: 0 },
]

interface Row {
  record: string
  variant: number
  /** Sample of the reference annotation, and its class; below 0 and `?` for what is no beat. */
  sample: number
  symbol: string
  features: Float32Array
  shape: number
  isNew: boolean
  timing: BeatTiming
  /** Of a beat that may be a fusion: as a mixture of the usual shape and each of the others. */
  mixtures: Mixture[]
}

/** Classes of AAMI EC57. */
const classOf = (symbol: string) =>
  'VE'.includes(symbol) ? 'V' : 'AaJS'.includes(symbol) ? 'S' : 'NLRej'.includes(symbol) ? 'N' : symbol
const matchSamples = 54

function rowsOf(record: string): Row[] {
  const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
  const header = parseHeader(read(`${record}.hea`))
  const reference = parseAnnotations(read(`${record}.atr`)).filter(({ symbol }) => isBeat(symbol))
  const leads = header.signals.map(({ gain, baseline }, channel) =>
    Float64Array.from(decodeSignal(header, channel, read(`${record}.dat`)), (v) => ((v - baseline) * 1000) / gain),
  ) as [Float64Array, Float64Array]
  return [...variants, ...judgedOnly].flatMap(({ first, second, divide }, variant) => {
    const microvolts = Float64Array.from({ length: Math.floor(leads[0].length / divide) }, (_, i) => {
      let sum = 0
      for (let k = i * divide; k < (i + 1) * divide; k++)
        sum += first * (leads[0][k] as number) + second * (leads[1][k] as number)
      return sum / divide
    })
    const analyser = new EcgAnalyser({ rateMilliHz: (header.rate * 1000) / divide })
    const rows: Row[] = []
    let next = 0
    analyser.onBeat = (tick, features, { index, isNew }, timing, mix) => {
      const mixtures = comesAsFusion(features, timing === 'timely')
        ? Array.from({ length: shapeCount }, (_, k) => mix(k))
        : []
      const at = (tick * header.rate) / 250
      while (next < reference.length && (reference[next]?.sample ?? 0) < at - matchSamples) next++
      const found = reference[next]
      const isMatched = found !== undefined && Math.abs(found.sample - at) <= matchSamples
      const { sample, symbol } = isMatched
        ? { sample: found.sample, symbol: classOf(found.symbol) }
        : { sample: -tick, symbol: '?' }
      const row = { record, variant, sample, symbol, features: Float32Array.from(features), shape: index, isNew }
      rows.push({ ...row, timing, mixtures })
    }
    analyser.push(microvolts)
    analyser.finish()
    return rows
  })
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
    if (row.variant >= variants.length) return false
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

/** Logits of the beats of one record and variant, with the votes of their shapes, by sample of the reference: as a stream knows them, or when the whole record was seen. */
function judge(rows: readonly Row[], tables: { V: TreeTable; S: TreeTable }, isWhole: boolean) {
  const votes = new ShapeVotes(shapeCount)
  const beats = rows.map(({ features, shape, isNew, timing, sample, symbol, mixtures }) => {
    const values = Float64Array.from(features)
    const own = sumTrees(tables.V, values)
    const isUsual = isUsualBeat(values)
    const voted = votes.push(shape, isNew, own)
    const ventricular = boundVentricular(voted, votes.meanOf(shape), isUsual)
    const logits = { ventricular, supraventricular: sumTrees(tables.S, values) }
    const mixture = mixtures.length === 0 ? undefined : likestMixture(shape, votes, (k) => mixtures[k] as Mixture)
    const fused: FusedShape = { count: votes.countOf(shape), mean: votes.meanOf(shape), mixture }
    const told = {
      type: 'beat',
      tick: 0,
      symbol: 'N',
      counted: 'N',
      intervalMs: 0,
      rate: 0,
      score: 0,
      isPaced: false,
      size: 0,
    } as const
    const beat: BeatEvent = { ...told, logits, isNew, own, shape, isUsual, timing, mixture }
    return { ...beat, fused, reference: sample, truth: symbol }
  })
  const whole = isWhole ? judgeAgain(beats) : undefined
  return new Map(
    beats
      .filter(({ reference }) => reference >= 0)
      .map((beat) => [
        beat.reference,
        {
          symbol: beat.truth,
          timing: beat.timing,
          isAlone: true,
          isWhole,
          ...(whole?.get(beat) ?? { ...beat.logits, fused: beat.fused }),
        },
      ]),
  )
}

type Judged = ReturnType<typeof judge>

/** Weighs two leads as `annotate.ts` does. */
function fuse(first: Judged, second: Judged): Judged {
  const mix = (a: number, b: number) => a + secondLeadWeight * (b - a)
  return new Map(
    [...first].map(([sample, beat]) => {
      const other = second.get(sample) ?? beat
      const isAlone = other === beat
      const ventricular = mix(beat.ventricular, other.ventricular)
      return [
        sample,
        { ...beat, isAlone, ventricular, supraventricular: mix(beat.supraventricular, other.supraventricular) },
      ]
    }),
  )
}

/** Found, missed, found wrongly. */
type Tally = [number, number, number]

function tally(
  judged: Judged,
  symbol: 'V' | 'S' | 'F',
  classify = (beat: BeatLogits & Omit<BeatJudgement, 'isDoubtful'> & { fused: FusedShape }) =>
    isFusion(beat.ventricular, beat.fused) ? 'F' : classifyBeat(beat, { ...beat, isDoubtful: false }),
): Tally {
  let [hit, miss, extra] = [0, 0, 0]
  for (const beat of judged.values()) {
    const isFound = classify(beat) === symbol
    if (beat.symbol === symbol) isFound ? hit++ : miss++
    // EC57 does not count a fusion or an unclassified beat that is called ventricular.
    else if (isFound && !(symbol === 'V' && 'F/fQ'.includes(beat.symbol))) extra++
  }
  return [hit, miss, extra]
}

const recipe = { script: 'training/train-beats.ts', table: 'src/ecg/beat-table.ts', folders: ['mitdb'] }
const write = process.argv.includes('--write') ? beginTraining(recipe) : undefined
const records = readdirSync(data)
  .filter((file) => file.endsWith('.hea'))
  .map((file) => file.slice(0, -4))
  .sort()
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

/** What one limit finds in a record that its fold left out. */
interface LimitTally {
  fold: number
  whole: Tally
  stream: Tally
}

/** F1 of ventricular beats. */
const agreement = (all: readonly Tally[]) => {
  const [hit, miss, extra] = sumOf(all)
  return (2 * hit) / (2 * hit + miss + extra)
}

/** Chooses for each fold the limit that is best in the records of the others, and prints what it finds in its own. */
function chooseLimits(byLimit: ReadonlyMap<number, readonly LimitTally[]>): void {
  const chosen = { limits: [] as number[], whole: [] as Tally[], stream: [] as Tally[] }
  for (let fold = 0; fold < folds; fold++) {
    const valued = [...byLimit].map(([least, all]) => {
      const others = all.filter((one) => one.fold !== fold)
      return { least, all, value: agreement(others.map((o) => o.whole)) + agreement(others.map((o) => o.stream)) }
    })
    const best = valued.reduce((a, b) => (b.value > a.value ? b : a))
    const own = best.all.filter((one) => one.fold === fold)
    chosen.limits.push(best.least)
    chosen.whole.push(...own.map(({ whole }) => whole))
    chosen.stream.push(...own.map(({ stream }) => stream))
  }
  for (const way of ['whole', 'stream'] as const)
    console.log(`limit chosen per fold, ${way}: Se ${sensitivity(chosen[way])} PPV ${predictivity(chosen[way])}`)
  console.log(`limits ${chosen.limits.join(' ')}`)
}

function cross(): void {
  const tallied = new Map<string, Tally[]>()
  const byLimit = new Map<number, LimitTally[]>()
  for (let fold = 0; fold < folds; fold++) {
    const out = records.filter((_, i) => i % folds === fold)
    const rest = records.filter((record) => !out.includes(record)).flatMap((other) => all.get(other) ?? [])
    const tables = { V: train(rest, 'V'), S: train(rest, 'S') }
    for (const record of out) {
      const rows = all.get(record) ?? []
      const leadOf = (variant: number, isWhole: boolean) =>
        judge(
          rows.filter((row) => row.variant === variant),
          tables,
          isWhole,
        )
      const both = (isWhole: boolean) => fuse(leadOf(0, isWhole), leadOf(1, isWhole))
      const [whole, stream] = [both(true), both(false)]
      for (let least = -2000; least <= 500; least += 100) {
        const found = (judged: Judged) => tally(judged, 'V', (beat) => (beat.ventricular > least ? 'V' : 'N'))
        byLimit.set(least, [...(byLimit.get(least) ?? []), { fold, whole: found(whole), stream: found(stream) }])
      }
      const line: string[] = []
      for (const [name, judged] of Object.entries({
        'both leads': whole,
        'both leads, as a stream': stream,
        'first lead': leadOf(0, true),
        'first lead, as a stream': leadOf(0, false),
        'first lead upside down': leadOf(variants.length + 2, true),
        'first lead at 120 Hz': leadOf(2, true),
        'second lead': leadOf(1, true),
        'sum of leads': leadOf(variants.length, true),
        'difference of leads': leadOf(variants.length + 1, true),
      })) {
        for (const symbol of ['V', 'S', 'F'] as const) {
          const key = `${symbol} beats, ${name}`
          const counts = tally(judged, symbol)
          tallied.set(key, [...(tallied.get(key) ?? []), counts])
          line.push(`${key} ${counts.join('/')}`)
        }
      }
      console.log(record, line.join('; '))
    }
  }
  chooseLimits(byLimit)
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
if (write !== undefined) {
  const rows = records.flatMap((record) => all.get(record) ?? [])
  const comment = `/**\n * Trained by training/train-beats.ts on these records of the MIT-BIH Arrhythmia Database:\n * ${records.join(' ')}.\n */`
  const tables = { ventricularTable: train(rows, 'V'), supraventricularTable: train(rows, 'S') }
  write(moduleOf(comment, tables))
}
