/** Whose word counts for a follower: by its verified state, and by what the policy trail proves beyond it. */
import type { Ledger } from '@healthblock/chain/block'
import type { Genesis } from '@healthblock/chain/genesis'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { LedgerTrust } from '../ledger/ledger-client.ts'

/** The trail begins at genesis, and grows as nodes show its steps. */
export function followerTrust(genesis: Genesis, ledger: Ledger): LedgerTrust {
  const trail = new PolicyTrail(genesis)
  return {
    genesis,
    trail,
    nodeKeyOf: (account) => {
      const { k, policy } = ledger.policyOf('userchain', ledger.head('userchain').height + 1)
      // Blocks that are yet to be applied gave it another key, maybe: a node that signs with that is no liar.
      if (trail.newestNumber('userchain') > k) return trail.nodeKeyOf(account)
      return policy.nodes.find((node) => equalBytes(node[1], account))?.[2]
    },
  }
}
