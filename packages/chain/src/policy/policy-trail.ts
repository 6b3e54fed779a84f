/**
 * The policy trail (SPEC.md §4): which policy a checkpoint of any size is under, proved from the genesis file alone. Each step is published
 * by the policy before it, so nobody's word is needed: receipts carry the steps that they need, followers and auditors fetch them from any
 * node, and a node checks what its peers hand it in the same way.
 */
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import {
  chainOrigin,
  genesisPolicy,
  type LogPolicy,
  parseCheckpoint,
  receiptCheckpoint,
  type VerifiedCheckpoint,
  verifyCheckpoint,
  verifyReceiptCheckpoint,
} from '../log/checkpoint.ts'
import { leafHash, verifyInclusion } from '../log/merkle.ts'
import { encodeProof, parseProof } from '../log/proof.ts'
import { parseSealLeaf } from '../log/seal.ts'
import type { PolicyStore } from '../state/tables.ts'
import { leafKind, parseTransactionLeaf } from '../transaction/transaction.ts'
import { type Genesis, genesisAccounts } from './genesis.ts'
import { governActs, parseGovernArgument } from './governing.ts'
import { logPolicyOf } from './policy.ts'

/** One step, as receipts carry it. */
export interface TrailStep {
  readonly chain: ChainName
  /** The `govern` (Userchain), or the SEAL of the switch (Docchain). */
  readonly leaf: Uint8Array
  /** tlog-proof text. */
  readonly proof: string
}

/** A step that holds: beyond `size` its chain is under policy `k`. */
interface Passed {
  readonly step: TrailStep
  readonly chain: ChainName
  /** Policy by number: that of genesis is 0. */
  readonly k: number
  /** The leaf's index, and the size of the checkpoint that ends its block. */
  readonly index: number
  readonly size: number
  readonly root: Uint8Array
}

/** A head that a step proves. */
export interface TrailHead {
  readonly chain: ChainName
  readonly size: number
  readonly root: Uint8Array
}

/** Which policy it was that held. */
export interface UnderPolicy {
  readonly policy: LogPolicy
  /** Its number: that of genesis is 0. */
  readonly k: number
}

/** A checkpoint, and a policy to verify it under. */
interface UnderRequest {
  readonly note: string
  readonly origin: string
  readonly policy: LogPolicy
}

/** Most steps of a trail. */
export const trailStepsMax = 4096

/** A trail that holds, from genesis to some step. It only grows. */
export class PolicyTrail {
  readonly genesis: Genesis
  readonly #policies: Record<ChainName, LogPolicy>[]
  /** Node keys by account (hex), of each policy. */
  readonly #nodeKeys: ReadonlyMap<string, Uint8Array>[]
  /** Store keys by account (hex), of all policies. */
  readonly #storeKeys = new Map<string, Uint8Array[]>()
  /** Index of the `govern` that set each policy; -1 for that of genesis. */
  readonly #governIndices = [-1]
  readonly #passed: Passed[] = []

  constructor(genesis: Genesis) {
    this.genesis = genesis
    const { nodes, stores } = genesisAccounts(genesis)
    for (const [position, [, key]] of genesis.body.stores.entries()) this.#addStore(stores[position] as Uint8Array, key)
    this.#nodeKeys = [
      new Map(genesis.body.nodes.map(([, node], position) => [toHex(nodes[position] as Uint8Array), node])),
    ]
    this.#policies = [{ userchain: genesisPolicy(genesis, 'userchain'), docchain: genesisPolicy(genesis, 'docchain') }]
  }

  /** A trail of these steps. */
  static of(genesis: Genesis, steps: readonly TrailStep[]): PolicyTrail {
    const trail = new PolicyTrail(genesis)
    for (const step of steps) trail.extend(step)
    return trail
  }

  /** All steps, in an order in which they can be followed. */
  get steps(): readonly TrailStep[] {
    return this.#passed.map(({ step }) => step)
  }

  /** Heads that steps prove: a log with another root at such a size is another history. */
  get heads(): readonly TrailHead[] {
    return this.#passed
  }

  /** The step that ends with this size, if there is one. */
  has(chain: ChainName, size: number): boolean {
    return this.#of(chain).some((passed) => passed.size === size)
  }

  #of(chain: ChainName): Passed[] {
    return this.#passed.filter((passed) => passed.chain === chain)
  }

  #origin(chain: ChainName): string {
    return chainOrigin({ ledgerId: this.genesis.ledgerId, chain })
  }

  /**
   * The policies that a checkpoint of this size may be under, as far as the trail goes: one, or at a switch the one before and the one
   * after.
   */
  policies(chain: ChainName, size: number): readonly LogPolicy[] {
    return this.#numbers(chain, size).map((k) => (this.#policies[k] as Record<ChainName, LogPolicy>)[chain])
  }

  /** The newest policy of a chain that the trail knows. */
  newest(chain: ChainName): LogPolicy {
    return this.policies(chain, Number.MAX_SAFE_INTEGER)[0] as LogPolicy
  }

  /** Key with which a node of the newest policy signs its answers; undefined for anybody else. */
  nodeKeyOf(account: Uint8Array): Uint8Array | undefined {
    return this.#nodeKeys.at(-1)?.get(toHex(account))
  }

  /** Keys with which a store signed its receipts under some policy of the trail. */
  storeKeysOf(account: Uint8Array): readonly Uint8Array[] {
    return this.#storeKeys.get(toHex(account)) ?? []
  }

  #addStore(account: Uint8Array, key: Uint8Array): void {
    const known = this.#storeKeys.get(toHex(account)) ?? []
    if (!known.some((one) => equalBytes(one, key))) this.#storeKeys.set(toHex(account), [...known, key])
  }

  /** True if the trail has a step for this leaf. */
  knows(step: TrailStep): boolean {
    return this.#of(step.chain).some((passed) => equalBytes(passed.step.leaf, step.leaf))
  }

  /** Its number: that of genesis is 0. */
  newestNumber(chain: ChainName): number {
    return this.#numbers(chain, Number.MAX_SAFE_INTEGER)[0] as number
  }

  #numbers(chain: ChainName, size: number): number[] {
    let k = 0
    for (const passed of this.#of(chain)) {
      if (size === passed.size) return [k, passed.k]
      if (size < passed.size) break
      k = passed.k
    }
    return [k]
  }

  /**
   * Verifies a checkpoint under a policy that the trail gives its size; at a switch, of the two under which it holds, that whose quorum
   * cosigned it last.
   *
   * @throws {ChainError} as `verifyCheckpoint`.
   */
  verify(chain: ChainName, note: string): VerifiedCheckpoint & UnderPolicy {
    const verified = [...this.#each(chain, note, (request) => verifyCheckpoint(request))]
    return verified.reduce((newest, each) => (each.oldestTime > newest.oldestTime ? each : newest))
  }

  /** As `verify`, for a checkpoint in the form that receipts carry. */
  verifyReceipt(chain: ChainName, note: string): VerifiedCheckpoint & UnderPolicy {
    return this.#under(chain, note, (request) => verifyReceiptCheckpoint(request))
  }

  /** Brings a published checkpoint into the form that receipts carry. */
  receiptForm(chain: ChainName, note: string): { readonly note: string } & UnderPolicy {
    return this.#under(chain, note, (request) => ({ note: receiptCheckpoint(request) }))
  }

  #under<T>(chain: ChainName, note: string, verify: (request: UnderRequest) => T): T & UnderPolicy {
    // Of two under which it holds, the older one needs fewer steps.
    return this.#each(chain, note, verify).next().value as T & UnderPolicy
  }

  /** What `verify` gives under each policy that the note holds under, the older first: at least one. */
  *#each<T>(chain: ChainName, note: string, verify: (request: UnderRequest) => T): Generator<T & UnderPolicy, void> {
    let isFound = false
    let failure: unknown
    for (const k of this.#numbers(chain, parseCheckpoint(note).size)) {
      const policy = (this.#policies[k] as Record<ChainName, LogPolicy>)[chain]
      let verified: T
      try {
        verified = verify({ note, origin: this.#origin(chain), policy })
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        failure ??= error
        continue
      }
      isFound = true
      yield { ...verified, policy, k }
    }
    if (!isFound) throw failure
  }

  /** The steps that prove these policies, in the trail's order. */
  needed(policies: readonly { readonly chain: ChainName; readonly k: number }[]): readonly TrailStep[] {
    const most = (chain?: ChainName) =>
      Math.max(0, ...policies.filter((policy) => chain === undefined || policy.chain === chain).map(({ k }) => k))
    const until = { userchain: most(), docchain: most('docchain') }
    return this.#passed.filter(({ chain, k }) => k <= until[chain]).map(({ step }) => step)
  }

  /**
   * Adds a step after verifying it under what the trail proves so far.
   *
   * @throws {ChainError} `ERR_TRAIL_INVALID`, or the code of what in it does not hold.
   */
  extend(step: TrailStep): void {
    const fail = (reason: string): ChainError => {
      const detail = { code: 'ERR_TRAIL_INVALID', step: this.#passed.length, reason } as const
      return new ChainError(`step ${this.#passed.length} of the policy trail: ${reason}`, detail)
    }
    if (this.#passed.length >= trailStepsMax) throw fail('too many steps')
    const { chain, leaf, proof } = step
    const { extra, hashes, index, checkpoint } = parseProof(proof)
    if (extra !== undefined) throw fail('the proof has extra data')
    const note = { note: checkpoint, origin: this.#origin(chain), policy: this.newest(chain) }
    const { size, root } = verifyReceiptCheckpoint(note)
    verifyInclusion({ leafHash: leafHash(leaf), index, size, proof: hashes, root })
    if (encodeProof({ index, hashes, checkpoint }) !== proof) throw fail('the proof is not canonical')
    const previous = this.#of(chain).at(-1)
    if (previous !== undefined && index < previous.size) throw fail('not after the step before it')
    if (chain === 'userchain') {
      const policy = policyOf(leaf)
      if (policy === undefined) throw fail('not a policy')
      this.#policies.push({ userchain: logPolicyOf(policy, 'userchain'), docchain: logPolicyOf(policy, 'docchain') })
      this.#nodeKeys.push(new Map(policy.nodes.map(([, account, node]) => [toHex(account), node])))
      for (const [, account, key] of policy.stores) this.#addStore(account, key)
      this.#governIndices.push(index)
      this.#passed.push({ step, chain, k: this.#policies.length - 1, index, size, root })
      return
    }
    if (index !== size - 1) throw fail('a SEAL that does not end its checkpoint')
    const anchorSize = leafKind(leaf) === 'seal' ? parseSealLeaf(leaf).anchor?.[0]?.[0] : undefined
    if (anchorSize === undefined) throw fail('not a SEAL of docchain')
    const k = this.#governIndices.findLastIndex((at) => at < anchorSize)
    if (k <= (previous?.k ?? 0)) throw fail('a SEAL that changes no policy')
    this.#passed.push({ step, chain, k, index, size, root })
  }
}

/** What a policy-setting `govern` sets; undefined for any other leaf. */
function policyOf(
  leaf: Uint8Array,
): { q: number; nodes: PolicyNodes; ranks: number[]; stores: readonly PolicyStore[] } | undefined {
  if (leafKind(leaf) !== 'transaction') return undefined
  const { body } = parseTransactionLeaf(leaf)
  if (body.t !== 'govern' || body.act !== governActs.policy) return undefined
  const { q, nodes, stores } = parseGovernArgument(governActs.policy, body.arg)
  return { q, nodes: nodes.map(([, ...node]) => node), ranks: nodes.map(([rank]) => rank), stores }
}

type PolicyNodes = Parameters<typeof logPolicyOf>[0]['nodes']
