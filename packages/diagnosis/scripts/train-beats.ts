/**
 * Trains the tables of `src/ecg/beat-table.ts` on the records of the MIT-BIH Arrhythmia Database in ../shared/data/mitdb (the training half of the usual division
 * between patients): `node scripts/train-beats.ts --write`. `--cross` leaves out one record at a time and prints what would be found in it. Nothing is random.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { EcgAnalyser } from '../src/ecg/analyser.ts'
import { featureCount } from '../src/ecg/beat.ts'
import { sumTrees } from '../src/ecg/trees.ts'
import { decodeSignal, isBeat, parseAnnotations, parseHeader } from '../src/wfdb/record.ts'
import { type BoostOptions, boost, moduleOf, type Training } from './boost.ts'

const data = new URL('../../../../shared/data/mitdb/', import.meta.url)
const options: BoostOptions = { depth: 4, trees: 80, rate: 0.15, ridge: 8 }

interface Row {
  record: string
  symbol: string
  features: Float64Array
}

const classOf = (symbol: string) =>
  'VE'.includes(symbol) ? 'V' : 'AaJS'.includes(symbol) ? 'S' : 'NLRej'.includes(symbol) ? 'N' : symbol

function rowsOf(record: string): Row[] {
  const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
  const header = parseHeader(read(`${record}.hea`))
  const rows: Row[] = []
  const reference = parseAnnotations(read(`${record}.atr`)).filter(({ symbol }) => isBeat(symbol))
  for (const channel of [0, 1]) {
    const { gain, baseline } = header.signals[channel] as { gain: number; baseline: number }
    const samples = decodeSignal(header, channel, read(`${record}.dat`))
    const analyser = new EcgAnalyser({ rateMilliHz: header.rate * 1000 })
    let next = 0
    analyser.onBeat = (tick, features) => {
      const at = (tick * header.rate) / 250
      while (next < reference.length && (reference[next]?.sample ?? 0) < at - 54) next++
      const beat = reference[next]
      if (beat !== undefined && Math.abs(beat.sample - at) <= 54)
        rows.push({ record: `${record}.${channel}`, symbol: classOf(beat.symbol), features: features.slice() })
    }
    analyser.push(Float64Array.from(samples, (sample) => ((sample - baseline) * 1000) / gain))
    analyser.finish()
  }
  return rows
}

function train(rows: Row[], symbol: string) {
  // Fusions and paced beats are neither; the second lead helps, with less weight.
  const used = rows.filter((row) => 'NSV'.includes(row.symbol))
  const counts = new Map<string, number>()
  for (const { record, symbol: s } of used) counts.set(`${record}${s}`, (counts.get(`${record}${s}`) ?? 0) + 1)
  const training: Training = {
    width: featureCount,
    values: new Float64Array(used.length * featureCount),
    targets: Uint8Array.from(used, (row) => (row.symbol === symbol ? 1 : 0)),
    // A record with very many beats of a class must not outweigh the others.
    weights: Float64Array.from(used, (row) => {
      const count = counts.get(`${row.record}${row.symbol}`) ?? 1
      return (row.record.endsWith('.0') ? 1 : 0.3) * Math.min(1, 30 / Math.sqrt(count * 10))
    }),
  }
  for (const [i, { features }] of used.entries()) training.values.set(features, i * featureCount)
  return boost(training, options)
}

const records = readdirSync(data)
  .filter((file) => file.endsWith('.hea'))
  .map((file) => file.slice(0, -4))
const all = new Map(records.map((record) => [record, rowsOf(record)]))
const biases = { V: 0, S: 0 }

if (process.argv.includes('--cross')) {
  const sums = { V: [0, 0, 0], S: [0, 0, 0] }
  for (const record of records) {
    const rest = records.filter((other) => other !== record).flatMap((other) => all.get(other) ?? [])
    const tables = { V: train(rest, 'V'), S: train(rest, 'S') }
    const line: string[] = []
    for (const symbol of ['V', 'S'] as const) {
      let [hit, miss, extra] = [0, 0, 0]
      for (const { symbol: truth, features, record: from } of all.get(record) ?? []) {
        if (!from.endsWith('.0')) continue
        const isV = sumTrees(tables.V, features) > biases.V
        const isFound = symbol === 'V' ? isV : !isV && sumTrees(tables.S, features) > biases.S
        if (truth === symbol) isFound ? hit++ : miss++
        else if (isFound && !(symbol === 'V' && 'F/fQ'.includes(truth))) extra++
      }
      const sum = sums[symbol]
      for (const [i, value] of [hit, miss, extra].entries()) sum[i] = (sum[i] ?? 0) + value
      line.push(`${symbol} ${hit}/${miss}/${extra}`)
    }
    console.log(record, line.join('  '))
  }
  for (const [symbol, [hit = 0, miss = 0, extra = 0]] of Object.entries(sums)) {
    console.log(symbol, 'Se', ((100 * hit) / (hit + miss)).toFixed(2), 'PPV', ((100 * hit) / (hit + extra)).toFixed(2))
  }
}

if (process.argv.includes('--write')) {
  const rows = records.flatMap((record) => all.get(record) ?? [])
  const comment = `/**\n * Trained by scripts/train-beats.ts on these records of the MIT-BIH Arrhythmia Database:\n * ${records.join(' ')}.\n */`
  const tables = { ventricularTable: train(rows, 'V'), supraventricularTable: train(rows, 'S') }
  writeFileSync(new URL('../src/ecg/beat-table.ts', import.meta.url), moduleOf(comment, tables))
}
