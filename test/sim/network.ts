/** Calls between nodes: lost, late, repeated, out of order, or cut off. */
import type { ChainName } from '@healthblock/chain/chains'
import type { PeerMethod, PeerNetwork } from '../../services/accounting-node/src/core/ports.ts'
import { AccountingError } from '../../services/accounting-node/src/errors.ts'
import type { PeerHandler } from '../support/memory-network.ts'
import type { Life } from './scheduler.ts'
import { fateOf, type World } from './world.ts'

/** One call, for observers. */
export interface PeerCall {
  readonly from: number
  readonly to: number
  readonly chain: ChainName
  readonly method: PeerMethod
  readonly body: Uint8Array
}

/** Sees every call when it is made, when it arrives, and when it is answered, whatever the network does with them. */
export interface NetworkObserver {
  called(call: PeerCall): void
  /** What it answers comes back with the answer to this call. */
  received(call: PeerCall): Moment
  answered(call: PeerCall, answer: Uint8Array, received: Moment): void
}

/** When something reached a node. */
export interface Moment {
  /** The world's time. */
  readonly atMs: number
  /** What the node's clock showed. */
  readonly unixMs: number
}

function failure(code: 'ERR_PEER_UNREACHABLE' | 'ERR_PEER_REFUSED', rank: number, reason: string): AccountingError {
  return new AccountingError(`rank ${rank}: ${reason}`, { code, rank, reason })
}

interface Attached {
  readonly life: Life
  readonly handle: PeerHandler
}

/** The network of all nodes. */
export class SimulatedNetwork {
  readonly #world: World
  readonly #observer: NetworkObserver
  readonly #attached = new Map<number, Attached>()

  constructor(world: World, observer: NetworkObserver) {
    this.#world = world
    this.#observer = observer
  }

  /** Lets a process answer for its node. */
  attach(life: Life, handle: PeerHandler): void {
    this.#attached.set(life.rank, { life, handle })
  }

  /** How long a message takes; undefined if it never arrives. */
  #travel(from: number, to: number): number | undefined {
    const { random, faults } = this.#world
    const { loss, slow, slowMs, cut } = faults.network
    if (cut.has(`${from}>${to}`) || random.chance(loss)) return undefined
    return random.chance(slow) ? random.between(1, slowMs) : random.between(0.3, 4)
  }

  /** The network as one process has it. */
  port(life: Life): PeerNetwork {
    return {
      call: (to, chain, method, body, { timeoutMs }) =>
        new Promise((resolve, reject) => {
          if (life.isDead) return
          this.#send({ from: life.rank, to, chain, method, body: body.slice() }, life, timeoutMs, resolve, reject)
        }),
    }
  }

  #send(
    call: PeerCall,
    life: Life,
    timeoutMs: number,
    resolve: (answer: Uint8Array) => void,
    reject: (error: unknown) => void,
  ): void {
    const { scheduler, random, faults, trace } = this.#world
    const { from, to, chain, method, body } = call
    this.#observer.called(call)
    const fate = fateOf(this.#world, { kind: 'network', rank: from, what: `${method} ${chain} to ${to}` })
    trace.step(`call ${method} ${chain} to ${to} ${fate}`, from, body)
    const timer = scheduler.after(timeoutMs, life, () => reject(failure('ERR_PEER_UNREACHABLE', to, 'no answer')))
    const settle = (end: () => void): void => {
      scheduler.cancel(timer)
      end()
    }
    const arrivalMs = fate === 'fails' ? undefined : this.#travel(from, to)
    if (arrivalMs === undefined) return
    scheduler.after(arrivalMs, undefined, () => {
      this.#deliver(call, (answer, error) => {
        const backMs = fate === 'fails-done' ? undefined : this.#travel(to, from)
        if (backMs === undefined || faults.silence.has(`${to} ${method}`)) return
        scheduler.after(backMs, life, () => settle(() => (answer === undefined ? reject(error) : resolve(answer))))
      })
    })
    if (!random.chance(faults.network.duplicates)) return
    const againMs = this.#travel(from, to)
    if (againMs !== undefined) scheduler.after(againMs, undefined, () => this.#deliver(call, () => {}))
  }

  #deliver(call: PeerCall, done: (answer: Uint8Array | undefined, error?: unknown) => void): void {
    const target = this.#attached.get(call.to)
    if (target === undefined || target.life.isDead) {
      done(undefined, failure('ERR_PEER_UNREACHABLE', call.to, 'nobody listens'))
      return
    }
    this.#world.scheduler.after(0, target.life, () => {
      const received = this.#observer.received(call)
      target.handle(call.from, call.chain, call.method, call.body.slice()).then(
        (answer) => {
          if (target.life.isDead) return
          // The answer leaves before anything that the observer does to its sender.
          done(answer.slice())
          this.#observer.answered(call, answer, received)
        },
        (error) => {
          if (!target.life.isDead) done(undefined, failure('ERR_PEER_REFUSED', call.to, String(error)))
        },
      )
    })
  }
}
