/**
 * Trains `src/class-table.ts` on the recordings of the CinC challenge of 2017 in ../shared/data/cinc2017: `node training/train-classes.ts --write`.
 * `--cross` trains on nine tenths at a time, three times with other tenths, and prints how the last tenth is classified; no setting is chosen by its outcome.
 * Seeded: the same recordings give the same tables.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { classifyMeasures, type EcgLabel, ecgLabels } from '../src/classify.ts'
import { measureEcg } from '../src/measures.ts'
import { decodeSignal, parseHeader } from '../src/wfdb/record.ts'
import { type BoostOptions, boost, createGenerator, tableText } from './boost.ts'
import { bootstrap, type Figure, keepFigures } from './figures.ts'

const data = new URL('../../../../shared/data/cinc2017/', import.meta.url)
const options: BoostOptions = {
  depth: 3,
  trees: 150,
  rate: 0.06,
  ridge: 3,
  leafLeast: 1,
  featureShare: 0.2,
  rowShare: 0.6,
  seed: 5,
}
const folds = 10
const rounds = 3
/** Shares of the labels in the challenge; the recordings at hand have about as many of each. */
const challengeShares: Record<EcgLabel, number> = { N: 0.597, A: 0.09, O: 0.283, '~': 0.03 }

interface Item {
  label: EcgLabel
  measures: Float64Array
}

function load(line: string): Item {
  const [record = '', label = ''] = line.trim().split(',')
  const read = (file: string) => new Uint8Array(readFileSync(new URL(file, data)))
  const header = parseHeader(read(`${record}.hea`))
  const { gain, baseline, file } = header.signals[0] as { gain: number; baseline: number; file: string }
  const samples = decodeSignal(header, 0, read(file))
  return { label: label as EcgLabel, measures: measureEcg({ samples, gain, baseline, rate: header.rate }).values }
}

function train(items: readonly Item[]) {
  const width = items[0]?.measures.length ?? 0
  const values = new Float32Array(items.length * width)
  for (const [i, { measures }] of items.entries()) values.set(measures, i * width)
  const weights = new Float64Array(items.length).fill(1)
  return ecgLabels.map((label) => {
    const targets = Uint8Array.from(items, (item) => (item.label === label ? 1 : 0))
    return boost({ width, values, targets, weights }, options)
  })
}

interface Judged {
  label: EcgLabel
  found: EcgLabel
}

/** F1 of a label, each recording counted by the weight of its own label. */
function f1(judged: readonly Judged[], label: EcgLabel, weightOf: (own: EcgLabel) => number): number {
  let [both, either] = [0, 0]
  for (const { label: own, found } of judged) {
    const weight = weightOf(own)
    if (own === label && found === label) both += weight
    either += weight * ((own === label ? 1 : 0) + (found === label ? 1 : 0))
  }
  return (2 * both) / either
}

const meanF1 = (judged: readonly Judged[], weightOf: (own: EcgLabel) => number = () => 1) =>
  (f1(judged, 'N', weightOf) + f1(judged, 'A', weightOf) + f1(judged, 'O', weightOf)) / 3

function cross(items: readonly Item[]): void {
  const random = createGenerator(11)
  const judged: Judged[] = []
  for (let round = 0; round < rounds; round++) {
    const foldOf = new Map(items.map((item) => [item, Math.floor(random() * folds)]))
    for (let fold = 0; fold < folds; fold++) {
      const tables = train(items.filter((item) => foldOf.get(item) !== fold))
      for (const item of items.filter((other) => foldOf.get(other) === fold))
        judged.push({ label: item.label, found: classifyMeasures(item.measures, tables).label })
    }
  }
  console.log('rows: reference N A O ~; columns: found, percent')
  for (const own of ecgLabels) {
    const row = judged.filter(({ label }) => label === own)
    console.log(
      own,
      ecgLabels.map((l) => ((100 * row.filter(({ found }) => found === l).length) / row.length).toFixed(1)).join(' '),
    )
  }
  const count = (own: EcgLabel) => judged.filter(({ label }) => label === own).length
  const shares = (own: EcgLabel) => challengeShares[own] / count(own)
  const { low, high } = bootstrap(judged.slice(0, items.length), meanF1)
  const figure = (name: string, value: number, more: Figure = {}) => ({
    task: name,
    value: Number(value.toFixed(3)),
    ...more,
  })
  const figures = [
    ...ecgLabels.map((label) =>
      figure(
        `CinC 2017, F1 of ${label}`,
        f1(judged, label, () => 1),
      ),
    ),
    figure('CinC 2017, mean F1 of N, A, O', meanF1(judged), {
      low: Number(low.toFixed(3)),
      high: Number(high.toFixed(3)),
    }),
    figure('CinC 2017, mean F1 with the shares of the challenge', meanF1(judged, shares)),
  ]
  for (const line of figures) console.log(JSON.stringify(line))
  keepFigures('train-classes', figures)
}

const items = readFileSync(new URL('REFERENCE.csv', data), 'utf8').trim().split('\n').map(load)
if (process.argv.includes('--cross')) cross(items)
if (process.argv.includes('--write')) {
  const rows = train(items).map((table) => `${tableText(table)},\n`)
  const comment = `/**\n * Trained by training/train-classes.ts on the ${items.length} recordings of the CinC challenge of 2017 that ../shared/data/cinc2017/REFERENCE.csv lists.\n */`
  const ignored = '// biome-ignore-all lint/suspicious/noApproximativeNumericConstant: trained values'
  const head = `${ignored}\n${comment}\nimport type { TreeTable } from './ecg/trees.ts'\n\n/** One table a label, in the order N, A, O, ~: that label against the others. */\n// biome-ignore format: a table\n`
  writeFileSync(
    new URL('../src/class-table.ts', import.meta.url),
    `${head}export const classTables: readonly TreeTable[] = [\n${rows.join('')}]\n`,
  )
}
