/** Which policy each size of each chain is under, and which version of the rules, read from the one history by this file's own eyes (chain SPEC §3, §4). */

import type { ChainName } from '@healthblock/chain/chains'
import { genesisPolicy, type LogPolicy } from '@healthblock/chain/checkpoint'
import type { Genesis } from '@healthblock/chain/genesis'
import { governActs, parseGovernArgument } from '@healthblock/chain/governing'
import { logPolicyOf } from '@healthblock/chain/policy'
import type { Seal } from '@healthblock/chain/seal'
import { leafKind, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'

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
    /** Node keys by rank. */
    readonly nodeKeys: ReadonlyMap<number, Uint8Array>
  }[]
  readonly #switches: Readonly<Record<ChainName, Switch[]>> = { userchain: [], docchain: [] }
  /** Versions of the rules in the order of their acts; each from a height of Userchain on. */
  readonly #rules: { readonly index: number; readonly version: number; readonly from: number }[]

  constructor(genesis: Genesis) {
    this.#rules = [{ index: -1, version: genesis.body.params.seals, from: 0 }]
    const of = { userchain: genesisPolicy(genesis, 'userchain'), docchain: genesisPolicy(genesis, 'docchain') }
    const nodeKeys = new Map(genesis.body.nodes.map(([, key], rank) => [rank, key]))
    this.#policies = [{ index: -1, of, nodeKeys }]
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
      if (body.t !== 'govern') continue
      if (body.act === governActs.parameters) {
        const [version, from] = parseGovernArgument(governActs.parameters, body.arg).rules ?? []
        if (version !== undefined && from !== undefined) {
          this.#rules.push({ index: firstIndex + position, version, from })
        }
      }
      if (body.act !== governActs.policy) continue
      const { q, nodes } = parseGovernArgument(governActs.policy, body.arg)
      const policy = { q, nodes: nodes.map(([, ...node]) => node), ranks: nodes.map(([rank]) => rank) }
      const of = { userchain: logPolicyOf(policy, 'userchain'), docchain: logPolicyOf(policy, 'docchain') }
      const nodeKeys = new Map(nodes.map(([rank, , , key]) => [rank, key]))
      this.#policies.push({ index: firstIndex + position, of, nodeKeys })
      this.#switches.userchain.push({ after: size, k: this.#policies.length - 1 })
    }
  }

  /** The version of the rules that a block is under: of Userchain with its height and first index, of Docchain with its anchor's height and size. */
  rules(place: { readonly before: number; readonly height: number }): number | undefined {
    return this.#rules.findLast(({ index, from }) => index < place.before && from <= place.height)?.version
  }

  /** Policies that a checkpoint of this size may be under: one, or at a switch the one before, then the one after. */
  at(chain: ChainName, size: number): readonly LogPolicy[] {
    return this.#numbers(chain, size).map((k) => this.#policies[k]?.of[chain] as LogPolicy)
  }

  #numbers(chain: ChainName, size: number): readonly number[] {
    let k = 0
    for (const change of this.#switches[chain]) {
      if (size === change.after) return [k, change.k]
      if (size < change.after) break
      k = change.k
    }
    return [k]
  }

  /** Node keys, by rank, of those who decide a block that ends at this size. */
  nodeKeys(chain: ChainName, size: number): ReadonlyMap<number, Uint8Array> {
    const [k] = this.#numbers(chain, size)
    return this.#policies[k as number]?.nodeKeys ?? new Map()
  }

  /** True if a node has this key in the newest policy on record. */
  hasNodeKey(key: Uint8Array): boolean {
    return [...(this.#policies.at(-1)?.nodeKeys.values() ?? [])].some((known) => equalBytes(known, key))
  }

  /** How many nodes decide a block that ends at this size. */
  quorum(chain: ChainName, size: number): number {
    return (this.at(chain, size)[0] as LogPolicy).q
  }

  /** The least number of acks, under any policy so far, that make a re-proposal. */
  get votesMin(): number {
    return Math.min(...this.#policies.map(({ of, nodeKeys }) => 2 * of.userchain.q - nodeKeys.size))
  }

  /** True if a switch ends with this size. */
  isSwitch(chain: ChainName, size: number): boolean {
    return this.#switches[chain].some(({ after }) => after === size)
  }
}
