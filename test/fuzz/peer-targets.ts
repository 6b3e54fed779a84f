/**
 * What nodes say to each other, recorded while four of them order transactions, and damaged as by a bad peer: each message gets a typed
 * answer, stops no node, and the others go on ordering, also while all that the bad one answers is damaged.
 */
import assert from 'node:assert/strict'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import type { ChainCore } from '../../services/accounting-node/src/core/chain-core.ts'
import { type PeerMethod, peerMethods } from '../../services/accounting-node/src/core/ports.ts'
import { encodeMessage } from '../../services/accounting-node/src/core/wire.ts'
import { CoreCluster } from '../support/core-cluster.ts'
import type { FuzzTarget } from '../support/fuzz.ts'
import { Random, reshape } from '../support/mutate.ts'
import { algorithmTransaction } from '../support/sample-ledger.ts'

/** The bad peer; the others lead and answer. */
const bad = 3
const honest = [0, 1, 2]
/** Messages of one method that are kept. */
const corpusMax = 12

/** Messages by method. */
class Said {
  readonly #byMethod = new Map<PeerMethod, Uint8Array[]>()

  add(method: PeerMethod, bytes: Uint8Array): void {
    const known = this.of(method)
    if (known.length < corpusMax) this.#byMethod.set(method, [...known, bytes.slice()])
  }

  of(method: PeerMethod): readonly Uint8Array[] {
    return this.#byMethod.get(method) ?? []
  }
}

/** Four nodes of which one turns bad. */
class BadPeer {
  readonly requests = new Said()
  readonly #answers = new Said()
  /** While it is set, the bad peer's answers are damaged. */
  lies: Random | undefined
  readonly cluster: CoreCluster
  #orders = 0

  constructor() {
    this.cluster = new CoreCluster({
      // A machine that is busy stalls everybody for a while: nobody shall take that for a wrong clock.
      speed: 2,
      peers: (rank) => ({
        call: async (to, chain, method, body, options) => {
          this.requests.add(method, body)
          const answer = await this.cluster.network.port(rank).call(to, chain, method, body, options)
          this.#answers.add(method, answer)
          return to === bad && this.lies !== undefined ? reshape(this.lies, this.#answers.of(method)) : answer
        },
      }),
    })
  }

  #cores(): ChainCore[] {
    return honest.flatMap((rank) => [this.cluster.core(rank), this.cluster.core(rank, 'docchain')])
  }

  /** Orders a transaction through an honest node, and waits until all honest ones have it. */
  async order(): Promise<void> {
    const { cluster } = this
    const transaction = algorithmTransaction(cluster.ledger, `order-${this.#orders++}`)
    cluster.core(0).noteAccepted([transaction])
    await cluster.core(0).submit([transaction])
    const id = cluster.core(0).ledger.transactionId('userchain', transaction)
    const holds = (rank: number): boolean => {
      const index = cluster.core(rank).ledger.index('userchain').find(id)
      return index !== undefined && index < (cluster.core(rank).published()?.size ?? 0)
    }
    await cluster.until('an order is on record', () => honest.every(holds), 240_000)
  }

  /** Nobody stopped, and whatever failed has a name. */
  check(): void {
    for (const core of this.#cores()) assert.equal(core.status().halted, undefined)
    for (const { rank, event } of this.cluster.events.splice(0)) {
      if (rank === bad || event.kind !== 'failed') continue
      assert.ok(event.error instanceof Error && 'detail' in event.error, `${event.part}: ${String(event.error)}`)
    }
  }

  async send(method: PeerMethod, bytes: Uint8Array): Promise<void> {
    const cores = [this.cluster.core(1), this.cluster.core(1, 'docchain')]
    const results = await Promise.allSettled(cores.map((core) => core.handlePeer(bad, method, bytes)))
    this.check()
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}

/** Messages that a short run need not bring. */
function further(cluster: CoreCluster): Partial<Record<PeerMethod, Uint8Array>> {
  const leaf = cluster.core(0).entries(2, 3)[0] as Uint8Array
  parseTransactionLeaf(leaf)
  const checkpoint = encodeUtf8(cluster.core(0).published()?.checkpoint ?? '')
  return {
    published: encodeMessage({ checkpoint }),
    gossip: encodeMessage({ txs: [leaf, leaf] }),
    block: encodeMessage({ height: 1, max: 4 }),
    head: encodeMessage({}),
    trail: encodeMessage({ from: 0 }),
    decided: encodeMessage({}),
  }
}

/** What a bad peer may send and answer. */
export async function peerTargets(): Promise<{ targets: FuzzTarget[]; close: () => Promise<void> }> {
  const peer = new BadPeer()
  const { cluster, requests } = peer
  await cluster.startAll()
  await peer.order()
  // Taking over makes the messages that a quiet cluster never sends.
  await cluster.stop(0)
  await cluster.start(0)
  await peer.order()
  cluster.events.length = 0
  const more = further(cluster)
  const targets = peerMethods.map((method): FuzzTarget => {
    const corpus = [...requests.of(method), ...(more[method] === undefined ? [] : [more[method]])]
    return {
      name: `peer asks: ${method}`,
      corpus,
      parse: (bytes) => peer.send(method, bytes),
      afterwards: () => peer.order(),
    }
  })
  targets.push({
    name: 'peer answers',
    corpus: [Uint8Array.of(1, 2, 3, 4)],
    async parse(bytes) {
      peer.lies = new Random(Buffer.concat([bytes, Buffer.alloc(4)]).readUInt32LE())
      await peer.order()
      peer.check()
    },
    // Each is an order of its own.
    inputsMin: 3,
    async afterwards() {
      peer.lies = undefined
      await peer.order()
    },
  })
  return { targets, close: () => cluster.end() }
}
