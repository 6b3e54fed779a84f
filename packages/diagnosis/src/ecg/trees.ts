/** Boosted trees of one fixed depth: comparisons and sums of whole numbers, so that every engine gives the same answer. */

/** A trained table. Tree t has 2^depth - 1 splits in level order and 2^depth leaves. */
export interface TreeTable {
  depth: number
  /** Index of the feature that each split looks at. */
  features: readonly number[]
  /** A value at or below goes left. */
  thresholds: readonly number[]
  /** Thousandths of a logit. */
  leaves: readonly number[]
}

/** Sum of the leaves that `values` reaches, in thousandths of a logit; above 0 = more likely than not. */
export function sumTrees(table: TreeTable, values: Float64Array): number {
  const { depth, features, thresholds, leaves } = table
  const splits = (1 << depth) - 1
  const trees = leaves.length / (splits + 1)
  let sum = 0
  for (let t = 0; t < trees; t++) {
    let node = 0
    while (node < splits) {
      const at = t * splits + node
      const isRight = (values[features[at] as number] as number) > (thresholds[at] as number)
      node = 2 * node + (isRight ? 2 : 1)
    }
    sum += leaves[t * (splits + 1) + node - splits] as number
  }
  return sum
}
