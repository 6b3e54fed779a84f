/** An intake queue that loses, repeats and reorders jobs, is away, or is wiped: all that the port allows. */
import type { ChainName } from '@healthblock/chain/chains'
import type { IntakeQueue } from '../../services/accounting-node/src/core/ports.ts'
import { AccountingError } from '../../services/accounting-node/src/errors.ts'
import type { Life } from './scheduler.ts'
import { fateOf, later, type World } from './world.ts'

interface Taker {
  readonly life: Life
  readonly max: number
  readonly give: (jobs: Uint8Array[]) => void
}

function away(): AccountingError {
  return new AccountingError('away', { code: 'ERR_QUEUE_AWAY', retryAfterMs: 1_000, reason: 'away' })
}

/** The queue of one chain, of all nodes. */
export class SimulatedQueue {
  readonly #world: World
  readonly #chain: ChainName
  #jobs: Uint8Array[] = []
  #takers: Taker[] = []

  constructor(world: World, chain: ChainName) {
    this.#world = world
    this.#chain = chain
  }

  /** Forgets everything. */
  wipe(): void {
    this.#jobs = []
  }

  #put(job: Uint8Array): void {
    const { random, faults } = this.#world
    if (random.chance(faults.queue.lost)) return
    const copies = random.chance(faults.queue.repeated) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const at = random.chance(faults.queue.reordered) ? random.below(this.#jobs.length + 1) : this.#jobs.length
      this.#jobs.splice(at, 0, job)
    }
    this.#serve()
  }

  /** Gives jobs to who waits. A process that died meanwhile took them along. */
  #serve(): void {
    const { scheduler, faults, random } = this.#world
    while (this.#jobs.length > 0 && !faults.queue.away) {
      const taker = this.#takers.shift()
      if (taker === undefined) return
      if (taker.life.isDead) continue
      const jobs = this.#jobs.splice(0, taker.max)
      scheduler.after(random.between(0.1, 1), taker.life, () => taker.give(jobs))
    }
  }

  /** The queue as one process has it. */
  port(life: Life): IntakeQueue {
    return {
      add: (job) => this.#add(life, job.slice()),
      take: (max, signal) => this.#take(life, max, signal),
      depth: () => this.#jobs.length,
    }
  }

  async #add(life: Life, job: Uint8Array): Promise<void> {
    if (life.isDead) return new Promise(() => {})
    const { random, faults, scheduler, trace } = this.#world
    const scripted = fateOf(this.#world, { kind: 'queue', rank: life.rank, what: `add ${this.#chain}` })
    const { away: isAway, unanswered } = faults.queue
    const fate = scripted !== 'done' ? scripted : isAway ? 'fails' : random.chance(unanswered) ? 'fails-done' : 'done'
    trace.step(`queue ${fate}`, life.rank, job)
    const sent = random.between(0.2, 2)
    if (fate !== 'fails') scheduler.after(sent, undefined, () => this.#put(job))
    await later(this.#world, life, fate === 'done' ? sent + random.between(0.1, 1) : 1_000)
    if (fate !== 'done') throw away()
  }

  async #take(life: Life, max: number, signal: AbortSignal): Promise<Uint8Array[]> {
    if (life.isDead) return new Promise(() => {})
    const fate = fateOf(this.#world, { kind: 'queue', rank: life.rank, what: `take ${this.#chain}` })
    if (fate === 'fails') {
      await later(this.#world, life, 500)
      return []
    }
    const jobs = await new Promise<Uint8Array[]>((resolve) => {
      if (signal.aborted) return resolve([])
      const taker: Taker = { life, max, give: resolve }
      this.#takers.push(taker)
      signal.addEventListener('abort', () => this.#leave(taker), { once: true })
      this.#serve()
    })
    // A job that is taken by a call that fails is lost.
    return fate === 'fails-done' ? [] : jobs
  }

  #leave(taker: Taker): void {
    const at = this.#takers.indexOf(taker)
    if (at < 0) return
    this.#takers.splice(at, 1)
    taker.give([])
  }

  /** Goes on after it was away. */
  resume(): void {
    this.#serve()
  }
}
