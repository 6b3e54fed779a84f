/**
 * Whether a quorum of nodes answers at this moment, for readiness. A ledger on which nothing happens has no calls between its nodes for up
 * to a minute: whoever was not heard for a while is therefore asked where it stands. What is learned here decides nothing else.
 */
import type { ChainName } from '@healthblock/chain/chains'
import { rankedNodes } from '@healthblock/chain/policy'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { ChainCore } from './core/chain-core.ts'
import type { Clock, PeerNetwork } from './core/ports.ts'
import { encodeMessage } from './core/wire.ts'

/** How often a node looks whom it has not heard: of n nodes that idle each sends n - 1 small questions. */
const lookMs = 4_000
/** Whoever was heard so lately is not asked. */
const lateMs = 3_000
/** An answer counts for so long: two lost questions and the wait for the third. */
const answerMsMax = 13_000

/** The network, and when it heard whom. */
export interface HeardNetwork extends PeerNetwork {
  /** When the node of a rank answered last, ms of the clock that never steps; undefined if it did not, or its port refused since. */
  heardMs(rank: number): number | undefined
}

/** What a pulse goes by. */
export interface PeerPulseOptions {
  readonly network: HeardNetwork
  readonly clock: Clock
  readonly cores: Readonly<Record<ChainName, Pick<ChainCore, 'chain' | 'ledger' | 'head'>>>
  /** This node's account. */
  readonly account: Uint8Array
}

/** Asks the nodes that were not heard lately. */
export class PeerPulse {
  readonly #options: PeerPulseOptions
  readonly #stopping = new AbortController()
  /** By rank, until it has answered or failed. */
  readonly #asking = new Map<number, Promise<void>>()
  #running: Promise<void> | undefined

  constructor(options: PeerPulseOptions) {
    this.#options = options
  }

  /** Looks every 4 s until it is stopped. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Resolves when nothing is under way; a question that nobody answers ends after 4 s. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await Promise.all(this.#asking.values())
  }

  async #run(): Promise<void> {
    const { clock } = this.#options
    while (!this.#stopping.signal.aborted) {
      void this.look()
      await clock.wait(lookMs, this.#stopping.signal)
    }
  }

  /** Asks each member that was not heard in the last 3 s; resolves when all have answered or failed. */
  async look(): Promise<void> {
    const { clock, network } = this.#options
    for (const rank of this.#others('userchain').ranks) {
      const heardMs = network.heardMs(rank) ?? Number.NEGATIVE_INFINITY
      if (this.#asking.has(rank) || clock.elapsedMs() - heardMs < lateMs) continue
      const asking = network.call(rank, 'userchain', 'head', encodeMessage({}), { timeoutMs: lookMs }).then(
        () => {},
        // Away: `heardMs` says since when.
        () => {},
      )
      const ended = asking.finally(() => this.#asking.delete(rank))
      this.#asking.set(rank, ended)
    }
    await Promise.all(this.#asking.values())
  }

  /** Ranks of the other nodes that decide the next block of a chain, how many nodes do, and the quorum. */
  #others(chain: ChainName): { ranks: number[]; count: number; quorum: number } {
    const { account, cores } = this.#options
    const core = cores[chain]
    const { policy } = core.ledger.policyOf(chain, core.head().height + 1)
    const nodes = rankedNodes(policy)
    const others = nodes.filter((node) => !equalBytes(node.account, account))
    return { ranks: others.map(({ rank }) => rank), count: nodes.length, quorum: policy.q }
  }

  /** Why nothing is decided on a chain now, in words; undefined if a quorum, with this node, answered within the last 13 s. */
  fault(chain: ChainName): string | undefined {
    const { clock, network } = this.#options
    const { ranks, count, quorum } = this.#others(chain)
    const answering = ranks.filter((rank) => {
      const heardMs = network.heardMs(rank)
      return heardMs !== undefined && clock.elapsedMs() - heardMs <= answerMsMax
    })
    const n = answering.length + (count - ranks.length)
    return n >= quorum ? undefined : `only ${n} of ${count} nodes answer, q = ${quorum} are needed`
  }
}
