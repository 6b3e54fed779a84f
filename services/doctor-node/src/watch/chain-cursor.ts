/** How far a chain was taken in: the follower's cursor, and the size of the log there. Two rows of `node.db`. */
import type { FollowedBlock } from '@healthblock/runtime/follower'
import type { Database } from '@healthblock/runtime/sqlite'

/** The place in one chain. */
export class ChainCursor {
  readonly #database: Database
  readonly #name: string

  constructor(database: Database, name: 'userchain' | 'docchain') {
    this.#database = database
    this.#name = name
  }

  /** The follower's cursor behind the last block written down; undefined before the first. */
  cursor(): Uint8Array | undefined {
    return this.#read(this.#name)
  }

  /** Size of the log behind it; 0 before the first. */
  size(): number {
    const value = this.#read(`${this.#name}.size`)
    return value === undefined ? 0 : Number(new TextDecoder().decode(value))
  }

  /** A block was taken in. Inside the caller's transaction. */
  write(block: FollowedBlock): void {
    const size = new TextEncoder().encode(String(sizeBehind(block)))
    this.#database.run('INSERT OR REPLACE INTO cursor (name, value) VALUES (?, ?)', this.#name, block.cursor)
    this.#database.run('INSERT OR REPLACE INTO cursor (name, value) VALUES (?, ?)', `${this.#name}.size`, size)
  }

  #read(name: string): Uint8Array | undefined {
    const row = this.#database.get('SELECT value FROM cursor WHERE name = ?', name)
    return row?.value as Uint8Array | undefined
  }
}

/** Size of the log that ends with a block. */
export function sizeBehind({ firstIndex, leaves }: FollowedBlock): number {
  return firstIndex + leaves.length
}
