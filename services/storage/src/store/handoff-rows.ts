/** The queue of what other stores are still to be given or told. Owned by the writer's thread. */
import { type HandoffRequest, handoffKinds } from './operations.ts'
import type { Statements } from './statements.ts'

/** In place of an account where copies are handed over: they are one entry for all accounts. */
const noAccount = new Uint8Array(32)

/** The queue's rows. */
export class HandoffRows {
  readonly #statements: Statements

  constructor(statements: Statements) {
    this.#statements = statements
  }

  /** A copy that a store is to be given. */
  addCopy(copy: { digest: Uint8Array; target: Uint8Array; at: number; now: number }): void {
    this.add({ handoffKind: handoffKinds.place, account: noAccount, ...copy })
  }

  /** Adds an entry, or makes the one that is there as new as this one. */
  add(entry: HandoffRequest): void {
    this.#statements.run(
      `INSERT INTO handoff (kind, digest, target, account, at, attempts, next_at, codec) VALUES (?, ?, ?, ?, ?, 0, ?, ?)
       ON CONFLICT (kind, digest, target, account) DO UPDATE SET at = max(at, excluded.at), codec = excluded.codec`,
      entry.handoffKind,
      entry.digest,
      entry.target,
      entry.account,
      entry.at,
      entry.now,
      entry.codec ?? null,
    )
  }

  /** A copy is where it should be, or the queue shall see to it. */
  settleCopy(copy: { digest: Uint8Array; target: Uint8Array }, dueAt: number | undefined): void {
    const entry = 'kind = ? AND digest = ? AND target = ? AND account = ?'
    const key = [handoffKinds.place, copy.digest, copy.target, noAccount] as const
    if (dueAt === undefined) this.#statements.run(`DELETE FROM handoff WHERE ${entry}`, ...key)
    else this.#statements.run(`UPDATE handoff SET next_at = ? WHERE ${entry}`, dueAt, ...key)
  }

  /** These are done, but for those that were asked for anew since they were read. */
  remove(entries: readonly { id: number; at: number }[]): void {
    for (const { id, at } of entries) this.#statements.run('DELETE FROM handoff WHERE id = ? AND at = ?', id, at)
  }

  /** No store is to be told any more that an account keeps a block since a time. */
  removeReference({ digest, account, at }: { digest: Uint8Array; account: Uint8Array; at: number }): void {
    const entry = 'kind = ? AND digest = ? AND account = ? AND at = ?'
    this.#statements.run(`DELETE FROM handoff WHERE ${entry}`, handoffKinds.refer, digest, account, at)
  }

  /** All that waits for a store is due. */
  wake(target: Uint8Array, now: number): void {
    this.#statements.run('UPDATE handoff SET next_at = ? WHERE target = ?', now, target)
  }

  /** One has failed, and is tried again. */
  retry(id: number, nextAt: number): void {
    this.#statements.run('UPDATE handoff SET attempts = attempts + 1, next_at = ? WHERE id = ?', nextAt, id)
  }
}
