/** Calls between nodes of one process, with loss, delay and reorder from a seed. */
import type { ChainName } from '@healthblock/chain/chains'
import type { PeerMethod, PeerNetwork } from '../../services/accounting-node/src/core/ports.ts'
import { AccountingError } from '../../services/accounting-node/src/errors.ts'
import { seededRandom } from './seeded-random.ts'

/** What answers for a node. */
export type PeerHandler = (from: number, chain: ChainName, method: PeerMethod, body: Uint8Array) => Promise<Uint8Array>

function unreachable(rank: number): AccountingError {
  return new AccountingError(`rank ${rank} does not answer`, { code: 'ERR_PEER_UNREACHABLE', rank, reason: 'lost' })
}

/** The network between the nodes of a test. */
export class MemoryNetwork {
  readonly #handlers = new Map<number, PeerHandler>()
  readonly #random: () => number
  /** Share of requests, and of answers, that get lost. */
  loss = 0
  /** Most turns of the event loop that a message is late by; each message draws its own. */
  lateTurnsMax = 0
  /** Pairs `from>to` that do not reach each other. */
  readonly cut = new Set<string>()
  /** Called with each request before it is delivered. */
  onCall: ((call: { from: number; to: number; chain: ChainName; method: PeerMethod }) => void) | undefined

  constructor(seed = 1) {
    this.#random = seededRandom(seed)
  }

  /** Lets a node answer; undefined takes it away. */
  attach(rank: number, handler: PeerHandler | undefined): void {
    if (handler === undefined) this.#handlers.delete(rank)
    else this.#handlers.set(rank, handler)
  }

  /** Separates a node from all others, or joins it again. */
  isolate(rank: number, count: number, isolated: boolean): void {
    for (let other = 0; other < count; other++) {
      for (const pair of [`${rank}>${other}`, `${other}>${rank}`]) {
        if (isolated) this.cut.add(pair)
        else this.cut.delete(pair)
      }
    }
  }

  async #travel(from: number, to: number): Promise<void> {
    const turns = this.lateTurnsMax === 0 ? 1 : 1 + Math.floor(this.#random() * this.lateTurnsMax)
    for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    if (this.cut.has(`${from}>${to}`) || this.#random() < this.loss) throw unreachable(to)
  }

  /** The port of one node. */
  port(from: number): PeerNetwork {
    return {
      call: async (to, chain, method, body) => {
        this.onCall?.({ from, to, chain, method })
        await this.#travel(from, to)
        const handler = this.#handlers.get(to)
        if (handler === undefined) throw unreachable(to)
        // What is sent is bytes: nobody shares memory with a peer.
        const answer = await handler(from, chain, method, body.slice())
        await this.#travel(to, from)
        return answer
      },
    }
  }
}
