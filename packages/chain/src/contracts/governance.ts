/** The organisations govern the ledger together (SPEC.md §6: govern): members, policy, parameters, rules. */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Verdict } from '../block/block-types.ts'
import { ChainError } from '../errors.ts'
import { genesisAccount } from '../policy/genesis.ts'
import {
  type GovernArguments,
  type GovernedNode,
  governActs,
  type ParametersArgument,
  type PolicyArgument,
  parseGovernArgument,
} from '../policy/governing.ts'
import { type RankedNode, rankedNodes, rankMax } from '../policy/policy.ts'
import { policyAt } from '../state/live-at.ts'
import { rulesOfOwners } from '../state/rules.ts'
import { keyRoles, type PolicyRecord, type PolicyStore, type RulesRecord, userTables } from '../state/tables.ts'
import {
  areDistinct,
  closeKey,
  defer,
  includesBytes,
  isOrganisation,
  isSigningKey,
  newestKey,
  type RuleContext,
  refuse,
  replaceKey,
  type TransactionOf,
  useKey,
  valid,
} from './context.ts'

const roleOrganisation = 3
const roleNode = 4
const roleStore = 9

/** Accounts of the organisations in force, in the order of their admission. */
function organisationsOf({ state, genesisOrganisations }: RuleContext): readonly Uint8Array[] {
  return userTables.organisations.get(state) ?? genesisOrganisations
}

/** At least two thirds of the organisations in force, each with its root key; `a` is the lowest of them. */
function signed(transaction: TransactionOf<'govern'>, context: RuleContext): Verdict | undefined {
  const refused = refuse('govern.signature')
  const organisations = organisationsOf(context)
  const { signatures, body } = transaction
  if (signatures.length * 3 < organisations.length * 2) return refused
  const [first] = signatures
  if (first === undefined || !equalBytes(first.account, body.a)) return refused
  for (const signature of signatures) {
    // Pairs of account and key are distinct, so are the accounts.
    if (signature.key !== keyRoles.root || !includesBytes(organisations, signature.account)) return refused
    const publicKey = newestKey(context.state, signature.account, keyRoles.root)
    if (publicKey === undefined || !context.isGoodSignature(signature, publicKey)) return refused
  }
  return undefined
}

function order({ n }: TransactionOf<'govern'>['body'], { state }: RuleContext): Verdict | undefined {
  const last = userTables.governed.get(state) ?? 0
  if (n <= last) return refuse('govern.order')
  if (n > last + 1) return defer('govern.order', 'sequence')
  userTables.governed.set(state, n)
  return undefined
}

/** `govern`: one act, in the order of `n`. */
export function judgeGovern(transaction: TransactionOf<'govern'>, context: RuleContext): Verdict {
  const { body } = transaction
  const failed = signed(transaction, context) ?? order(body, context)
  if (failed !== undefined) return failed
  try {
    switch (body.act) {
      case governActs.admit:
        return admit(argumentOf(1, body.arg), context)
      case governActs.remove:
        return remove(argumentOf(2, body.arg), context)
      case governActs.policy:
        return setPolicy(argumentOf(3, body.arg), context)
      default:
        return setParameters(argumentOf(4, body.arg), context)
    }
  } catch (error) {
    if (!(error instanceof ChainError) || error.detail.code !== 'ERR_TRANSACTION_FORMAT') throw error
    return refuse('govern.arg')
  }
}

function argumentOf<A extends keyof GovernArguments>(act: A, arg: Uint8Array): GovernArguments[A] {
  return parseGovernArgument(act, arg)
}

function admit([account, quota]: GovernArguments[1], context: RuleContext): Verdict {
  const { state, index: o } = context
  const isRegistered = userTables.account.get(state, account)?.role === roleOrganisation
  if (!isRegistered || userTables.organisation.get(state, account) !== undefined) return refuse('govern.organisation')
  userTables.organisations.set(state, [...organisationsOf(context), account])
  userTables.organisation.set(state, { o }, account)
  userTables.quota.set(state, [quota, 0], account)
  return valid
}

function remove([account]: GovernArguments[2], context: RuleContext): Verdict {
  const { state, index, effects } = context
  const refused = refuse('govern.organisation')
  const record = userTables.organisation.get(state, account)
  if (record === undefined || record.c !== undefined) return refused
  const others = organisationsOf(context).filter((organisation) => !equalBytes(organisation, account))
  const { nodes, stores } = newestPolicy(context).policy
  const isInPolicy = [...nodes, ...stores].some(([org]) => equalBytes(org, account))
  if (others.length === 0 || isInPolicy) return refused
  userTables.organisations.set(state, others)
  userTables.organisation.set(state, { ...record, c: index }, account)
  for (const r of [keyRoles.root, keyRoles.op, keyRoles.kem]) closeKey(context, account, r)
  // Its doctors' licences are in force no more.
  effects.wakes = true
  return valid
}

function newestPolicy({ state }: RuleContext): { k: number; policy: PolicyRecord } {
  const newest = policyAt(state, Number.MAX_SAFE_INTEGER)
  if (newest === undefined) throw new ChainError('no policy is on record', { code: 'ERR_STATE_CORRUPT' })
  return newest
}

/** The highest rank that any policy ever had. */
function highestRank({ state }: RuleContext, k: number): number {
  let highest = 0
  for (let i = 0; i <= k; i++) {
    const policy = userTables.policy.get(state, i)
    if (policy !== undefined) highest = Math.max(highest, ...rankedNodes(policy).map(({ rank }) => rank))
  }
  return highest
}

function setPolicy(argument: PolicyArgument, context: RuleContext): Verdict {
  const { state, index: o, effects } = context
  const { k, policy: before } = newestPolicy(context)
  // A trail has one step for a block, so a block sets one policy.
  if (before.o >= context.firstIndex) return defer('govern.place', 'block')
  const { q, nodes, stores, last } = argument
  const known = rankedNodes(before)
  const isGood =
    2 * q > nodes.length &&
    q <= nodes.length &&
    areNodesGood(nodes, { known, highest: highestRank(context, k) }, context) &&
    areStoresGood(stores, before.stores, context)
  if (!isGood) return refuse('govern.policy')
  if (!areKeysGood(argument, before, context)) return refuse('govern.keys')
  const replaced = replacedKeys(known, nodes).filter(({ isNeeded }) => isNeeded || context.rules >= rulesOfOwners)
  if (!isLastGood(last, replaced)) return refuse('govern.last')
  userTables.policy.set(state, { ...before, c: o }, k)
  userTables.policy.set(
    state,
    {
      o,
      q,
      nodes: nodes.map(([, ...node]) => node),
      stores,
      ranks: nodes.map(([rank]) => rank),
      ...(last.length === 0 ? {} : { last }),
    },
    k + 1,
  )
  openAccounts(
    nodes.map(([, org, account, key]) => ({ org, account, key })),
    roleNode,
    context,
  )
  openAccounts(
    stores.map(([org, account, key]) => ({ org, account, key })),
    roleStore,
    context,
  )
  for (const [, account] of [...before.nodes, ...before.stores]) {
    const stays = [...nodes.map((node) => node[2]), ...stores.map((store) => store[1])]
    if (!includesBytes(stays, account)) closeKey(context, account, keyRoles.node)
  }
  effects.wakes = true
  return valid
}

/** An account that may join: new, and named by its first key, or one that was here before, of the same organisation. */
function mayJoin(
  party: { account: Uint8Array; org: Uint8Array; key: Uint8Array; role: number },
  context: RuleContext,
): boolean {
  const record = userTables.account.get(context.state, party.account)
  if (record === undefined) return equalBytes(party.account, genesisAccount(context.ledgerId, party.key))
  return record.role === party.role && record.sponsor !== undefined && equalBytes(record.sponsor, party.org)
}

function areNodesGood(
  nodes: readonly GovernedNode[],
  { known, highest }: { known: readonly RankedNode[]; highest: number },
  context: RuleContext,
): boolean {
  if (!areDistinct(nodes.map(([, , account]) => account))) return false
  let previous = -1
  for (const [rank, org, account, key] of nodes) {
    if (rank <= previous || rank > rankMax || !isOrganisation(context, org)) return false
    previous = rank
    const before = known.find((node) => node.rank === rank)
    if (before !== undefined) {
      if (!equalBytes(before.account, account) || !equalBytes(before.org, org)) return false
      continue
    }
    const isHere = known.some((node) => equalBytes(node.account, account))
    if (isHere || rank <= highest || !mayJoin({ account, org, key, role: roleNode }, context)) return false
  }
  return true
}

function areStoresGood(stores: readonly PolicyStore[], known: readonly PolicyStore[], context: RuleContext): boolean {
  if (!areDistinct(stores.map(([, account]) => account))) return false
  return stores.every(([org, account, key]) => {
    if (!isOrganisation(context, org)) return false
    const before = known.find((store) => equalBytes(store[1], account))
    return before === undefined ? mayJoin({ account, org, key, role: roleStore }, context) : equalBytes(before[0], org)
  })
}

/** Every key that does not stand at the same place before is valid and was never used. */
function areKeysGood({ nodes, stores }: PolicyArgument, before: PolicyRecord, context: RuleContext): boolean {
  const isFresh = (key: Uint8Array) => isSigningKey(key) && useKey(context, key)
  const known = rankedNodes(before)
  for (const [rank, , , ...keys] of nodes) {
    const old = known.find((node) => node.rank === rank)?.node.slice(2) ?? []
    for (const [place, key] of keys.entries()) {
      const kept = old[place]
      if ((kept === undefined || !equalBytes(kept, key)) && !isFresh(key)) return false
    }
  }
  return stores.every(([, account, key]) => {
    const kept = before.stores.find((store) => equalBytes(store[1], account))?.[2]
    return (kept !== undefined && equalBytes(kept, key)) || isFresh(key)
  })
}

/** A note key that a new policy lacks. */
interface ReplacedKey {
  readonly key: Uint8Array
  /** True for a cosigner key, whose last size is named; false for a log key, whose may be. */
  readonly isNeeded: boolean
}

/** Note keys of the policy before that the new one lacks, by rank, Userchain's first, of each chain the log key first. */
function replacedKeys(known: readonly RankedNode[], nodes: readonly GovernedNode[]): ReplacedKey[] {
  return known.flatMap(({ rank, node }) => {
    const next = nodes.find((candidate) => candidate[0] === rank)?.slice(4)
    return node.slice(3).flatMap((key, i) => {
      const kept = next?.[i]
      return kept !== undefined && equalBytes(kept as Uint8Array, key) ? [] : [{ key, isNeeded: i % 2 === 1 }]
    })
  })
}

/** True if `last` names every key that is needed, maybe others of `replaced`, and nothing else, in their order. */
function isLastGood(last: PolicyArgument['last'], replaced: readonly ReplacedKey[]): boolean {
  let named = 0
  for (const { key, isNeeded } of replaced) {
    const isNamed = named < last.length && equalBytes((last[named] as readonly [Uint8Array, number])[0], key)
    if (isNamed) named++
    else if (isNeeded) return false
  }
  return named === last.length
}

function openAccounts(
  parties: readonly { org: Uint8Array; account: Uint8Array; key: Uint8Array }[],
  role: number,
  context: RuleContext,
): void {
  const { state, index: o } = context
  for (const { org, account, key } of parties) {
    if (userTables.account.get(state, account) === undefined) {
      userTables.account.set(state, { role, o, sponsor: org }, account)
    }
    const open = newestKey(state, account, keyRoles.node)
    if (open === undefined || !equalBytes(open, key)) replaceKey(context, account, keyRoles.node, key)
  }
}

function setParameters({ quota, rules }: ParametersArgument, context: RuleContext): Verdict {
  const { state, index: o } = context
  if (quota.length === 0 && rules === undefined) return refuse('govern.arg')
  const accounts = quota.map(([account]) => account)
  if (!areDistinct(accounts) || !accounts.every((account) => isOrganisation(context, account))) {
    return refuse('govern.quota')
  }
  for (const [account, maximum] of quota) {
    const [, used] = userTables.quota.get(state, account) ?? [0, 0]
    userTables.quota.set(state, [maximum, used], account)
  }
  if (rules === undefined) return valid
  const [version, from] = rules
  const { k, newest } = newestRules(context)
  const isHigher = version > (newest?.version ?? context.rules) && from >= (newest?.from ?? 0)
  if (!isHigher || from <= context.height) return refuse('govern.rules')
  userTables.rules.set(state, { o, version, from }, k)
  return valid
}

/** The newest version on record, whenever it begins, and the number of the next. */
function newestRules({ state }: RuleContext): { k: number; newest: RulesRecord | undefined } {
  let newest: RulesRecord | undefined
  for (let k = 0; ; k++) {
    const record = userTables.rules.get(state, k)
    if (record === undefined) return { k, newest }
    newest = record
  }
}
