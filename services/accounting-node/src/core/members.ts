/** Who takes part in a chain, and their signatures on staged blocks and decided values. */
import { chainOrigin, genesisPolicy, type LogPolicy } from '@healthblock/chain/checkpoint'
import { type Genesis, genesisAccounts } from '@healthblock/chain/genesis'
import { encodeStatement, statementMessage } from '@healthblock/chain/statement'
import { type ChainName, chains } from '@healthblock/chain/transaction'
import { parseVerifyingKey, type SigningKey, type VerifyingKey } from '@healthblock/crypto/signature'
import { toHex } from '@healthblock/encoding/bytes'
import type { Ack, HeadValue } from './wire.ts'
import { isSigned } from './wire.ts'

/** What an ack is about. */
export interface AckSubject {
  readonly height: number
  readonly size: number
  readonly root: Uint8Array
}

/** The nodes of one chain. */
export class Members {
  readonly ledgerId: Uint8Array
  readonly chain: ChainName
  readonly origin: string
  /** Nodes whose acks and cosignatures decide. */
  readonly quorum: number
  /** Number of nodes. */
  readonly count: number
  /** Accounts of the nodes by rank, 32 bytes each. */
  readonly accounts: readonly Uint8Array[]
  readonly policy: LogPolicy
  readonly #nodeKeys: readonly VerifyingKey[]
  /** Acks that verified, newest last, so that the same one is not verified again. */
  readonly #known = new Set<string>()

  constructor(genesis: Genesis, chain: ChainName) {
    this.ledgerId = genesis.ledgerId
    this.chain = chain
    this.origin = chainOrigin({ ledgerId: genesis.ledgerId, chain })
    this.policy = genesisPolicy(genesis, chain)
    this.quorum = genesis.body.q
    this.count = genesis.body.nodes.length
    this.accounts = genesisAccounts(genesis).nodes
    this.#nodeKeys = genesis.body.nodes.map(([, node]) => parseVerifyingKey(node))
  }

  /** Collected nodes that must have staged a block before it may have been decided: 2q - n. */
  get votesMin(): number {
    return 2 * this.quorum - this.count
  }

  /** Ranks of the others. */
  others(rank: number): number[] {
    return this.policy.cosigners.map((_, other) => other).filter((other) => other !== rank)
  }

  #ackMessage({ height, size, root }: AckSubject, term: number): Uint8Array {
    const statement = encodeStatement('stage-ack', [chains[this.chain], height, term, size, root])
    return statementMessage({ label: 'stage-ack', ledgerId: this.ledgerId, statement })
  }

  /** This node's ack of a block that it staged in `term`: 64 bytes. */
  signAck(subject: AckSubject, term: number, key: SigningKey): Uint8Array {
    return key.sign(this.#ackMessage(subject, term))
  }

  /** True if the ack is one of a member's over this block. */
  async isAck(subject: AckSubject, ack: Ack): Promise<boolean> {
    const key = this.#nodeKeys[ack.rank]
    if (key === undefined) return false
    const message = this.#ackMessage(subject, ack.term)
    const known = `${ack.rank}/${toHex(ack.signature)}/${toHex(message)}`
    if (this.#known.has(known)) return true
    if (!(await isSigned(key, message, ack.signature))) return false
    if (this.#known.size > 256) this.#known.clear()
    this.#known.add(known)
    return true
  }

  /** Those of the acks that hold, one per node. */
  async goodAcks(subject: AckSubject, acks: readonly Ack[]): Promise<Ack[]> {
    const first = acks.filter((ack, i) => acks.findIndex(({ rank }) => rank === ack.rank) === i).slice(0, this.count)
    const good = await Promise.all(first.map((ack) => this.isAck(subject, ack)))
    return first.filter((_, i) => good[i])
  }

  /** True if q nodes staged this block in one term: whatever happens, no other block of this height can be decided. */
  async isDecided(subject: AckSubject, acks: readonly Ack[]): Promise<boolean> {
    if (subject.height === 0) return acks.length === 0
    const [first] = acks
    if (first === undefined || acks.some(({ term }) => term !== first.term)) return false
    return (await this.goodAcks(subject, acks)).length >= this.quorum
  }

  /** True if the register's value stands on q acks; a value that does not counts as absent. */
  async isValid(value: HeadValue): Promise<boolean> {
    return value.leader < this.count && (await this.isDecided(value, value.acks))
  }
}
