/** `org node`: secrets and card of an accounting or storage node of this cluster, and its place in the cluster's plan. */
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { rankedNodes } from '@healthblock/chain/policy'
import { toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { accountOfNode } from '../cluster/addresses.ts'
import { renewEtcdUsers } from '../cluster/etcd.ts'
import { changeCluster, clusterFolder, clusterPaths, type NodePlan, readCluster } from '../cluster/layout.ts'
import { stopProcess } from '../cluster/processes.ts'
import {
  type Card,
  createNodeSecrets,
  createStoreSecrets,
  isStoreCard,
  readCard,
  renewStoreSecrets,
} from '../governance/card.ts'
import type { GoverningState } from '../governance/state.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { takePositionals } from '../options.ts'
import { governing, need, nodeNamed, type OrgRequest, type OrgValues, organisationNamed } from './org-request.ts'

/** An accounting or storage node of this cluster's plan, and where its things are. */
interface PlannedNode {
  readonly dir: string
  readonly name: string
  readonly role: 'accounting' | 'storage'
  readonly folder: string
  readonly card: string
  readonly plan: NodePlan | undefined
}

async function savePlan({ dir, name, plan }: PlannedNode, next: NodePlan): Promise<void> {
  await changeCluster(dir, (latest) => {
    const changed = latest.nodes.map((node) => (node.name === name ? next : node))
    return { ...latest, nodes: plan === undefined ? [...latest.nodes, next] : changed }
  })
}

/** What a node's or a store's card would say of its keys by the policy in force. */
function keysInForce({ policy }: GoverningState, account: string): string[] {
  const entry = [...rankedNodes(policy).map(({ node }) => node), ...policy.stores].find(
    (one) => toHex(one[1]) === account,
  )
  return (entry?.slice(2) ?? []).map((key) => toHex(key))
}

/** The renewed secrets take the place of the old ones, which are kept. */
async function switchSecrets(node: PlannedNode, values: OrgValues): Promise<string> {
  const { folder, card, plan, name } = node
  if (plan === undefined || !existsSync(join(folder, 'secrets.next')))
    throw new CommandError(`${name} has no new secrets`)
  const made = readCard(card)
  const { account, organisation } = made
  if (values.force !== true) {
    // With its new keys it is no member before that, and with q = all nodes its old ones are needed to publish the change.
    const { state } = await governing(values)
    const keys = isStoreCard(made) ? [made.storeKey, made.peer] : made.keys
    if (keysInForce(state, account).join() !== keys.join()) {
      throw new CommandError(
        `the new keys of ${name} are not on record: submit the proposal with its card first, or nothing that it signs counts (--force switches all the same)`,
      )
    }
  }
  await savePlan(node, { ...plan, account, organisation })
  const secrets = join(folder, 'secrets')
  // Given again after it was interrupted between the two, it goes on.
  if (existsSync(secrets)) renameSync(secrets, `${secrets}.${Date.now()}`)
  renameSync(`${secrets}.next`, secrets)
  if (node.role === 'accounting') await renewEtcdUsers(node.dir, readCluster(node.dir))
  return account
}

/** The others keep their ranks and accounts, which until now followed from their places. */
async function dropNode(
  { dir, plan, name, folder }: PlannedNode,
  values: OrgValues,
  genesis: Uint8Array,
): Promise<void> {
  if (plan === undefined) throw new CommandError(`there is no node "${name}" here`)
  if (values.force !== true) {
    const { state } = await governing(values)
    if (keysInForce(state, nodeNamed(name, values, genesis)).length > 0) {
      throw new CommandError(
        `${name} is in the policy in force, so the others go on counting on it: "org suspend ${name}" first; to stop it for a while, "down --node ${name}" (--force drops it all the same)`,
      )
    }
  }
  await stopProcess(folder)
  await changeCluster(dir, (latest) => {
    let position = 0
    const pinned = latest.nodes.map((node): NodePlan => {
      if (node.role === 'accounting') return { ...node, rank: node.rank ?? position++ }
      const account = node.role === 'storage' ? accountOfNode(latest, node.name, parseGenesis(genesis)) : undefined
      return account === undefined ? node : { ...node, account }
    })
    return { ...latest, nodes: pinned.filter((node) => node.name !== name) }
  })
}

async function renewNode({ name, role, folder }: PlannedNode, values: OrgValues, genesis: Uint8Array): Promise<Card> {
  const { state } = await governing(values)
  const account = nodeNamed(name, values, genesis)
  const { policy } = state
  const members = [...rankedNodes(policy), ...policy.stores.map(([org, store]) => ({ org, account: store }))]
  const member = members.find((one) => toHex(one.account) === account)
  if (member === undefined) {
    const opKey = role === 'accounting' ? ' --op-key FILE' : ''
    throw new CommandError(
      `${name} is not in the policy in force: one that was suspended comes back as a new one ("org node ${name} --drop", then "org node ${name} --organisation ORG${opKey}", and "org propose policy --add" its card)`,
    )
  }
  const organisation = toHex(member.org)
  const [from, next] = [join(folder, 'secrets'), join(folder, 'secrets.next')]
  if (role === 'storage') return renewStoreSecrets(next, { from, account, organisation })
  const opKey = values['op-key'] ?? join(from, 'organisation-op.key')
  return createNodeSecrets(next, { ledgerId: ledgerIdOf(genesis), organisation, opKey, account })
}

async function newNode(node: PlannedNode, values: OrgValues, genesis: Uint8Array): Promise<Card> {
  const { name, role, folder, plan } = node
  if (plan !== undefined) throw new CommandError(`there is a node "${name}" already: --renew makes it new keys`)
  const organisation = toHex(organisationNamed(need(values.organisation, 'organisation'), genesis))
  const options = { ledgerId: ledgerIdOf(genesis), organisation }
  const secrets = join(folder, 'secrets')
  if (role === 'storage') {
    const made = createStoreSecrets(secrets, options)
    await savePlan(node, { name, role, account: made.account, organisation })
    return made
  }
  const opKey = need(values['op-key'], 'op-key')
  const { state } = await governing(values)
  const made = createNodeSecrets(secrets, { ...options, opKey })
  await savePlan(node, { name, role, account: made.account, organisation, rank: state.rankMax + 1 })
  return made
}

/** A node's name is its folder's name in the cluster's. @throws {UsageError} for one that means another folder, or another kind of node. */
function roleOfNode(name: string, plan: NodePlan | undefined): PlannedNode['role'] {
  if (plan !== undefined) {
    if (plan.role === 'accounting' || plan.role === 'storage') return plan.role
    throw new UsageError(`"${name}" is neither an accounting nor a storage node`)
  }
  const role = /^(accounting|storage)-[a-z0-9-]{1,32}$/.exec(name)?.[1]
  if (role === undefined)
    throw new UsageError(
      `an accounting node is called accounting-…, a storage node storage-… (lower-case letters, digits, dashes), not "${name}"`,
    )
  return role as PlannedNode['role']
}

/** Makes secrets and card of an accounting or storage node, and notes it in the cluster's plan. */
export async function runNode({ values, rest, print }: OrgRequest): Promise<ExitCode> {
  const [name] = takePositionals(rest, ['NAME'])
  const dir = clusterFolder(values.dir)
  const folder = clusterPaths.node(dir, name)
  const plan = readCluster(dir).nodes.find((candidate) => candidate.name === name)
  const node: PlannedNode = { dir, name, role: roleOfNode(name, plan), folder, card: join(folder, 'card.json'), plan }
  const genesis = new Uint8Array(readFileSync(clusterPaths.genesis(dir)))
  if (values.switch === true) {
    const account = await switchSecrets(node, values)
    print({ name, account }, `${name} has its new secrets: start it again`)
    return 0
  }
  if (values.drop === true) {
    await dropNode(node, values, genesis)
    print({ name, dropped: true }, `${name} is stopped and no longer part of this cluster; its folder stays`)
    return 0
  }
  const isRenewal = values.renew === true
  const made = isRenewal ? await renewNode(node, values, genesis) : await newNode(node, values, genesis)
  writeFileDurably(node.card, `${JSON.stringify(made, null, 2)}\n`)
  const words = isRenewal
    ? `new secrets of ${name} wait in ${folder}/secrets.next; propose its card ${node.card} with --replace`
    : `secrets of ${name} are in ${folder}; propose its card ${node.card} with --add`
  print({ name, card: node.card, ...made }, words)
  return 0
}
