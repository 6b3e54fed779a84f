/** The gateway's real outbox over a database that outlives its processes, with faults between the two. */
import { Outbox } from '../../services/accounting-node/src/gateway/outbox.ts'
import type { Life } from './scheduler.ts'
import { fateOf, Injected, type World } from './world.ts'

/** What a gateway calls. */
export type OutboxPort = Pick<Outbox, keyof Outbox>

/** A database and the way to it of one process at a time. */
export class SimulatedOutbox {
  readonly #world: World
  readonly #name: string
  #inner = new Outbox(':memory:')

  constructor(world: World, name: string) {
    this.#world = world
    this.#name = name
  }

  /** The outbox as one process has it. */
  port(life: Life): OutboxPort {
    const inner = this.#inner
    const read = <T>(work: () => T): T => {
      if (life.isDead) throw new Injected('dead')
      return work()
    }
    const write = <T>(what: string, work: () => T): T => {
      if (life.isDead) throw new Injected('dead')
      const fate = fateOf(this.#world, { kind: 'outbox', rank: life.rank, what: `${this.#name} ${what}` })
      if (fate !== 'fails') {
        const result = work()
        if (fate === 'done') return result
      }
      this.#world.trace.step(`outbox ${fate}`, life.rank, what)
      throw new Injected(`outbox ${what}: the disk failed`)
    }
    return {
      accept: (acceptances, finished) => write('accept', () => inner.accept(acceptances, finished)),
      finish: (rows) => (rows.length === 0 ? undefined : write('finish', () => inner.finish(rows))),
      answer: (answers, atMs) =>
        answers.length === 0 ? undefined : write('answer', () => inner.answer(answers, atMs)),
      pending: (countMax) => read(() => inner.pending(countMax)),
      leaf: (number) => read(() => inner.leaf(number)),
      promise: (number) => read(() => inner.promise(number)),
      storedAnswer: (id) => read(() => inner.storedAnswer(id)),
      prune: (nowMs) => write('prune', () => inner.prune(nowMs)),
      close: () => {},
    }
  }

  /** Loses everything, as a disk that was set back to its first day. */
  lose(): void {
    this.#inner.close()
    this.#inner = new Outbox(':memory:')
  }

  /** Frees the database. */
  end(): void {
    this.#inner.close()
  }
}
