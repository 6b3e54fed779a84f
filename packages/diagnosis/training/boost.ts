/**
 * Gradient boosting of trees of one depth on a logistic loss, for two classes or for several. Each tree sees half of the features and most of the rows, drawn from a seeded generator, so that
 * the same rows give the same table. The output is a `TreeTable`.
 */
import type { TreeTable } from '../src/ecg/trees.ts'

/** Samples to train on: `rows` by `width` values, a target of 0 or 1 (or the number of a class) and a weight for each row. */
export interface Training {
  width: number
  values: Float32Array
  targets: Uint8Array
  weights: Float64Array
}

/** How to train. */
export interface BoostOptions {
  depth: number
  trees: number
  rate: number
  /** Ridge on the leaves, and least hessian of a leaf, in weighted samples. */
  ridge: number
  leafLeast: number
  /** Shares of the features and of the rows that a tree sees. */
  featureShare: number
  rowShare: number
  seed: number
}

const binCount = 56
const binSize = 64

/** Numbers in [0, 1) from a seed (a 32-bit multiply and xor-shift generator). */
export function createGenerator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }
}

function thresholdsOf({ width, values }: Training): number[][] {
  const rows = values.length / width
  return Array.from({ length: width }, (_, f) => {
    const column = Float64Array.from({ length: rows }, (_, i) => values[i * width + f] as number).sort()
    const cuts = new Set<number>()
    const cut = (q: number) => cuts.add(Number((column[Math.floor(q * rows)] as number).toPrecision(4)))
    for (let b = 1; b < binCount; b++) cut(b / binCount)
    // Tails matter for rare classes: cut them finer.
    for (const q of [0.002, 0.006, 0.994, 0.998]) cut(q)
    return [...cuts].sort((a, b) => a - b)
  })
}

/** Bins by feature: bins[f * rows + i]. */
function binRows({ width, values }: Training, cuts: number[][]): Uint8Array {
  const rows = values.length / width
  const bins = new Uint8Array(values.length)
  for (let f = 0; f < width; f++) {
    const own = cuts[f] as number[]
    for (let i = 0; i < rows; i++) {
      const value = values[i * width + f] as number
      let low = 0
      let high = own.length
      while (low < high) {
        const middle = (low + high) >> 1
        if (value > (own[middle] as number)) low = middle + 1
        else high = middle
      }
      bins[f * rows + i] = low
    }
  }
  return bins
}

interface Split {
  gain: number
  feature: number
  bin: number
}

/** Looks for a better split of every node of one level in one feature. */
function improve(
  best: Split[],
  sumG: Float64Array,
  sumH: Float64Array,
  feature: number,
  bins: number,
  o: BoostOptions,
) {
  for (const [node, split] of best.entries()) {
    const at = node * binSize
    let allG = 0
    let allH = 0
    for (let b = 0; b < binSize; b++) {
      allG += sumG[at + b] as number
      allH += sumH[at + b] as number
    }
    let leftG = 0
    let leftH = 0
    for (let b = 0; b < bins; b++) {
      leftG += sumG[at + b] as number
      leftH += sumH[at + b] as number
      const rightH = allH - leftH
      if (leftH < o.leafLeast || rightH < o.leafLeast) continue
      const gain =
        leftG ** 2 / (leftH + o.ridge) + (allG - leftG) ** 2 / (rightH + o.ridge) - allG ** 2 / (allH + o.ridge)
      if (gain > split.gain) Object.assign(split, { gain, feature, bin: b })
    }
  }
}

/** Grows trees on one set of rows; of one call of `grow` the next may see where it put the rows. */
class Grower {
  readonly #cuts: number[][]
  readonly #bins: Uint8Array
  readonly #nodes: Uint16Array
  readonly #sumG: Float64Array
  readonly #sumH: Float64Array
  readonly #options: BoostOptions
  readonly #width: number
  readonly #leaf: (sum: number, hessian: number) => number
  #leaves: number[] = []

  constructor(training: Training, options: BoostOptions, shrink = 1) {
    this.#cuts = thresholdsOf(training)
    this.#bins = binRows(training, this.#cuts)
    this.#nodes = new Uint16Array(training.targets.length)
    this.#sumG = new Float64Array(2 ** options.depth * binSize)
    this.#sumH = new Float64Array(2 ** options.depth * binSize)
    this.#options = options
    this.#width = training.width
    this.#leaf = (sum, hessian) => (shrink * options.rate * sum) / (hessian + options.ridge)
  }

  /** Adds a tree to `table` by gradients and hessians of the rows. */
  grow(table: GrownTable, g: Float64Array, h: Float64Array, random: () => number): void {
    const { depth, featureShare } = this.#options
    const rows = g.length
    const nodes = this.#nodes
    const used = Array.from({ length: this.#width }, (_, f) => f).filter(() => random() < featureShare)
    nodes.fill(0)
    for (let level = 0; level < depth; level++) {
      const best = this.#splits(2 ** level, used, g, h)
      for (const { feature, bin } of best) {
        table.features.push(feature)
        table.thresholds.push(bin === 255 ? 1e9 : ((this.#cuts[feature] as number[])[bin] as number))
      }
      for (let i = 0; i < rows; i++) {
        const { feature, bin } = best[nodes[i] as number] as Split
        nodes[i] = 2 * (nodes[i] as number) + ((this.#bins[feature * rows + i] as number) > bin ? 1 : 0)
      }
    }
    this.#leaves = leavesOf(nodes, g, h, 2 ** depth, this.#leaf)
    table.leaves.push(...this.#leaves)
  }

  #splits(count: number, used: readonly number[], g: Float64Array, h: Float64Array): Split[] {
    const best: Split[] = Array.from({ length: count }, () => ({ gain: 1e-9, feature: 0, bin: 255 }))
    const [sumG, sumH, nodes, bins] = [this.#sumG, this.#sumH, this.#nodes, this.#bins]
    for (const f of used) {
      sumG.fill(0, 0, count * binSize)
      sumH.fill(0, 0, count * binSize)
      const base = f * g.length
      for (let i = 0; i < g.length; i++) {
        const at = (nodes[i] as number) * binSize + (bins[base + i] as number)
        sumG[at] = (sumG[at] as number) + (g[i] as number)
        sumH[at] = (sumH[at] as number) + (h[i] as number)
      }
      improve(best, sumG, sumH, f, (this.#cuts[f] as number[]).length, this.#options)
    }
    return best
  }

  /** Adds to each row's score what the newest tree says of it. */
  score(scores: Float64Array): void {
    for (let i = 0; i < scores.length; i++)
      scores[i] = (scores[i] as number) + (this.#leaves[this.#nodes[i] as number] as number) / 1000
  }
}

type GrownTable = { depth: number; features: number[]; thresholds: number[]; leaves: number[] }
const emptyTable = (depth: number): GrownTable => ({ depth, features: [], thresholds: [], leaves: [] })

/** Trains a table. */
export function boost(training: Training, options: BoostOptions): TreeTable {
  const { targets, weights } = training
  const rows = targets.length
  const random = createGenerator(options.seed)
  const grower = new Grower(training, options)
  const scores = new Float64Array(rows)
  const g = new Float64Array(rows)
  const h = new Float64Array(rows)
  const table = emptyTable(options.depth)
  for (let t = 0; t < options.trees; t++) {
    for (let i = 0; i < rows; i++) {
      const p = 1 / (1 + Math.exp(-(scores[i] as number)))
      const weight = random() < options.rowShare ? (weights[i] as number) : 0
      g[i] = ((targets[i] as number) - p) * weight
      h[i] = Math.max(1e-6, p * (1 - p)) * weight
    }
    grower.grow(table, g, h, random)
    grower.score(scores)
  }
  return table
}

/**
 * Trains one table for each of `classes` classes on the loss of all together (softmax): the tables' sums are compared with each other. `targets` are the numbers of
 * the classes; `trees` is per class.
 */
export function boostClasses(training: Training, classes: number, options: BoostOptions): TreeTable[] {
  const { targets, weights } = training
  const rows = targets.length
  const random = createGenerator(options.seed)
  const grower = new Grower(training, options, (classes - 1) / classes)
  const scores = Array.from({ length: classes }, () => new Float64Array(rows))
  const chances = Array.from({ length: classes }, () => new Float64Array(rows))
  const drawn = new Float64Array(rows)
  const g = new Float64Array(rows)
  const h = new Float64Array(rows)
  const tables = Array.from({ length: classes }, () => emptyTable(options.depth))
  for (let t = 0; t < options.trees; t++) {
    for (let i = 0; i < rows; i++) {
      drawn[i] = random() < options.rowShare ? (weights[i] as number) : 0
      const powers = scores.map((own) => Math.exp(own[i] as number))
      const sum = powers.reduce((a, b) => a + b, 0)
      for (const [k, power] of powers.entries()) (chances[k] as Float64Array)[i] = power / sum
    }
    for (const [k, table] of tables.entries()) {
      const own = chances[k] as Float64Array
      for (let i = 0; i < rows; i++) {
        const p = own[i] as number
        g[i] = ((targets[i] === k ? 1 : 0) - p) * (drawn[i] as number)
        h[i] = Math.max(1e-6, p * (1 - p)) * (drawn[i] as number)
      }
      grower.grow(table, g, h, random)
      grower.score(scores[k] as Float64Array)
    }
  }
  return tables
}

function leavesOf(
  nodes: Uint16Array,
  g: Float64Array,
  h: Float64Array,
  count: number,
  leafOf: (sum: number, hessian: number) => number,
) {
  const leafG = new Float64Array(count)
  const leafH = new Float64Array(count)
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i] as number
    leafG[node] = (leafG[node] as number) + (g[i] as number)
    leafH[node] = (leafH[node] as number) + (h[i] as number)
  }
  return Array.from(leafG, (value, k) => Math.round(1000 * leafOf(value, leafH[k] as number)))
}

/** Source text of a table. */
export function tableText({ depth, features, thresholds, leaves }: TreeTable): string {
  return `{\n  depth: ${depth},\n  features: [${features.join(',')}],\n  thresholds: [${thresholds.join(',')}],\n  leaves: [${leaves.join(',')}],\n}`
}

/** Source text of a module that holds tables; `from` is where it finds `TreeTable`. */
export function moduleOf(comment: string, tables: Record<string, TreeTable>, from = './trees.ts'): string {
  const parts = Object.entries(tables).map(
    ([name, table]) => `/** ${name}: see the head of this file. */
// biome-ignore format: a table
export const ${name}: TreeTable = ${tableText(table)}
`,
  )
  return `// biome-ignore-all lint/suspicious/noApproximativeNumericConstant: trained values\n${comment}\nimport type { TreeTable } from '${from}'\n\n${parts.join('\n')}`
}
