/** Which policy each size of each chain is under, read from the one history by this file's own eyes (chain SPEC §4). */
import { genesisPolicy, type LogPolicy } from '@healthblock/chain/checkpoint'
import type { Genesis } from '@healthblock/chain/genesis'
import { governActs, parseGovernArgument } from '@healthblock/chain/governing'
import { logPolicyOf } from '@healthblock/chain/policy'
import type { Seal } from '@healthblock/chain/seal'
import { type ChainName, leafKind, parseTransactionLeaf } from '@healthblock/chain/transaction'

/** A policy, from the sizes beyond `after` on. */
interface Switch {
  readonly after: number
  /** Number of the policy, from 0. */
  readonly k: number
}

/** The policies of one run. */
export class PolicyHistory {
  readonly #policies: {
    readonly index: number
    readonly of: Readonly<Record<ChainName, LogPolicy>>
    readonly n: number
  }[]
  readonly #switches: Readonly<Record<ChainName, Switch[]>> = { userchain: [], docchain: [] }

  constructor(genesis: Genesis) {
    const of = { userchain: genesisPolicy(genesis, 'userchain'), docchain: genesisPolicy(genesis, 'docchain') }
    this.#policies = [{ index: -1, of, n: genesis.body.nodes.length }]
  }

  /** Number of changes on record. */
  get changes(): number {
    return this.#policies.length - 1
  }

  /** A block of the history: its leaves from `firstIndex` on, up to `size`. */
  grow(chain: ChainName, block: { leaves: readonly Uint8Array[]; firstIndex: number; size: number; seal: Seal }): void {
    const { leaves, firstIndex, size, seal } = block
    if (chain === 'docchain') {
      const anchored = seal.anchor?.[0]?.[0] ?? 0
      const k = this.#policies.findLastIndex(({ index }) => index < anchored)
      if (k > (this.#switches.docchain.at(-1)?.k ?? 0)) this.#switches.docchain.push({ after: size, k })
      return
    }
    for (const [position, leaf] of leaves.entries()) {
      if (leafKind(leaf) !== 'transaction') continue
      const { body } = parseTransactionLeaf(leaf)
      if (body.t !== 'govern' || body.act !== governActs.policy) continue
      const { q, nodes } = parseGovernArgument(governActs.policy, body.arg)
      const policy = { q, nodes: nodes.map(([, ...node]) => node), ranks: nodes.map(([rank]) => rank) }
      const of = { userchain: logPolicyOf(policy, 'userchain'), docchain: logPolicyOf(policy, 'docchain') }
      this.#policies.push({ index: firstIndex + position, of, n: nodes.length })
      this.#switches.userchain.push({ after: size, k: this.#policies.length - 1 })
    }
  }

  /** Policies that a checkpoint of this size may be under: one, or at a switch the one before, then the one after. */
  at(chain: ChainName, size: number): readonly LogPolicy[] {
    let k = 0
    const of = (number: number) => this.#policies[number]?.of[chain] as LogPolicy
    for (const change of this.#switches[chain]) {
      if (size === change.after) return [of(k), of(change.k)]
      if (size < change.after) break
      k = change.k
    }
    return [of(k)]
  }

  /** How many nodes decide a block that ends at this size. */
  quorum(chain: ChainName, size: number): number {
    return (this.at(chain, size)[0] as LogPolicy).q
  }

  /** The least number of acks, under any policy so far, that make a re-proposal. */
  get votesMin(): number {
    return Math.min(...this.#policies.map(({ of, n }) => 2 * of.userchain.q - n))
  }

  /** True if a switch ends with this size. */
  isSwitch(chain: ChainName, size: number): boolean {
    return this.#switches[chain].some(({ after }) => after === size)
  }
}
