/**
 * Whose key reads the ledger for the house. Anybody of it who is on the ledger may; whose key was replaced may not any more, in an older copy of
 * the folder for instance. Then the house goes on with another one's.
 */
import type { SigningKey } from '@healthblock/crypto/signature'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { LedgerView } from '../ledger-view.ts'
import type { Person } from '../store/person.ts'

/** A key with which the ledger may be read. */
export interface LedgerReader {
  readonly person: Person
  readonly signingKey: SigningKey
  /** Of this key of this person. */
  readonly name: string
}

interface Dependencies {
  readonly people: () => readonly Person[]
  readonly ledger: Pick<LedgerView, 'opKey'>
  /** True while every accounting node that answers turns this node away. */
  readonly isTurnedAway: () => boolean
}

/** Chooses a key for each question. */
export class LedgerReaders {
  readonly #deps: Dependencies
  #current: string | undefined
  /** Names of keys that the verified ledger had in force: once it has not, they are not tried again by themselves. */
  readonly #known = new Set<string>()

  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * The same key as long as it is taken. While the ledger turns it away, one after the other, but for those that were replaced: which op key is
   * in force is read from there.
   */
  choose(): LedgerReader | undefined {
    const all = this.candidates()
    const live = all.filter((reader) => this.#isInForce(reader))
    for (const { name } of live) this.#known.add(name)
    const left = all.filter((reader) => live.includes(reader) || !this.#known.has(reader.name))
    const tried = left.length > 0 ? left : all
    const at = tried.findIndex(({ name }) => name === this.#current)
    const isTurnedAway = at !== -1 && this.#deps.isTurnedAway()
    const chosen = at === -1 ? (live[0] ?? tried[0]) : tried[isTurnedAway ? (at + 1) % tried.length : at]
    this.#current = chosen?.name
    return chosen
  }

  /** Keys of everybody whose enrolment went as far as the ledger, new ones that root signed for included. */
  candidates(): LedgerReader[] {
    const enrolled = this.#deps.people().filter(({ state }) => state !== 'pending')
    return enrolled.flatMap((person) =>
      [person.opKey, person.nextOp].flatMap((signingKey) =>
        signingKey === undefined ? [] : [{ person, signingKey, name: `${person.id} ${toHex(signingKey.publicKey)}` }],
      ),
    )
  }

  #isInForce({ person, signingKey }: LedgerReader): boolean {
    const inForce = this.#deps.ledger.opKey(person.account)
    return inForce !== undefined && equalBytes(inForce, signingKey.publicKey)
  }
}
