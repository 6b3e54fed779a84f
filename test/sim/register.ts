/** A linearizable register whose calls may be lost, unanswered or late, and which may lose its values or go back to old ones. */
import type { ChainName } from '@healthblock/chain/chains'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { HeadRegister } from '../../services/accounting-node/src/core/ports.ts'
import type { Life } from './scheduler.ts'
import { fateOf, Injected, later, type World } from './world.ts'

/** How long a caller waits for a call that is not answered. */
const timeoutMs = 2_000

/** Told of each value that the register takes. */
export type RegisterObserver = (chain: ChainName, value: Uint8Array, rank: number) => void

type Course = 'ok' | 'away' | 'lost' | 'unanswered' | 'late'

/** The register of all nodes. */
export class SimulatedRegister {
  readonly #world: World
  readonly #observe: RegisterObserver
  readonly #values = new Map<ChainName, Uint8Array>()
  readonly #past: Record<ChainName, Uint8Array[]> = { userchain: [], docchain: [] }

  constructor(world: World, observe: RegisterObserver) {
    this.#world = world
    this.#observe = observe
  }

  #course(life: Life, what: string): Course {
    const { random, faults } = this.#world
    const fate = fateOf(this.#world, { kind: 'register', rank: life.rank, what })
    if (fate !== 'done') return fate === 'fails' ? 'lost' : 'unanswered'
    const { away, lost, unanswered, late } = faults.register
    if (away) return 'away'
    if (lost + unanswered + late === 0) return 'ok'
    const drawn = random.unit()
    if (drawn < lost) return 'lost'
    if (drawn < lost + unanswered) return 'unanswered'
    return drawn < lost + unanswered + late ? 'late' : 'ok'
  }

  /** Runs `execute` at one moment between call and answer, or as the faults have it. */
  async #call<T>(life: Life, what: string, execute: () => T): Promise<T> {
    if (life.isDead) return new Promise(() => {})
    const { random, scheduler, trace } = this.#world
    const course = this.#course(life, what)
    trace.step(`register ${course}`, life.rank, what)
    const sent = random.between(0.2, 2)
    if (course === 'ok') {
      const result = await new Promise<T>((resolve) => {
        // It happens whether or not the caller lives to see it.
        scheduler.after(sent, undefined, () => {
          const value = execute()
          scheduler.after(random.between(0.2, 2), life, () => resolve(value))
        })
      })
      return result
    }
    if (course === 'unanswered') scheduler.after(sent, undefined, execute)
    if (course === 'late') scheduler.after(timeoutMs + random.between(0, 3_000), undefined, execute)
    await later(this.#world, life, course === 'away' ? sent : timeoutMs)
    throw new Injected(`register: ${course}`)
  }

  /** The register as one process has it. */
  port(life: Life): HeadRegister {
    return {
      read: (chain) => this.#call(life, `read ${chain}`, () => this.#values.get(chain)),
      cas: (chain, expected, next) => {
        const value = next.slice()
        return this.#call(life, `cas ${chain}`, () => this.#cas(chain, expected, value, life.rank))
      },
    }
  }

  #isSame(present: Uint8Array | undefined, expected: Uint8Array | undefined): boolean {
    if (present === undefined || expected === undefined) return present === expected
    return equalBytes(present, expected)
  }

  #cas(chain: ChainName, expected: Uint8Array | undefined, next: Uint8Array, rank: number): boolean {
    const present = this.#values.get(chain)
    const same = this.#isSame(present, expected)
    this.#world.trace.step(same ? 'register set' : 'register differs', rank, next)
    if (!same) return false
    this.#values.set(chain, next)
    this.#past[chain].push(next)
    this.#observe(chain, next, rank)
    return true
  }

  /** The value of a chain. */
  value(chain: ChainName): Uint8Array | undefined {
    return this.#values.get(chain)
  }

  /** Forgets a chain's value. */
  lose(chain: ChainName): void {
    this.#values.delete(chain)
  }

  /** Sets a chain back to one of its last `depth` values. */
  rollBack(chain: ChainName, depth = 12): void {
    const past = this.#past[chain].slice(-depth)
    if (past.length > 0) this.#values.set(chain, this.#world.random.pick(past))
  }
}
