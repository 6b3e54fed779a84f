/** Block 0 of Userchain: accounts, keys and the first policy from the genesis file (SPEC.md §2, §5). */
import { sha256 } from '@healthblock/crypto/hash'
import { type Genesis, genesisAccounts } from '../policy/genesis.ts'
import type { StateOverlay } from '../state/state.ts'
import { keyRoles, userTables } from '../state/tables.ts'

/** Sets everything that genesis opens, at index 0. On Docchain genesis has no effect. */
export function applyGenesis(state: StateOverlay, genesis: Genesis): void {
  const { orgs, nodes, stores, q } = genesis.body
  const accounts = genesisAccounts(genesis)
  const open = (account: Uint8Array, r: number, key: Uint8Array, suite?: number) => {
    userTables.key.set(state, suite === undefined ? { key, o: 0 } : { key, suite, o: 0 }, account, r, 0)
    userTables.keyHead.set(state, 0, account, r)
    use(key)
  }
  const use = (key: Uint8Array) => userTables.used.set(state, 1, sha256(key))
  const organisationOf = (position: number) => accounts.organisations[position] as Uint8Array
  for (const [position, [root, op, kem, suite, quota]] of orgs.entries()) {
    const account = organisationOf(position)
    userTables.account.set(state, { role: 3, o: 0 }, account)
    open(account, keyRoles.root, root)
    open(account, keyRoles.op, op)
    open(account, keyRoles.kem, kem, suite)
    userTables.organisation.set(state, { o: 0 }, account)
    userTables.quota.set(state, [quota, 0], account)
  }
  const policyNodes = nodes.map(([org, node, ...logKeys], position) => {
    const account = accounts.nodes[position] as Uint8Array
    userTables.account.set(state, { role: 4, o: 0, sponsor: organisationOf(org) }, account)
    open(account, keyRoles.node, node)
    for (const key of logKeys) use(key)
    return [organisationOf(org), account, node, ...logKeys] as const
  })
  const policyStores = stores.map(([org, key, peer], position) => {
    const account = accounts.stores[position] as Uint8Array
    userTables.account.set(state, { role: 9, o: 0, sponsor: organisationOf(org) }, account)
    open(account, keyRoles.node, key)
    return [organisationOf(org), account, key, peer] as const
  })
  userTables.policy.set(state, { o: 0, q, nodes: policyNodes, stores: policyStores }, 0)
}
