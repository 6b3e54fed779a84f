/**
 * Trains `src/class-table.ts` on the recordings that `short-records.ts` names: `node training/train-classes.ts --write`. `--cross` trains on nine tenths of the recordings at
 * a time, three times with other tenths, and prints how the last tenth is classified; with `--nested` each fold also chooses its settings among three, by recordings
 * that it does not judge. Seeded: the same recordings give the same tables, which rest on those of flutter and of beats.
 */
import { classifyMeasures, type EcgLabel, ecgLabels } from '../src/classify.ts'
import type { TreeTable } from '../src/ecg/trees.ts'
import { type BoostOptions, boostClasses, createGenerator, tableText } from './boost.ts'
import { bootstrap, type Figure, keepFigures } from './figures.ts'
import { beginTraining } from './provenance.ts'
import { loadShortItems, type ShortItem } from './short-records.ts'

const options: BoostOptions = {
  depth: 3,
  trees: 110,
  rate: 0.06,
  ridge: 3,
  leafLeast: 1,
  featureShare: 0.2,
  rowShare: 0.6,
  seed: 5,
}
const folds = 10
const rounds = 3
const innerFolds = 4
/** Shares of the labels in the challenge; the recordings at hand have about as many of each. */
const challengeShares: Record<EcgLabel, number> = { N: 0.597, A: 0.09, O: 0.283, '~': 0.03 }

/** Settings between which each fold chooses, by leaving out parts of what it trains on. */
const choices: readonly Partial<BoostOptions>[] = [
  { depth: 3, trees: 100 },
  { depth: 3, trees: 160 },
  { depth: 4, trees: 100 },
]

function train(items: readonly ShortItem[], chosen: Partial<BoostOptions> = {}): TreeTable[] {
  const width = items[0]?.measures.length ?? 0
  const values = new Float32Array(items.length * width)
  for (const [i, { measures }] of items.entries()) values.set(measures, i * width)
  const weights = Float64Array.from(items, ({ weight }) => weight)
  const targets = Uint8Array.from(items, ({ label }) => ecgLabels.indexOf(label))
  return boostClasses({ width, values, targets, weights }, ecgLabels.length, { ...options, ...chosen })
}

/** Classifies the recordings of each of `parts` parts by tables that saw none of them, nor copies of them. */
function judge(items: readonly ShortItem[], parts: number, seed: number, chosen?: Partial<BoostOptions>): Judged[] {
  const random = createGenerator(seed)
  const partOf = new Map<string, number>()
  // Each label is spread evenly over the parts.
  for (const label of ecgLabels) {
    const records = items.filter((item) => item.weight === 1 && item.label === label).map(({ record }) => record)
    const places = records.map((record) => ({ record, at: random() })).sort((a, b) => a.at - b.at)
    for (const [i, { record }] of places.entries()) partOf.set(record, i % parts)
  }
  return Array.from({ length: parts }, (_, part) => {
    const inside = items.filter(({ record }) => partOf.get(record) !== part)
    const tables = train(inside, chosen ?? choose(inside, seed + part))
    const outside = items.filter((item) => item.weight === 1 && partOf.get(item.record) === part)
    return outside.map(({ label, measures }) => ({ label, found: classifyMeasures(measures, tables).label }))
  }).flat()
}

/** The setting with the best figures in parts of `items` that it was not trained on. */
function choose(items: readonly ShortItem[], seed: number): Partial<BoostOptions> {
  const tried = choices.map((choice) => ({ choice, value: meanF1(judge(items, innerFolds, seed, choice)) }))
  return tried.reduce((best, next) => (next.value > best.value ? next : best)).choice
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

function cross(items: readonly ShortItem[]): void {
  const chosen = process.argv.includes('--nested') ? undefined : {}
  const judged = Array.from({ length: rounds }, (_, round) => judge(items, folds, 11 + 100 * round, chosen)).flat()
  const recordings = judged.length / rounds
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
  const { low, high } = bootstrap(judged.slice(0, recordings), meanF1)
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

const recipe = { script: 'training/train-classes.ts', table: 'src/class-table.ts', folders: ['cinc2017', 'mitdb'] }
const write = process.argv.includes('--write') ? beginTraining(recipe) : undefined
const items = loadShortItems()
if (process.argv.includes('--cross')) cross(items)
if (write !== undefined) {
  const rows = train(items).map((table) => `${tableText(table)},\n`)
  const comment = `/**\n * Trained by training/train-classes.ts on the recordings that training/short-records.ts names.\n */`
  const ignored = '// biome-ignore-all lint/suspicious/noApproximativeNumericConstant: trained values'
  const head = `${ignored}\n${comment}\nimport type { TreeTable } from './ecg/trees.ts'\n\n/** One table a label, in the order N, A, O, ~: that label against the others. */\n// biome-ignore format: a table\n`
  write(`${head}export const classTables: readonly TreeTable[] = [\n${rows.join('')}]\n`)
}
