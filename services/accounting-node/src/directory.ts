/** The cards of the people whom this organisation sponsored under a name. Names are here and on no ledger. */
import { type Database, openDatabase } from '@healthblock/runtime/sqlite'

/** A card. */
export interface Card {
  readonly name: string
  readonly account: Uint8Array
  /** The role of its `register`. */
  readonly role: number
  /** H(KEM key): whoever is given a key can compare it. */
  readonly kemHash: Uint8Array
}

/** Most cards that one organisation lists. */
export const cardsMax = 100_000

const schema = `
  CREATE TABLE card (
    account BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    role INTEGER NOT NULL,
    kem_hash BLOB NOT NULL
  ) STRICT, WITHOUT ROWID`

/** The directory of one organisation, in `directory.db`. */
export class Directory {
  readonly #database: Database

  constructor(path: string) {
    this.#database = openDatabase({ path, synchronous: 'full', migrations: [schema], cacheSizeBytes: 1024 * 1024 })
  }

  /** Adds a card, or replaces the account's. */
  put(card: Card): void {
    const { account, name, role, kemHash } = card
    this.#database.run('INSERT OR REPLACE INTO card VALUES (?, ?, ?, ?)', account, name, role, kemHash)
  }

  /** All cards, by name. */
  list(): Card[] {
    return this.#database.all('SELECT * FROM card ORDER BY name, account LIMIT ?', cardsMax).map((row) => ({
      name: row.name as string,
      account: row.account as Uint8Array,
      role: row.role as number,
      kemHash: row.kem_hash as Uint8Array,
    }))
  }

  /** Closes the file. */
  close(): void {
    this.#database.close()
  }
}
