/** Pure logic of `ecg classify`: one short single-lead ECG in, one of four labels out, by boosted trees over measures of its beats, intervals and noise. */
import type { EcgLead } from './annotate.ts'
import { classTables } from './class-table.ts'
import { sumTrees, type TreeTable } from './ecg/trees.ts'
import { measureEcg } from './measures.ts'

/** Normal, atrial fibrillation, other rhythm, too noisy to say (the labels of the CinC challenge of 2017). */
export type EcgLabel = 'N' | 'A' | 'O' | '~'

/** Outcome: the most probable label, and the four probabilities, which sum to 1. */
export interface Classification {
  label: EcgLabel
  probabilities: Record<EcgLabel, number>
}

/** Labels in the order of the tables. */
export const ecgLabels: readonly EcgLabel[] = ['N', 'A', 'O', '~']

/** e to the power of `x` by ten squarings: the same on every engine, right within a hundredth for what tables sum up to. */
function powerOfE(x: number): number {
  let power = 1 + Math.max(-20, x) / 1024
  for (let i = 0; i < 10; i++) power *= power
  return power
}

/** Weighs measures by tables, one for each label; their sums are logits that are compared with each other. */
export function classifyMeasures(measures: Float64Array, tables: readonly TreeTable[]): Classification {
  const sums = tables.map((table) => sumTrees(table, measures) / 1000)
  const most = Math.max(...sums)
  const powers = sums.map((sum) => powerOfE(sum - most))
  const all = powers.reduce((a, b) => a + b, 0)
  const [N = 0, A = 0, O = 0, noisy = 0] = powers.map((power) => power / all)
  const probabilities = { N, A, O, '~': noisy }
  const label = ecgLabels.reduce((best, next) => (probabilities[next] > probabilities[best] ? next : best))
  return { label, probabilities }
}

/** Classifies a recording of 5 to 120 seconds. */
export function classifyEcg(lead: EcgLead): Classification {
  return classifyMeasures(measureEcg(lead).values, classTables)
}
