import type { DatabaseSync, StatementSync } from 'node:sqlite'

/** Prepared statements of one database, each made once. */
export class Statements {
  readonly #database: DatabaseSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  prepare(sql: string): StatementSync {
    let statement = this.#prepared.get(sql)
    if (!statement) {
      statement = this.#database.prepare(sql)
      this.#prepared.set(sql, statement)
    }
    return statement
  }

  run(sql: string, ...values: (Uint8Array | number | string | null)[]): void {
    this.prepare(sql).run(...values)
  }

  /** The first row; undefined without any. */
  get(sql: string, ...values: (Uint8Array | number)[]): Record<string, unknown> | undefined {
    return this.prepare(sql).get(...values)
  }

  all(sql: string, ...values: (Uint8Array | number)[]): Record<string, unknown>[] {
    return this.prepare(sql).all(...values)
  }
}
