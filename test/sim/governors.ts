/**
 * What the organisations decide in runs of the profile `governed`. First, while the ledger is young, the versions of the rules: each has to be
 * on record before the height that it names, and most runs come to that height. Acts are numbered: after one that is refused (for it came too
 * late) the others are not sent.
 */
import { genesisAccount } from '@healthblock/chain/genesis'
import { type GovernedNode, governActs, type PolicyArgument } from '@healthblock/chain/governing'
import { policyKeys, type SampleNodeKeys } from '../support/sample-ledger.ts'
import { bytesOf, type Item, keyOf, type Lane, type Party, type Scribe } from './scribe.ts'

/** Ranks of those to whom something happens in the course `grows`. */
export const governedRanks = { replaced: 1, joins: 4, leaves: 0 } as const

/** Nodes' keys by rank: those of genesis and, last, of the one that joins; and what `replaced` is given later. */
interface Keys {
  readonly nodes: readonly SampleNodeKeys[]
  readonly replacing: SampleNodeKeys
}

function governedOf(scribe: Scribe, org: Uint8Array, rank: number, first: SampleNodeKeys, now = first): GovernedNode {
  return [rank, org, genesisAccount(scribe.ledgerId, first.node.publicKey), ...policyKeys(now)]
}

function storesOf(scribe: Scribe): PolicyArgument['stores'] {
  const store = keyOf('store').publicKey
  return [[scribe.organisation.account, genesisAccount(scribe.ledgerId, store), store, bytesOf('peer', 38)]]
}

/** Cosigner keys that go, with the sizes that they signed last as far as the organisations know. */
function lastOf({ userchain, docchain }: SampleNodeKeys): PolicyArgument['last'] {
  return [userchain.cosigner, docchain.cosigner].map(({ publicKey }) => [publicKey, 2] as const)
}

const after = (n: number): string[] => (n === 1 ? [] : [`governors.act-${n - 1}`])

/** The n-th act: a version of the rules, and the height that it begins with. */
function rise(
  scribe: Scribe,
  n: number,
  rules: readonly [version: number, from: number],
  signers?: readonly Party[],
): Item {
  return scribe.govern(n, governActs.parameters, { quota: [], rules }, after(n), signers)
}

/** The rules rise twice, q rises and falls, a node goes, and all that are left must sign. */
function shrinks(scribe: Scribe, { nodes }: Keys): Item[] {
  const founders = nodes.slice(0, governedRanks.joins)
  const governed = founders.map((keys, rank) => governedOf(scribe, scribe.organisation.account, rank, keys))
  const stores = storesOf(scribe)
  const last = lastOf(founders.at(-1) as SampleNodeKeys)
  const few = governed.slice(0, -1)
  const policy = (n: number, argument: PolicyArgument) => scribe.govern(n, governActs.policy, argument, after(n))
  return [
    rise(scribe, 1, [3, 17]),
    rise(scribe, 2, [4, 21]),
    policy(3, { q: 4, nodes: governed, stores, last: [] }),
    policy(4, { q: 3, nodes: governed, stores, last: [] }),
    policy(5, { q: 2, nodes: few, stores, last }),
    policy(6, { q: 3, nodes: few, stores, last: [] }),
  ]
}

/** The rules rise to the newest at once, an organisation is admitted, its node joins, a node's keys are replaced, q rises, the first leader goes, and all that are left must sign. */
function grows(scribe: Scribe, { nodes, replacing }: Keys): Item[] {
  const { item: register, party: newcomer } = scribe.register('newcomer', 3)
  const both: readonly Party[] = [scribe.organisation, newcomer]
  const { replaced, joins, leaves } = governedRanks
  const organisationOf = (rank: number): Uint8Array => (rank === joins ? newcomer : scribe.organisation).account
  const before = nodes.map((keys, rank) => governedOf(scribe, organisationOf(rank), rank, keys))
  const now = nodes.map((keys, rank) =>
    governedOf(scribe, organisationOf(rank), rank, keys, rank === replaced ? replacing : keys),
  )
  const stores = storesOf(scribe)
  const policy = (n: number, argument: PolicyArgument) => scribe.govern(n, governActs.policy, argument, after(n), both)
  const rest = now.filter(([rank]) => rank !== leaves)
  return [
    rise(scribe, 1, [4, 17]),
    register,
    scribe.govern(2, governActs.admit, [newcomer.account, 10], [register.name]),
    policy(3, { q: 3, nodes: before, stores, last: [] }),
    policy(4, { q: 3, nodes: now, stores, last: lastOf(nodes[replaced] as SampleNodeKeys) }),
    policy(5, { q: 4, nodes: now, stores, last: [] }),
    policy(6, { q: 4, nodes: rest, stores, last: lastOf(nodes[leaves] as SampleNodeKeys) }),
  ]
}

/** Which way governed runs go. */
export const courses = ['shrinks', 'grows'] as const
/** Which way a governed run goes. */
export type Course = (typeof courses)[number]

/** The organisations' acts in each course. */
export function governorsOf(scribe: Scribe, keys: Keys): Readonly<Record<Course, Lane>> {
  const lane = (items: readonly Item[]): Lane => ({ name: 'governors', items })
  return { shrinks: lane(shrinks(scribe, keys)), grows: lane(grows(scribe, keys)) }
}
