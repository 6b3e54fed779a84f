import type { Person } from '../people/person.ts'

/**
 * Before the node has looked whether its folder is an older copy, nothing may be sealed: chunks of a file could be sealed a second time, and
 * readings with keys that were taken from a doctor since. It opens soon after a start, for good.
 */
export class SealingGate {
  readonly #doors = new Map<string, PromiseWithResolvers<void>>()

  /** Resolves once the person's readings and files may be sealed. */
  passed({ id }: Person): Promise<void> {
    return this.#doorOf(id).promise
  }

  /** The node has looked: what was under way in an older copy is given up. */
  open({ id }: Person): void {
    this.#doorOf(id).resolve()
  }

  #doorOf(id: string): PromiseWithResolvers<void> {
    const known = this.#doors.get(id) ?? Promise.withResolvers<void>()
    this.#doors.set(id, known)
    return known
  }
}
