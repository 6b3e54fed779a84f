/** Records of the replayed state, compared with what every node proves under the cosigned head. */
import type { LedgerStores } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { LiveNode, Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'

/** Records of each chain that every node is asked for. */
export const recordsAskedMax = 16
const pathMax = new Uint8Array(32).fill(0xff)

/** A chain's state as replay left it. */
export interface ReplayedState {
  readonly chain: ChainName
  readonly size: number
  readonly store: LedgerStores[ChainName]
  /** Where the sample begins: a hash that nobody could foresee. */
  readonly salt: Uint8Array
}

/** Asks every node for the same records. Returns in words what was not checked. */
export async function compareState(nodes: Nodes, state: ReplayedState, findings: FindingList): Promise<string[]> {
  const keys = sampleOf(state)
  const counts: Record<Outcome, number> = { done: 0, newer: 0, refused: 0 }
  await Promise.all(
    nodes.answering.map(async (node) => {
      for (const record of keys) counts[await compareRecord(nodes, node, { ...state, ...record }, findings)]++
    }),
  )
  const { newer, refused } = counts
  const asked = `${keys.length} of ${state.store.leaves.count()}`
  const words = `records of the state of ${state.chain}, but for ${asked}, which were asked for`
  return [
    newer === 0 ? words : `${words}; ${newer} answers were of another height than the audited one`,
    ...(refused === 0 ? [] : [`${refused} questions for records of the state of ${state.chain} were refused`]),
  ]
}

/** What came of asking one node for one record: `done` with or without a finding; `newer`: of another height than the audited one. */
type Outcome = 'done' | 'newer' | 'refused'

function sampleOf({ store, salt }: ReplayedState): { key: Uint8Array; value: Uint8Array }[] {
  const sample: { key: Uint8Array; value: Uint8Array }[] = []
  for (const first of [salt, new Uint8Array(32)]) {
    for (const { key, value } of store.leaves.range(first, first === salt ? pathMax : salt)) {
      if (sample.length >= recordsAskedMax) return sample
      sample.push({ key, value })
    }
  }
  return sample
}

/** A node that proves another record, or answers what proves nothing, is a finding; one that refuses to answer accuses nobody. */
async function compareRecord(
  nodes: Nodes,
  node: LiveNode,
  record: ReplayedState & { readonly key: Uint8Array; readonly value: Uint8Array },
  findings: FindingList,
): Promise<Outcome> {
  const { chain, key, size, value } = record
  const asked = await nodes.ask(node, (client, url) => client.state(chain, key, { url }))
  if (asked.kind === 'gone') return 'done'
  if (asked.kind === 'refused') return 'refused'
  if (asked.kind === 'answer') {
    if (asked.value.size !== size) return 'newer'
    if (asked.value.value !== undefined && equalBytes(asked.value.value, value)) return 'done'
  }
  const reason = asked.kind === 'wrong' ? asked.reason : 'another value'
  const message = `${node.name} does not prove a record of the state of ${chain} that replay computed: ${reason}`
  findings.add({ code: 'state.mismatch', chain, index: size - 1, node: node.name, message })
  return 'done'
}
