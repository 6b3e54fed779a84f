/** Names of accounts as this organisation's directory has them: patients are in none. */
import { createContext } from 'preact'

/** Names by account, hex. */
export const Names = createContext<ReadonlyMap<string, string>>(new Map())

/** A card of the directory. */
export interface Card {
  readonly name: string
  readonly account: string
}

/** Names by account of some cards. */
export function namesOf(cards: readonly Card[] | undefined): ReadonlyMap<string, string> {
  return new Map((cards ?? []).map(({ account, name }) => [account, name]))
}
