/** Gradient boosting of fixed-depth trees on a logistic loss; deterministic, no sampling. The output is a `TreeTable`. */
import type { TreeTable } from '../src/ecg/trees.ts'

/** Samples to train on: `rows` by `width` values, a target of 0 or 1 and a weight for each row. */
export interface Training {
  width: number
  values: Float64Array
  targets: Uint8Array
  weights: Float64Array
}

export interface BoostOptions {
  depth: number
  trees: number
  rate: number
  /** Ridge on the leaves, in weighted samples. */
  ridge: number
}

const binCount = 48

function thresholdsOf(training: Training): number[][] {
  const { width, values } = training
  const rows = values.length / width
  return Array.from({ length: width }, (_, f) => {
    const column = Float64Array.from({ length: rows }, (_, i) => values[i * width + f] as number).sort()
    const cuts = new Set<number>()
    for (let b = 1; b < binCount; b++)
      cuts.add(Number((column[Math.floor((b * rows) / binCount)] as number).toPrecision(4)))
    // Tails matter for rare classes: cut them finer.
    for (const q of [0.002, 0.005, 0.01, 0.015, 0.985, 0.99, 0.995, 0.998])
      cuts.add(Number((column[Math.floor(q * rows)] as number).toPrecision(4)))
    return [...cuts].sort((a, b) => a - b)
  })
}

function binRows(training: Training, cuts: number[][]): Uint8Array {
  const { width, values } = training
  return Uint8Array.from(values, (value, i) => {
    const own = cuts[i % width] as number[]
    let low = 0
    let high = own.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (value > (own[middle] as number)) low = middle + 1
      else high = middle
    }
    return low
  })
}

/** Best split of every node of one level. */
function bestSplits(
  bins: Uint8Array,
  cuts: number[][],
  nodes: Int32Array,
  count: number,
  g: Float64Array,
  h: Float64Array,
  ridge: number,
) {
  const width = cuts.length
  const size = 64
  const sumG = new Float64Array(count * width * size)
  const sumH = new Float64Array(count * width * size)
  for (let i = 0; i < nodes.length; i++) {
    const base = (nodes[i] as number) * width
    for (let f = 0; f < width; f++) {
      const at = (base + f) * size + (bins[i * width + f] as number)
      sumG[at] = (sumG[at] as number) + (g[i] as number)
      sumH[at] = (sumH[at] as number) + (h[i] as number)
    }
  }
  return Array.from({ length: count }, (_, node) => {
    let best = { gain: 1e-9, feature: 0, bin: 255 }
    for (let f = 0; f < width; f++) {
      const at = (node * width + f) * size
      let allG = 0
      let allH = 0
      for (let b = 0; b < size; b++) {
        allG += sumG[at + b] as number
        allH += sumH[at + b] as number
      }
      let leftG = 0
      let leftH = 0
      for (let b = 0; b < (cuts[f] as number[]).length; b++) {
        leftG += sumG[at + b] as number
        leftH += sumH[at + b] as number
        const rightH = allH - leftH
        if (leftH < 1 || rightH < 1) continue
        const gain = leftG ** 2 / (leftH + ridge) + (allG - leftG) ** 2 / (rightH + ridge) - allG ** 2 / (allH + ridge)
        if (gain > best.gain) best = { gain, feature: f, bin: b }
      }
    }
    return best
  })
}

/** Trains a table. */
export function boost(training: Training, options: BoostOptions): TreeTable {
  const { depth, trees, rate, ridge } = options
  const { width, targets, weights } = training
  const rows = targets.length
  const cuts = thresholdsOf(training)
  const bins = binRows(training, cuts)
  const scores = new Float64Array(rows)
  const g = new Float64Array(rows)
  const h = new Float64Array(rows)
  const table = { depth, features: [] as number[], thresholds: [] as number[], leaves: [] as number[] }
  for (let t = 0; t < trees; t++) {
    for (let i = 0; i < rows; i++) {
      const p = 1 / (1 + Math.exp(-(scores[i] as number)))
      g[i] = ((targets[i] as number) - p) * (weights[i] as number)
      h[i] = Math.max(1e-6, p * (1 - p)) * (weights[i] as number)
    }
    const nodes = new Int32Array(rows)
    for (let level = 0; level < depth; level++) {
      const splits = bestSplits(bins, cuts, nodes, 2 ** level, g, h, ridge)
      for (const { feature, bin } of splits) {
        table.features.push(feature)
        table.thresholds.push(bin === 255 ? 1e9 : ((cuts[feature] as number[])[bin] as number))
      }
      for (let i = 0; i < rows; i++) {
        const node = nodes[i] as number
        const { feature, bin } = splits[node] as { feature: number; bin: number }
        nodes[i] = 2 * node + ((bins[i * width + feature] as number) > bin ? 1 : 0)
      }
    }
    const leafG = new Float64Array(2 ** depth)
    const leafH = new Float64Array(2 ** depth)
    for (let i = 0; i < rows; i++) {
      const node = nodes[i] as number
      leafG[node] = (leafG[node] as number) + (g[i] as number)
      leafH[node] = (leafH[node] as number) + (h[i] as number)
    }
    const leaves = Array.from(leafG, (value, k) => Math.round((1000 * rate * value) / ((leafH[k] as number) + ridge)))
    table.leaves.push(...leaves)
    for (let i = 0; i < rows; i++) scores[i] = (scores[i] as number) + (leaves[nodes[i] as number] as number) / 1000
  }
  return table
}

/** Source text of a module that holds tables. */
export function moduleOf(comment: string, tables: Record<string, TreeTable>): string {
  const parts = Object.entries(tables).map(
    ([name, { depth, features, thresholds, leaves }]) => `/** ${name}: see the head of this file. */
// biome-ignore format: a table
export const ${name}: TreeTable = {
  depth: ${depth},
  features: [${features.join(',')}],
  thresholds: [${thresholds.join(',')}],
  leaves: [${leaves.join(',')}],
}
`,
  )
  return `${comment}\nimport type { TreeTable } from './trees.ts'\n\n${parts.join('\n')}`
}
