/**
 * Whom a person can give access: the cards of the organisations' directories, checked against this node's own copy of the ledger, and the
 * names that she gave herself. A card says a name; only the ledger says a key.
 */
import { sha256 } from '@healthblock/crypto/hash'
import { comparisonWords } from '@healthblock/crypto/recovery-phrase'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import { rolesThatRead } from '../consent/request.ts'
import { UserNodeError } from '../errors.ts'
import type { LedgerView } from '../ledger-view.ts'
import type { Person } from '../store/person.ts'

/** Somebody who can be given access, or was. */
export interface ContactView {
  readonly account: string
  /** The person's own name for her; null if she gave none. */
  readonly petname: string | null
  /** What the organisation's card says; null without a card. */
  readonly name: string | null
  /** Role on the ledger; 2 is a doctor. */
  readonly role: number
  /** For a doctor: the licence is in force. Others need none. */
  readonly isLicensed: boolean
  /** Six words of the key on the ledger, to be compared aloud; empty if the ledger has no key. */
  readonly words: readonly string[]
  /** False if the card speaks of another key than the ledger. */
  readonly isCardRight: boolean
  /** When the person said that she had compared the words; null if never, or the key is another one since. */
  readonly comparedAt: string | null
  /** True if the words were compared, and the key is another one since. */
  readonly isKeyChanged: boolean
}

interface Card {
  readonly name: string
  readonly account: string
  readonly kemHash: string
}

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
  readonly client: Pick<LedgerClient, 'list'>
  readonly urls: readonly string[]
  readonly nowMs: () => number
}

const listedMax = 100

function isCard(value: unknown): value is Card {
  const { name, account, kemHash } = (value ?? {}) as Record<string, unknown>
  const isId = (id: unknown): boolean => typeof id === 'string' && /^[0-9a-f]{64}$/.test(id)
  return typeof name === 'string' && name.length <= 256 && isId(account) && isId(kemHash)
}

/** The directory as one person sees it. */
export class Contacts {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Everybody whose name holds `query`, at most 100; and how many organisations did not answer.
   *
   * @param query - compared without regard to case and accents; empty finds all.
   */
  async find(person: Person, query: string): Promise<{ found: ContactView[]; isMore: boolean; unreachable: number }> {
    const { urls, client } = this.#deps
    const answers = await Promise.allSettled(urls.map((url) => client.list('directory', { url })))
    const cards = new Map<string, Card>()
    for (const answer of answers) {
      if (answer.status !== 'fulfilled') continue
      for (const card of answer.value) if (isCard(card)) cards.set(card.account, card)
    }
    const rows = this.#rows(person)
    const accounts = new Set([...cards.keys(), ...rows.keys()])
    const wanted = fold(query)
    const all = [...accounts]
      .map((account) => this.#view(account, cards.get(account), rows.get(account)))
      .filter((view) => view !== undefined)
      .filter(({ name, petname }) => fold(`${name ?? ''}\n${petname ?? ''}`).includes(wanted))
      .sort((a, b) => titleOf(a).localeCompare(titleOf(b)))
    const unreachable = answers.filter(({ status }) => status === 'rejected').length
    return { found: all.slice(0, listedMax), isMore: all.length > listedMax, unreachable }
  }

  /** One account, without asking anybody. @throws {UserNodeError} `ERR_DOCTOR_UNKNOWN`. */
  get(person: Person, account: string): ContactView {
    const view = this.#view(account, undefined, this.#rows(person).get(account))
    if (view !== undefined) return view
    throw new UserNodeError('nobody with that account can be given access', { code: 'ERR_DOCTOR_UNKNOWN', account })
  }

  /** The names that a person gave, by account: for lists that name people. */
  names(person: Person): { account: string; name: string; comparedAt: string | null }[] {
    return [...this.#rows(person)].map(([account, row]) => ({
      ...{ account, name: row.name as string, comparedAt: timeOf(row.compared) },
    }))
  }

  /**
   * Gives a name. `isCompared`: the person compared the six words of the key that the ledger has now.
   *
   * @throws {UserNodeError} `ERR_DOCTOR_UNKNOWN`.
   */
  put(person: Person, account: string, contact: { name: string; isCompared: boolean }): ContactView {
    const { database, ledger, nowMs } = this.#deps
    const key = ledger.account(fromHex(account))?.kemKey
    this.get(person, account)
    const compared = contact.isCompared && key !== undefined ? nowMs() : null
    database.run(
      `INSERT INTO contact (owner, account, name, compared, key) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (owner, account) DO UPDATE SET name = excluded.name,
         compared = coalesce(excluded.compared, compared), key = coalesce(excluded.key, key)`,
      ...[person.account, fromHex(account), contact.name.trim(), compared],
      compared === null || key === undefined ? null : sha256(key),
    )
    return this.get(person, account)
  }

  #rows(person: Person): Map<string, SqlRow> {
    const rows = this.#deps.database.all('SELECT * FROM contact WHERE owner = ? LIMIT 10000', person.account)
    return new Map(rows.map((row) => [toHex(row.account as Uint8Array), row]))
  }

  #view(account: string, card: Card | undefined, row: SqlRow | undefined): ContactView | undefined {
    const known = this.#deps.ledger.account(fromHex(account))
    if (known === undefined || !rolesThatRead.includes(known.role)) return undefined
    const hash = sha256(known.kemKey)
    const wasCompared = row !== undefined && row.compared !== null
    const isSameKey = wasCompared && equalBytes(row.key as Uint8Array, hash)
    return {
      account,
      petname: (row?.name as string | undefined) ?? null,
      name: card?.name ?? null,
      role: known.role,
      isLicensed: known.role !== 2 || known.isLicensed,
      words: comparisonWords(known.kemKey),
      isCardRight: card === undefined || card.kemHash === toHex(hash),
      comparedAt: isSameKey ? timeOf(row.compared) : null,
      isKeyChanged: wasCompared && !isSameKey,
    }
  }
}

function timeOf(value: unknown): string | null {
  return value === null || value === undefined ? null : new Date(Number(value)).toISOString()
}

function titleOf({ petname, name, account }: ContactView): string {
  return petname ?? name ?? account
}

function fold(text: string): string {
  return text.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase()
}
