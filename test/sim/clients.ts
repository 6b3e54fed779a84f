/**
 * People: each sends what is his in order, to one gateway or two, waits for what his next transaction needs, sends again what nobody
 * took or what was deferred, and remembers every promise that he got. L1 is judged by what they were told.
 */
import { concatBytes, equalBytes } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import { isAccountingError } from '../../services/accounting-node/src/errors.ts'
import type { Answer } from '../../services/accounting-node/src/gateway/answer.ts'
import { type Invariants, isInjected } from './invariants.ts'
import type { SimulatedNode } from './node.ts'
import type { Item, Lane } from './scribe.ts'
import type { World } from './world.ts'

/** A promise of one gateway for one item. */
interface Promised {
  readonly item: Item
  readonly rank: number
  isFinal: boolean
}

/** What became of an item. */
type Fate = 'waiting' | 'sent' | 'promised' | 'committed' | 'refused' | 'deferred'

interface Sending {
  readonly item: Item
  fate: Fate
  /** When it was last sent. */
  sentMs: number
  /** True if this is the end of it: what a gateway refuses while another is ahead of it is sent again. */
  isFinal: boolean
}

const askAgainMs = 500
const sendAgainMs = 3_000
const batchMax = 4

/** Nodes may be behind for so long after the last fault: what they refuse until then is asked again. */
const settleMs = 3_000

/** After so long without faults nothing is deferred for want of a quorum. */
const healthyMs = 20_000

function missingOf(answer: Answer): string {
  return 'signed' in answer ? (decodeCbor(answer.signed.statement) as { missing: string }).missing : ''
}

/** All people of one run. */
export class Clients {
  readonly #world: World
  readonly #nodes: readonly SimulatedNode[]
  readonly #invariants: Invariants
  readonly #isHonest: (rank: number) => boolean
  readonly #lanes: { readonly lane: Lane; readonly sendings: Sending[] }[]
  readonly #byName = new Map<string, Sending>()
  readonly #promised: Promised[] = []
  readonly #open = new Set<Promised>()
  readonly #onCommitted: (item: Item) => void
  /** A moment before which no lane begins to send its next item. */
  readonly #pauseMs: number
  promisedCount = 0
  /** From this moment on a refusal, or a deferral for want of another transaction, is the end of an item. */
  healedMs = Number.POSITIVE_INFINITY

  constructor(
    world: World,
    options: {
      nodes: readonly SimulatedNode[]
      invariants: Invariants
      lanes: readonly Lane[]
      isHonest: (rank: number) => boolean
      /** Mean time between two sendings of a lane. */
      pauseMs: number
      /** Told when a sender hears that his item is on record. */
      onCommitted: (item: Item) => void
    },
  ) {
    this.#world = world
    this.#nodes = options.nodes
    this.#invariants = options.invariants
    this.#isHonest = options.isHonest
    this.#pauseMs = options.pauseMs
    this.#onCommitted = options.onCommitted
    this.#lanes = options.lanes.map((lane) => ({
      lane,
      sendings: lane.items.map((item) => ({ item, fate: 'waiting', sentMs: -Infinity, isFinal: false })),
    }))
    for (const { sendings } of this.#lanes) for (const sending of sendings) this.#byName.set(sending.item.name, sending)
  }

  /** Begins. */
  start(): void {
    for (const { sendings } of this.#lanes) this.#again(sendings, 0)
    this.#poll()
  }

  #again(sendings: Sending[], delayMs: number): void {
    this.#world.scheduler.after(delayMs, undefined, () => {
      const isDone = this.#sendNext(sendings)
      if (!isDone) this.#again(sendings, this.#pauseMs * this.#world.random.between(0.3, 1.7))
    })
  }

  #isReady({ item }: Sending): boolean {
    return item.needs.every((name) => {
      const needed = this.#byName.get(name)
      return needed === undefined || needed.isFinal
    })
  }

  /** True if it was never sent, and never will be: something before it ended otherwise than on record. */
  #isVain({ item, fate }: Sending): boolean {
    const isLost = (name: string): boolean => {
      const needed = this.#byName.get(name)
      return needed?.isFinal === true && needed.fate !== 'committed'
    }
    return item.isStrict === true && fate === 'waiting' && item.needs.some(isLost)
  }

  /** Sends the next few items, first those that have to be sent again. Answers true if nothing will be left to send. */
  #sendNext(sendings: Sending[]): boolean {
    const { random, scheduler } = this.#world
    for (const sending of sendings) if (this.#isVain(sending)) sending.isFinal = true
    const open = sendings.filter(({ isFinal }) => !isFinal)
    if (open.length === 0) return true
    const batch: Sending[] = []
    const countMax = 1 + random.below(batchMax)
    for (const sending of open) {
      if (batch.length >= countMax) break
      const isDue = sending.fate !== 'promised' && scheduler.nowMs - sending.sentMs >= sendAgainMs
      if (!isDue) continue
      if (!this.#isReady(sending)) break
      batch.push(sending)
    }
    if (batch.length === 0) return false
    const ranks = this.#nodes.map(({ rank }) => rank).filter((rank) => this.#isHonest(rank))
    const chosen = random.shuffled(ranks).slice(0, random.chance(0.15) ? 2 : 1)
    for (const rank of chosen) this.#submit(rank, batch)
    return false
  }

  #submit(rank: number, batch: readonly Sending[]): void {
    const { scheduler, trace } = this.#world
    const chain = (batch[0] as Sending).item.chain
    for (const sending of batch) {
      sending.sentMs = scheduler.nowMs
      if (sending.fate !== 'promised') sending.fate = 'sent'
    }
    const running = this.#nodes[rank]?.running
    if (running === undefined || !running.isServing) return
    trace.step(`submit ${chain}`, rank, batch.map(({ item }) => item.name).join(' '))
    const body = concatBytes(...batch.map(({ item }) => item.leaf))
    scheduler.after(this.#world.random.between(0.3, 3), running.life, () => {
      running.gateways[chain].submit(body).then(
        (answer) => {
          if (running.life.isDead || answer.promise === undefined) return
          const { txs } = decodeCbor(answer.promise.statement) as { txs: Uint8Array[] }
          for (const sending of batch) {
            if (txs.some((id) => equalBytes(id, sending.item.id))) this.#promise(rank, sending)
          }
        },
        (error) => {
          if (running.life.isDead || isInjected(error)) return
          if (isAccountingError(error, 'ERR_GATEWAY_FULL') || isAccountingError(error, 'ERR_SHARE_EXCEEDED')) return
          if (isAccountingError(error, 'ERR_GATEWAY_STOPPED')) return
          this.#invariants.fail('fault', `rank ${rank} cannot take a submission: ${String(error?.stack ?? error)}`)
        },
      )
    })
  }

  #promise(rank: number, sending: Sending): void {
    this.promisedCount++
    this.#world.trace.step('promised', rank, sending.item.name)
    if (sending.fate === 'sent' || sending.fate === 'deferred') sending.fate = 'promised'
    const promised: Promised = { item: sending.item, rank, isFinal: false }
    this.#promised.push(promised)
    this.#open.add(promised)
  }

  #poll(): void {
    this.#world.scheduler.after(askAgainMs, undefined, () => {
      this.ask()
      this.#poll()
    })
  }

  /** Asks each gateway for what it promised. */
  ask(): void {
    for (const promised of this.#open) this.#ask(promised)
  }

  #ask(promised: Promised): void {
    const { rank, item } = promised
    const running = this.#nodes[rank]?.running
    if (running === undefined || !running.isServing || running.life.isPaused) return
    const answer = running.gateways[item.chain].answer(item.id)
    const sending = this.#byName.get(item.name) as Sending
    if (answer.status === 'pending') return
    if (answer.status === 'unknown') {
      if (this.#invariants.rolledBack.has(rank)) {
        // Its disk went back, and the promise with it: the sender turns to another gateway.
        this.#finish(promised)
        if (sending.fate === 'promised') sending.fate = 'sent'
        return
      }
      this.#invariants.fail('L1', `rank ${rank} does not know ${item.name}, which it promised`)
      return
    }
    this.#finish(promised)
    this.#world.trace.step(`answer ${answer.status}`, rank, item.name)
    if (answer.status === 'committed') {
      const place = { chain: item.chain, key: item.key, index: answer.index, size: answer.size }
      this.#invariants.committed(rank, place, running.cores[item.chain])
      if (sending.fate !== 'committed') this.#onCommitted(item)
      sending.fate = 'committed'
      sending.isFinal = true
    } else if (sending.fate !== 'committed') {
      sending.fate = answer.status
      const isQuorum = answer.status === 'deferred' && missingOf(answer) === 'quorum'
      if (isQuorum && this.#world.scheduler.nowMs > this.healedMs + healthyMs) {
        this.#invariants.fail('L1', `rank ${rank} found no quorum for ${item.name}`)
      }
      const isLast = this.#world.scheduler.nowMs >= this.healedMs + settleMs
      sending.isFinal = isLast && !isQuorum
    }
  }

  #finish(promised: Promised): void {
    promised.isFinal = true
    this.#open.delete(promised)
  }

  /** What keeps the run from its end: promises without an answer, and items that could be on record and are not. */
  unfinished(): string[] {
    const open = [...this.#open].map(({ item, rank }) => `${item.name} at rank ${rank}`)
    const left: string[] = []
    for (const { sendings } of this.#lanes) {
      for (const { item, fate, isFinal } of sendings) if (!isFinal) left.push(`${item.name} (${fate})`)
    }
    return [...open, ...left]
  }

  /** How many items ended how. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { sendings } of this.#lanes) {
      for (const { fate } of sendings) counts[fate] = (counts[fate] ?? 0) + 1
    }
    return counts
  }
}
