/**
 * Who takes part in a chain, height by height, and their signatures on staged blocks and decided values. The policy under which a block is
 * decided follows from the blocks before it (chain SPEC §4), so it is known one block ahead of the head and no further.
 */
import type { Ledger } from '@healthblock/chain/block'
import { type ChainName, chains } from '@healthblock/chain/chains'
import { chainOrigin, type LogPolicy } from '@healthblock/chain/checkpoint'
import { logPolicyOf, nodeChainKeys, type RankedNode, rankedNodes } from '@healthblock/chain/policy'
import { encodeStatement, statementMessage } from '@healthblock/chain/statement'
import type { PolicyRecord } from '@healthblock/chain/tables'
import { parseVerifyingKey, type SigningKey, type VerifyingKey } from '@healthblock/crypto/signature'
import { byteText, equalBytes } from '@healthblock/encoding/bytes'
import type { Ack, HeadValue } from './wire.ts'
import { isSigned } from './wire.ts'

/** What an ack is about. */
export interface AckSubject {
  readonly height: number
  readonly size: number
  readonly root: Uint8Array
}

/** The keys with which a node takes part in a chain. */
export interface OwnKeys {
  readonly node: SigningKey
  readonly log: SigningKey
  readonly cosigner: SigningKey
}

function ackName({ rank, signature }: Ack, message: Uint8Array): string {
  return `${rank}/${byteText(signature)}/${byteText(message)}`
}

/** The nodes of one chain under one policy. */
export class Members {
  readonly ledgerId: Uint8Array
  readonly chain: ChainName
  readonly origin: string
  /** Number of the policy: that of genesis is 0. */
  readonly k: number
  /** Nodes whose acks and cosignatures decide. */
  readonly quorum: number
  /** Number of nodes. */
  readonly count: number
  /** Ascending by rank. */
  readonly nodes: readonly RankedNode[]
  readonly policy: LogPolicy
  readonly #nodeKeys: ReadonlyMap<number, VerifyingKey>
  /** Acks that verified, or were made here, newest last, so that the same one is not verified again. */
  readonly #known = new Set<string>()

  constructor(place: { ledgerId: Uint8Array; chain: ChainName }, { k, policy }: { k: number; policy: PolicyRecord }) {
    this.ledgerId = place.ledgerId
    this.chain = place.chain
    this.origin = chainOrigin(place)
    this.k = k
    this.policy = logPolicyOf(policy, place.chain)
    this.quorum = policy.q
    this.nodes = rankedNodes(policy)
    this.count = this.nodes.length
    this.#nodeKeys = new Map(this.nodes.map(({ rank, node }) => [rank, parseVerifyingKey(node[2])]))
  }

  /** Collected nodes that must have staged a block before it may have been decided: 2q - n. */
  get votesMin(): number {
    return 2 * this.quorum - this.count
  }

  /**
   * Nodes that must have staged a block that lies ahead in time before others do so by their word: at least one of them judged it by a clock
   * that is not its leader's. Of a node that is alone its own word counts.
   */
  get aheadVotesMin(): number {
    return Math.max(this.votesMin, Math.min(2, this.count))
  }

  /** True if a node has this rank. */
  has(rank: number): boolean {
    return this.#nodeKeys.has(rank)
  }

  /** Position of a rank among the members, from 0: who acts first. */
  position(rank: number): number {
    return Math.max(
      0,
      this.nodes.findIndex((node) => node.rank === rank),
    )
  }

  /** Ranks of the others. */
  others(rank: number): number[] {
    return this.nodes.map((node) => node.rank).filter((other) => other !== rank)
  }

  /** True if the account is a member and these are its keys on this chain. */
  takesPart(account: Uint8Array, own: OwnKeys): boolean {
    const member = this.nodes.find((node) => equalBytes(node.account, account))
    if (member === undefined) return false
    const { node, log, cosigner } = nodeChainKeys(member.node, this.chain)
    const pairs: [Uint8Array, SigningKey][] = [
      [node, own.node],
      [log, own.log],
      [cosigner, own.cosigner],
    ]
    return pairs.every(([key, signing]) => equalBytes(key, signing.publicKey))
  }

  #ackMessage({ height, size, root }: AckSubject, term: number): Uint8Array {
    const statement = encodeStatement('stage-ack', [chains[this.chain], height, term, size, root])
    return statementMessage({ label: 'stage-ack', ledgerId: this.ledgerId, statement })
  }

  /** The ack of a block that this node, of that rank, staged in `term`: 64 bytes. It is known to hold. */
  signAck(subject: AckSubject, { rank, term }: Omit<Ack, 'signature'>, key: SigningKey): Uint8Array {
    const message = this.#ackMessage(subject, term)
    const signature = key.sign(message)
    this.#remember(ackName({ rank, term, signature }, message))
    return signature
  }

  /** True if the ack is one of a member's over this block. */
  isAck(subject: AckSubject, ack: Ack): boolean {
    const key = this.#nodeKeys.get(ack.rank)
    if (key === undefined) return false
    const message = this.#ackMessage(subject, ack.term)
    const name = ackName(ack, message)
    if (this.#known.has(name)) return true
    if (!isSigned(key, message, ack.signature)) return false
    this.#remember(name)
    return true
  }

  #remember(name: string): void {
    if (this.#known.size > 256) this.#known.clear()
    this.#known.add(name)
  }

  /** Those of the acks that hold, one per node. */
  goodAcks(subject: AckSubject, acks: readonly Ack[]): Ack[] {
    const first = acks.filter((ack, i) => acks.findIndex(({ rank }) => rank === ack.rank) === i).slice(0, this.count)
    return first.filter((ack) => this.isAck(subject, ack))
  }

  /** True if q nodes staged this block in one term: whatever happens, no other block of this height can be decided. */
  isDecided(subject: AckSubject, acks: readonly Ack[]): boolean {
    if (subject.height === 0) return acks.length === 0
    const [first] = acks
    if (first === undefined || acks.some(({ term }) => term !== first.term)) return false
    return this.goodAcks(subject, acks).length >= this.quorum
  }

  /** True if the register's value, of a block that these members decided, stands on q acks; a value that does not counts as absent. */
  isValid(value: HeadValue): boolean {
    return this.isDecided(value, value.acks)
  }
}

/** The members of one chain by height. */
export class Memberships {
  readonly #ledger: Ledger
  readonly #chain: ChainName
  readonly #byPolicy = new Map<number, Members>()
  /** Those of the heights asked last. */
  readonly #byHeight = new Map<number, Members>()

  constructor(ledger: Ledger, chain: ChainName) {
    this.#ledger = ledger
    this.#chain = chain
  }

  /** Members who decide the block of a height; above the next one, which nobody knows yet, those of the next. */
  at(height: number): Members {
    const next = this.#ledger.head(this.#chain).height + 1
    const known = Math.min(height, next)
    const found = this.#byHeight.get(known)
    if (found !== undefined) return found
    const { k, policy } = this.#ledger.policyOf(this.#chain, known)
    let members = this.#byPolicy.get(k)
    if (members === undefined) {
      members = new Members({ ledgerId: this.#ledger.ledgerId, chain: this.#chain }, { k, policy })
      this.#byPolicy.set(k, members)
    }
    if (this.#byHeight.size > 16) this.#byHeight.clear()
    this.#byHeight.set(known, members)
    return members
  }

  /** Members who decide the next block. */
  get next(): Members {
    return this.at(this.#ledger.head(this.#chain).height + 1)
  }

  /** Members who may cosign the head of a height: those who decided it, and at a switch those after it. */
  cosignersOf(height: number): Members[] {
    const [before, after] = [this.at(height), this.at(height + 1)]
    return before.k === after.k ? [before] : [before, after]
  }
}
