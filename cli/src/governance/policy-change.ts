/** A new policy from the one in force: nodes and stores join, leave, or get other keys; q follows. */
import type { GovernedNode, PolicyArgument } from '@healthblock/chain/governing'
import { rankedNodes } from '@healthblock/chain/policy'
import { rulesOfOwners } from '@healthblock/chain/rules'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import { CommandError } from '../io.ts'
import { type Card, isStoreCard, type NodeCard, type StoreCard } from './card.ts'
import { type GoverningState, rulesInForce } from './state.ts'

/** What is to be different. Nodes are named by account (hex) or rank. */
export interface PolicyChange {
  readonly q?: number
  readonly add: readonly Card[]
  /** Cards with the account of a node or store that is in the policy. */
  readonly replace: readonly Card[]
  readonly remove: readonly string[]
  /** Accounts (hex) of stores to be removed. */
  readonly removeStores: readonly string[]
  /** Accounts (hex) of organisations whose nodes and stores are all removed. */
  readonly removeOrganisations: readonly string[]
  /** Last sizes of Userchain and Docchain that replaced keys signed for their nodes; the newest published ones if absent. */
  readonly lastSizes?: readonly [userchain: number, docchain: number]
  /** Also a change that stands or falls with the very node that it is about. */
  readonly isForced?: boolean
}

function keysOf({ keys }: NodeCard): [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array] {
  return keys.map((key) => fromHex(key)) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
}

/** The least q with 2q > n + f, f = floor((n - 1) / 3): the quorum that one bad node of four cannot outwit. */
export function quorumFor(nodeCount: number): number {
  return nodeCount - Math.floor((nodeCount - 1) / 3)
}

/**
 * While q is the number of nodes, a node whose keys are replaced or that is removed must itself sign that change, and the ledger stands
 * still from then on until it runs with its new keys; if it cannot, for good.
 */
function checkSpareNode({ policy }: GoverningState, ranks: readonly number[]): void {
  const count = rankedNodes(policy).length
  const [rank] = ranks
  if (rank === undefined || count === 1 || policy.q < count) return
  throw new CommandError(
    `every one of the ${count} nodes must sign each block now (q = ${policy.q}), so this change needs node ${rank} itself: with its old keys until the change is ` +
      `published, with its new ones to decide anything after it. First let one be spared, while all of them sign: "org propose policy --q ${count - 1}"; then ` +
      `change the node, then raise q again. If its keys are lost already, nothing can be decided any more: "ledger successor". (--force proposes it all the same)`,
  )
}

/** A policy that no ledger would take is not worth anybody's signature. */
function checkPolicy(state: GoverningState, { q, nodes, stores }: Omit<PolicyArgument, 'last'>): void {
  const [least, count] = [Math.floor(nodes.length / 2) + 1, nodes.length]
  if (count === 0) throw new CommandError('no node would be left to cosign')
  if (q < least || q > count)
    throw new CommandError(`q = ${q} cannot be: of ${count} nodes ${least} to ${count} cosign`)
  const encode = (policy: unknown): Uint8Array => encodeCbor(policy as CborValue)
  const now = [state.policy.q, rankedNodes(state.policy).map(({ rank, node }) => [rank, ...node]), state.policy.stores]
  if (equalBytes(encode(now), encode([q, nodes, stores]))) throw new CommandError('nothing would change')
}

function nodeCards(cards: readonly Card[]): NodeCard[] {
  return cards.filter((card): card is NodeCard => !isStoreCard(card))
}

/** The stores from now on. @throws {CommandError} for one that is not there, or that would be there twice. */
function changedStores({ policy }: GoverningState, change: PolicyChange): PolicyArgument['stores'] {
  const entryOf = ({ account, organisation, storeKey, peer }: StoreCard): PolicyArgument['stores'][number] => [
    ...([fromHex(organisation), fromHex(account), fromHex(storeKey), fromHex(peer)] as const),
  ]
  const known = policy.stores.map(([, account]) => toHex(account))
  const check = (account: string, isToBeHere: boolean): void => {
    if (known.includes(account) === isToBeHere) return
    throw new CommandError(
      isToBeHere ? `no store of the policy in force is "${account}"` : `${account} is a store already`,
    )
  }
  for (const account of change.removeStores) check(account, true)
  const cards = new Map(change.replace.filter(isStoreCard).map((card) => [card.account, card]))
  for (const account of cards.keys()) check(account, true)
  const joined = change.add.filter(isStoreCard)
  for (const { account } of joined) check(account, false)
  const stay = policy.stores
    .filter(
      ([org, account]) =>
        !change.removeStores.includes(toHex(account)) && !change.removeOrganisations.includes(toHex(org)),
    )
    .map((store) => {
      const [org, account] = store
      const card = cards.get(toHex(account))
      return card === undefined ? store : entryOf({ ...card, organisation: toHex(org) })
    })
  return [...stay, ...joined.map(entryOf)]
}

/**
 * The argument of the act.
 *
 * @throws {CommandError} for a node or store that is not there, or that would be there twice; for new keys or a removal while every node must sign;
 *   for a quorum that cannot be, or a policy that changes nothing.
 */
export function changedPolicy(state: GoverningState, change: PolicyChange): PolicyArgument {
  const known = rankedNodes(state.policy)
  const rankOf = (name: string): number => {
    const found = known.find(({ rank, account }) => String(rank) === name || toHex(account) === name)
    if (found === undefined) throw new CommandError(`no node of the policy in force is "${name}"`)
    return found.rank
  }
  const gone = new Set(change.remove.map(rankOf))
  for (const { rank, org } of known) if (change.removeOrganisations.includes(toHex(org))) gone.add(rank)
  const cards = new Map(nodeCards(change.replace).map((card) => [rankOf(card.account), card]))
  if (change.isForced !== true) checkSpareNode(state, [...gone, ...cards.keys()])
  const stay = known
    .filter(({ rank }) => !gone.has(rank))
    .map(({ rank, org, account, node }): GovernedNode => {
      const card = cards.get(rank)
      return card === undefined ? [rank, ...node] : [rank, org, account, ...keysOf(card)]
    })
  const joined = nodeCards(change.add).map((card, i): GovernedNode => {
    const account = fromHex(card.account)
    if (stay.some((node) => equalBytes(node[2], account))) throw new CommandError(`${card.account} is a node already`)
    return [state.rankMax + 1 + i, fromHex(card.organisation), account, ...keysOf(card)]
  })
  const nodes = [...stay, ...joined]
  const stores = changedStores(state, change)
  const isSameCount = nodes.length === known.length
  const q = change.q ?? (isSameCount ? state.policy.q : quorumFor(nodes.length))
  checkPolicy(state, { q, nodes, stores })
  // Versions never fall, so what may be named now may be when it is judged.
  const mayNameLogs = rulesInForce(state) >= rulesOfOwners
  const lastSizes = change.lastSizes ?? [state.size, state.docchainSize]
  const last = known.flatMap(({ rank, node }) => {
    const next = nodes.find(([other]) => other === rank)
    const [, , , ulog, ucos, dlog, dcos] = node
    const keys = [
      [ulog, next?.[4], lastSizes[0], mayNameLogs],
      [ucos, next?.[5], lastSizes[0], true],
      [dlog, next?.[6], lastSizes[1], mayNameLogs],
      [dcos, next?.[7], lastSizes[1], true],
    ] as const
    return keys.flatMap(([key, after, lastSize, isNamed]) =>
      !isNamed || (after !== undefined && equalBytes(after, key)) ? [] : [[key, lastSize] as const],
    )
  })
  return { q, nodes, stores, last }
}
