/** The gateway's real outbox, opened anew by each process over a database that outlives them, with faults between the two. */
import type { Database } from '@healthblock/runtime/sqlite'
import { Outbox, openOutboxDatabase } from '../../services/accounting-node/src/gateway/outbox.ts'
import type { Life } from './scheduler.ts'
import { fateOf, Injected, later, type World } from './world.ts'

/** What a gateway calls. */
export type OutboxPort = Pick<Outbox, keyof Outbox>

/** Until promises are on the disk: others wait meanwhile, what is under way goes on. */
const syncMs = 0.4

/** Emptied databases of runs that ended: making one costs as much as a hundred events. */
const idle: Database[] = []

function empty(database: Database): Database {
  database.transaction(() => {
    for (const table of ['promised', 'answer', 'sqlite_sequence']) database.run(`DELETE FROM ${table}`)
  })
  return database
}

/** A database and the way to it of one process at a time. */
export class SimulatedOutbox {
  readonly #world: World
  readonly #name: string
  readonly #database = idle.pop() ?? openOutboxDatabase(':memory:')

  constructor(world: World, name: string) {
    this.#world = world
    this.#name = name
  }

  /** The outbox as one process has it. */
  port(life: Life): OutboxPort {
    const inner = new Outbox(this.#database)
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
      accept: async (acceptances, finished) => {
        const rows = await write('accept', () => inner.accept(acceptances, finished))
        if (acceptances.length > 0) await later(this.#world, life, syncMs)
        return rows
      },
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
    empty(this.#database)
  }

  /** Leaves the database to another run. */
  end(): void {
    idle.push(empty(this.#database))
  }
}
