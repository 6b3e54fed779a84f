/** Who of the consortium needs somebody to do something. */
import type { Evidence, NodesView } from './model.ts'

/** Ranks of the nodes that were shown to have done wrong, and are still there. */
export function accusedRanks(evidence: readonly Evidence[]): ReadonlySet<number> {
  return new Set(evidence.flatMap(({ rank, settled }) => (rank === null || settled ? [] : [rank])))
}

/** Names of the members that are not well or did wrong, then of the stores that are away or lack blocks. Nothing depends on who is no member. */
export function needAttention({ nodes, stores }: NodesView, accused: ReadonlySet<number>): string[] {
  const bad = nodes.filter(
    ({ isMember, fault, ready, rank }) => isMember && (fault !== null || ready !== true || accused.has(rank)),
  )
  const badStores = (stores ?? []).filter(({ fault, below }) => fault !== null || (below ?? 0) > 0)
  return [...bad, ...badStores].map(({ name }) => name)
}
