/**
 * How many bytes and blocks there are, in all and of each account. They are read once, counted in memory while a group is
 * applied, and written once before it is committed: a statement for each change of each put took a tenth of it. Only the
 * writer's connection changes these tables, so that what is remembered stays true.
 */
import type { DatabaseSync } from 'node:sqlite'

/** Bytes and blocks. */
export interface Tally {
  bytes: number
  blocks: number
}

/** Accounts that are remembered between groups. */
const accountsMax = 4096

interface AccountTally extends Tally {
  readonly account: Uint8Array
  isChanged: boolean
}

/** The tallies of one node. Owned by the writer's thread. */
export class Tallies {
  readonly #database: DatabaseSync
  readonly #accounts = new Map<string, AccountTally>()
  #total: Tally | undefined
  #isTotalChanged = false
  /** What was added since the last mark, newest last. */
  readonly #added: { to: Tally; bytes: number; blocks: number }[] = []

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** What is here in all. */
  get total(): Readonly<Tally> {
    this.#total ??= this.#database.prepare('SELECT bytes, blocks FROM total').get() as unknown as Tally
    return this.#total
  }

  /** What an account references. */
  of(account: Uint8Array): Readonly<Tally> {
    return this.#find(account)
  }

  /** Counts a block more, or with negative numbers one less. */
  addBlock(bytes: number, blocks: 1 | -1): void {
    this.#isTotalChanged = true
    this.#add(this.total, bytes, blocks)
  }

  /** Counts a reference of an account more, or with negative numbers one less. */
  addReference(account: Uint8Array, bytes: number, blocks: 1 | -1): void {
    const found = this.#find(account)
    found.isChanged = true
    this.#add(found, bytes, blocks)
  }

  /** An operation begins, which may be undone. */
  mark(): void {
    this.#added.length = 0
  }

  /** Undoes what was counted since the mark. */
  rollBack(): void {
    for (const { to, bytes, blocks } of this.#added.splice(0)) {
      to.bytes -= bytes
      to.blocks -= blocks
    }
  }

  /** Writes what has changed, within the group's transaction. */
  write(): void {
    this.#added.length = 0
    if (this.#isTotalChanged) {
      const { bytes, blocks } = this.total
      this.#database.prepare('UPDATE total SET bytes = ?, blocks = ?').run(bytes, blocks)
      this.#isTotalChanged = false
    }
    for (const one of this.#accounts.values()) {
      if (!one.isChanged) continue
      one.isChanged = false
      this.#database.prepare('INSERT OR REPLACE INTO account VALUES (?, ?, ?)').run(one.account, one.bytes, one.blocks)
    }
    if (this.#accounts.size > accountsMax) this.#accounts.clear()
  }

  /** The group was not committed: nothing of it holds. */
  forget(): void {
    this.#accounts.clear()
    this.#total = undefined
    this.#isTotalChanged = false
    this.#added.length = 0
  }

  #find(account: Uint8Array): AccountTally {
    const name = Buffer.from(account.buffer, account.byteOffset, account.length).toString('latin1')
    let found = this.#accounts.get(name)
    if (!found) {
      const row = this.#database.prepare('SELECT bytes, blocks FROM account WHERE account = ?').get(account)
      const tally = (row ?? { bytes: 0, blocks: 0 }) as unknown as Tally
      // The operation's bytes lie in a message that is given back.
      found = { ...tally, account: account.slice(), isChanged: false }
      this.#accounts.set(name, found)
    }
    return found
  }

  #add(to: Readonly<Tally>, bytes: number, blocks: number): void {
    const tally = to as Tally
    tally.bytes += bytes
    tally.blocks += blocks
    this.#added.push({ to: tally, bytes, blocks })
  }
}
