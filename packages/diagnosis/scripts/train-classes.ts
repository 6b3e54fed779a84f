/**
 * Trains `src/class-table.ts` on the recordings of the CinC challenge of 2017 in ../shared/data/cinc2017: `node scripts/train-classes.ts --write`.
 * `--cross` trains on nine tenths at a time and prints how the last tenth is classified. Nothing is random.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { classifyMeasures, type EcgLabel, ecgLabels, measureEcg, recordingFeatures } from '../src/classify.ts'
import { decodeSignal, parseHeader } from '../src/wfdb/record.ts'
import { type BoostOptions, boost } from './boost.ts'

const data = new URL('../../../../shared/data/cinc2017/', import.meta.url)
const options: BoostOptions = { depth: 3, trees: 80, rate: 0.1, ridge: 3 }
const folds = 10

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
  return { label: label as EcgLabel, measures: measureEcg({ samples, gain, baseline, rate: header.rate }) }
}

function train(items: readonly Item[]) {
  const values = new Float64Array(items.length * recordingFeatures)
  for (const [i, { measures }] of items.entries()) values.set(measures, i * recordingFeatures)
  const weights = new Float64Array(items.length).fill(1)
  return ecgLabels.map((label) => {
    const targets = Uint8Array.from(items, (item) => (item.label === label ? 1 : 0))
    return boost({ width: recordingFeatures, values, targets, weights }, options)
  })
}

const items = readFileSync(new URL('REFERENCE.csv', data), 'utf8').trim().split('\n').map(load)
if (process.argv.includes('--cross')) {
  const counts = ecgLabels.map(() => ecgLabels.map(() => 0))
  for (let fold = 0; fold < folds; fold++) {
    const tables = train(items.filter((_, i) => i % folds !== fold))
    for (const { label, measures } of items.filter((_, i) => i % folds === fold)) {
      const found = classifyMeasures(measures, tables).label
      const row = counts[ecgLabels.indexOf(label)] as number[]
      row[ecgLabels.indexOf(found)] = (row[ecgLabels.indexOf(found)] ?? 0) + 1
    }
  }
  console.log('rows: reference N A O ~; columns: found')
  for (const row of counts) console.log(row.join('\t'))
  const f1 = ecgLabels.map((_, k) => {
    const found = counts.reduce((sum, row) => sum + (row[k] as number), 0)
    const real = (counts[k] as number[]).reduce((a, b) => a + b, 0)
    return (2 * ((counts[k] as number[])[k] as number)) / (found + real)
  })
  console.log(
    'F1',
    f1.map((value) => value.toFixed(3)).join(' '),
    'mean of N A O',
    (((f1[0] ?? 0) + (f1[1] ?? 0) + (f1[2] ?? 0)) / 3).toFixed(3),
  )
}
if (process.argv.includes('--write')) {
  const rows = train(items).map(({ depth, features, thresholds, leaves }) => {
    return `  {\n    depth: ${depth},\n    features: [${features.join(',')}],\n    thresholds: [${thresholds.join(',')}],\n    leaves: [${leaves.join(',')}],\n  },\n`
  })
  const comment = `/**\n * Trained by scripts/train-classes.ts on the ${items.length} recordings of the CinC challenge of 2017 that ../shared/data/cinc2017/REFERENCE.csv lists.\n */`
  const ignored = '// biome-ignore-all lint/suspicious/noApproximativeNumericConstant: trained values'
  const head = `${ignored}\n${comment}\nimport type { TreeTable } from './ecg/trees.ts'\n\n/** One table a label, in the order N, A, O, ~: that label against the others. */\n// biome-ignore format: a table\n`
  writeFileSync(
    new URL('../src/class-table.ts', import.meta.url),
    `${head}export const classTables: readonly TreeTable[] = [\n${rows.join('')}]\n`,
  )
}
