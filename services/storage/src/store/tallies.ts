/**
 * How many bytes and blocks there are, in all and of each account. They are read once, counted in memory while a group is
 * applied, and written once before it is committed: a statement for each change of each put took a tenth of it. Only the
 * writer's connection changes these tables, so that what is remembered stays true.
 */
import type { DatabaseSync } from 'node:sqlite'
import { byteText } from '@healthblock/encoding/bytes'
import { Statements } from './statements.ts'

/** Bytes and blocks. */
export interface Tally {
  bytes: number
  blocks: number
}

/**
 * What a block takes in the tables beside its bytes, about: it counts on the quota, or many small ones would fill the disk beside it.
 * What is remembered of a removal takes about as much.
 */
export const blockRowBytes = 256

/** Bytes that an account has on its quota. */
export function quotaBytesOf({ bytes, blocks }: Readonly<Tally>): number {
  return bytes + blocks * blockRowBytes
}

/** What an account has at a node. */
export interface AccountUse extends Tally {
  /** What is remembered of its removals: releases, and what lay below its erased files and was not here. Tombstones are not counted: SPEC.md §5. */
  remembered: number
}

/** How many removals of an account may be remembered: what they take is bounded by its quota, beside what it references. */
export function rememberedMaxOf(accountBytesMax: number): number {
  return Math.floor(accountBytesMax / blockRowBytes)
}

/** Bytes that an account has left; none while too much is remembered of what it removed. */
export function quotaLeftOf(use: Readonly<AccountUse>, accountBytesMax: number): number {
  if (use.remembered > 0 && use.remembered >= rememberedMaxOf(accountBytesMax)) return 0
  return Math.max(0, accountBytesMax - quotaBytesOf(use))
}

/** Accounts that are remembered between groups. */
const accountsMax = 4096

interface AccountTally extends AccountUse {
  /** In its row; 0 without one. */
  number: number
  isChanged: boolean
}

/** The tallies of one node. Owned by the writer's thread. */
export class Tallies {
  readonly #statements: Statements
  readonly #accounts = new Map<string, AccountTally>()
  #total: Tally | undefined
  #isTotalChanged = false
  /** What was added since the last mark, newest last. */
  readonly #added: { to: Tally | AccountTally; bytes: number; blocks: number; remembered: number }[] = []
  /** Accounts that got their numbers since the last mark. */
  readonly #numbered: AccountTally[] = []

  constructor(database: DatabaseSync) {
    this.#statements = new Statements(database)
  }

  /** What is here in all. */
  get total(): Readonly<Tally> {
    this.#total ??= this.#statements.prepare('SELECT bytes, blocks FROM total').get() as unknown as Tally
    return this.#total
  }

  /** What an account references. */
  of(account: Uint8Array): Readonly<AccountUse> {
    return this.#find(account)
  }

  /** Counts a block more, or with negative numbers one less. */
  addBlock(bytes: number, blocks: 1 | -1): void {
    this.#isTotalChanged = true
    this.#add(this.total, bytes, blocks)
  }

  /** An account's number in references; 0 if it never had one. */
  numberOf(account: Uint8Array): number {
    return this.#find(account).number
  }

  /** Counts a reference of an account more, or with negative numbers one less. @returns the account's number. */
  addReference(account: Uint8Array, bytes: number, blocks: 1 | -1): number {
    const found = this.#changing(account)
    this.#add(found, bytes, blocks)
    return found.number
  }

  /** Counts so many more removals of an account that are remembered, or with negative numbers less. */
  remember(account: Uint8Array, count: number): void {
    const found = this.#changing(account)
    found.remembered += count
    this.#added.push({ to: found, bytes: 0, blocks: 0, remembered: count })
  }

  /** An account that is about to be changed. */
  #changing(account: Uint8Array): AccountTally {
    const found = this.#find(account)
    if (found.number === 0) {
      const insert = this.#statements.prepare('INSERT INTO account (account, bytes, blocks) VALUES (?, 0, 0)')
      found.number = Number(insert.run(account).lastInsertRowid)
      this.#numbered.push(found)
    }
    found.isChanged = true
    return found
  }

  /** An operation begins, which may be undone. */
  mark(): void {
    this.#added.length = 0
    this.#numbered.length = 0
  }

  /** Undoes what was counted since the mark; the tables go back by themselves. */
  rollBack(): void {
    for (const one of this.#numbered.splice(0)) {
      one.number = 0
      one.isChanged = false
    }
    for (const { to, bytes, blocks, remembered } of this.#added.splice(0)) {
      to.bytes -= bytes
      to.blocks -= blocks
      if ('remembered' in to) to.remembered -= remembered
    }
  }

  /** Writes what has changed, within the group's transaction. */
  write(): void {
    this.mark()
    if (this.#isTotalChanged) {
      const { bytes, blocks } = this.total
      this.#statements.prepare('UPDATE total SET bytes = ?, blocks = ?').run(bytes, blocks)
      this.#isTotalChanged = false
    }
    const update = this.#statements.prepare('UPDATE account SET bytes = ?, blocks = ?, remembered = ? WHERE id = ?')
    for (const one of this.#accounts.values()) {
      if (!one.isChanged) continue
      one.isChanged = false
      update.run(one.bytes, one.blocks, one.remembered, one.number)
    }
    if (this.#accounts.size > accountsMax) this.#accounts.clear()
  }

  /** The group was not committed: nothing of it holds. */
  forget(): void {
    this.#accounts.clear()
    this.#total = undefined
    this.#isTotalChanged = false
    this.mark()
  }

  #find(account: Uint8Array): AccountTally {
    const name = byteText(account)
    let found = this.#accounts.get(name)
    if (!found) {
      const find = this.#statements.prepare(
        'SELECT id AS number, bytes, blocks, remembered FROM account WHERE account = ?',
      )
      const row = find.get(account) ?? { number: 0, bytes: 0, blocks: 0, remembered: 0 }
      found = { ...(row as unknown as AccountUse & { number: number }), isChanged: false }
      this.#accounts.set(name, found)
    }
    return found
  }

  #add(to: Readonly<Tally>, bytes: number, blocks: number): void {
    const tally = to as Tally
    tally.bytes += bytes
    tally.blocks += blocks
    this.#added.push({ to: tally, bytes, blocks, remembered: 0 })
  }
}
