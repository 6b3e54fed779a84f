/**
 * One person of the household, as the running node knows her: the hot store in memory, never the vault. Whoever changes
 * the hot store writes it through `PersonStore` in the same transaction as what it belongs to.
 */
import { consentAheadMsMax } from '@healthblock/chain/rules'
import { type HotStoreContents, openHotStore, sealHotStore } from '@healthblock/crypto/hot-store'
import { epochKeyFrom, reachesEpoch, type TreeNode } from '@healthblock/crypto/key-tree'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'
import { hotKeyWrong } from './hot-key.ts'

/** The standard streams of a household's device, with their kinds in envelopes. */
export const standardStreams = { ecg: 1, vitals: 2, records: 3, profile: 4 } as const
/** Name of a standard stream. */
export type StreamName = keyof typeof standardStreams

/** A data stream of a person. */
export interface PersonStream {
  readonly stream: Uint8Array
  readonly kind: StreamName
}

/** How long consent may wait for the ledger: a sender's clock may be ahead of the leader's, which an hour of what the rules allow is left for. */
export const consentValidityMs = consentAheadMsMax - 3_600_000

/** A person's place in the life of an account. */
export type PersonState = 'pending' | 'registering' | 'live'

/** A person of the household. `hot` is replaced as a whole. */
export interface Person {
  readonly account: Uint8Array
  /** Hex of the account. */
  readonly id: string
  readonly name: string
  state: PersonState
  hot: HotStoreContents
  /** The one in force on the ledger, as far as this node knows. Replaced with `hot`. */
  opKey: SigningKey
  /** What root signed to take its place (`rekey.ts`), until the ledger has it. */
  nextOp?: SigningKey | undefined
  readonly device: Uint8Array
  readonly streams: readonly PersonStream[]
}

/**
 * The key of an epoch, from the nodes at hand.
 *
 * @returns undefined if none of them reaches it.
 */
export function epochKeyOf(
  held: HotStoreContents['nodes'],
  place: { stream: Uint8Array; generation: number; epoch: number },
): Uint8Array | undefined {
  for (const { stream, generation, first, nodes } of held) {
    if (generation !== place.generation || !equalBytes(stream, place.stream)) continue
    try {
      return epochKeyFrom({ nodes: nodes as TreeNode[], first, epoch: place.epoch })
    } catch {
      // These nodes do not reach that epoch; others of the same generation may.
    }
  }
  return undefined
}

/** True if these nodes reach the keys of that epoch: they do not once it was erased. */
export function reachesPlace(
  held: HotStoreContents['nodes'],
  place: { stream: Uint8Array; generation: number; epoch: number },
): boolean {
  return held.some(
    ({ stream, generation, first, nodes }) =>
      generation === place.generation &&
      equalBytes(stream, place.stream) &&
      reachesEpoch({ nodes: nodes as TreeNode[], first, epoch: place.epoch }),
  )
}

function openHot(name: string, file: Uint8Array, wrappingKey: Uint8Array): HotStoreContents {
  try {
    return openHotStore({ file, wrappingKey })
  } catch (cause) {
    throw hotKeyWrong('hot.key', `does not open the hot store of ${name}`, cause)
  }
}

/** Reads and writes people. The wrapping key of the hot stores is a file that only the service's user can read. */
export class PersonStore {
  readonly #database: Database
  readonly #wrappingKey: Uint8Array
  readonly #people = new Map<string, Person>()

  constructor(database: Database, wrappingKey: Uint8Array) {
    this.#database = database
    this.#wrappingKey = wrappingKey
    for (const row of database.all('SELECT account, name, state, device, hot FROM person')) {
      const account = row.account as Uint8Array
      const hot = openHot(row.name as string, row.hot as Uint8Array, wrappingKey)
      const streams = database
        .all('SELECT stream, kind FROM stream WHERE account = ? LIMIT 64', account)
        .map((stream) => ({ stream: stream.stream as Uint8Array, kind: stream.kind as StreamName }))
        .sort((a, b) => standardStreams[a.kind] - standardStreams[b.kind])
      this.#people.set(toHex(account), {
        account,
        id: toHex(account),
        name: row.name as string,
        state: row.state as PersonState,
        hot,
        opKey: signingKeyFromSeed(hot.opSeed),
        nextOp: this.#nextOpOf(row.name as string, account),
        device: row.device as Uint8Array,
        streams,
      })
    }
  }

  #nextOpOf(name: string, account: Uint8Array): SigningKey | undefined {
    const row = this.#database.get('SELECT hot FROM rekey WHERE account = ?', account)
    return row && signingKeyFromSeed(openHot(name, row.hot as Uint8Array, this.#wrappingKey).opSeed)
  }

  /** The transaction by which the next op key was asked for last; undefined if none is. */
  nextOpBy(person: Person): Uint8Array | undefined {
    return this.#database.get('SELECT tx FROM rekey WHERE account = ?', person.account)?.tx as Uint8Array | undefined
  }

  /** Keeps the next op key, sealed as a hot store without anything else. Inside the caller's transaction. */
  writeNextOp(person: Person, next: SigningKey, tx: Uint8Array): void {
    const sealed = this.sealHot({ ...person.hot, opSeed: next.exportSeed(), nodes: [], grants: [], sealedRoots: [] })
    this.#database.run('INSERT OR REPLACE INTO rekey (account, tx, hot) VALUES (?, ?, ?)', person.account, tx, sealed)
    person.nextOp = next
  }

  /** It took the other one's place. */
  clearNextOp(person: Person): void {
    this.#database.run('DELETE FROM rekey WHERE account = ?', person.account)
    person.nextOp = undefined
  }

  /** Everybody, in order of name. */
  all(): Person[] {
    return [...this.#people.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * The person of a name or an account (hex).
   *
   * @throws {UserNodeError} `ERR_PERSON_UNKNOWN`.
   */
  find(nameOrAccount: string): Person {
    const found = this.#people.get(nameOrAccount) ?? this.all().find(({ name }) => name === nameOrAccount)
    if (found === undefined) {
      throw new UserNodeError('nobody of that name lives here', { code: 'ERR_PERSON_UNKNOWN', person: nameOrAccount })
    }
    return found
  }

  /** The person of an account, if she lives here. */
  byAccount(account: Uint8Array): Person | undefined {
    return this.#people.get(toHex(account))
  }

  /** Adds a person whose rows the caller wrote in the same transaction. */
  add(person: Person): void {
    this.#people.set(person.id, person)
  }

  /** The bytes of a hot store, for the caller's own insert. */
  sealHot(contents: HotStoreContents): Uint8Array {
    return sealHotStore({ contents, wrappingKey: this.#wrappingKey })
  }

  /** Writes a new hot store; call it inside the transaction of what it belongs to, and set `person.hot` after it. */
  writeHot(person: Person, contents: HotStoreContents): void {
    this.#database.run('UPDATE person SET hot = ? WHERE account = ?', this.sealHot(contents), person.account)
  }

  /** Writes a person's state. */
  writeState(person: Person, state: PersonState): void {
    this.#database.run('UPDATE person SET state = ? WHERE account = ?', state, person.account)
    person.state = state
  }

  /**
   * The next consent counter: above the last one and not behind the clock. One that is a day ahead was given by a clock that was wrong: the
   * ledger took none of that (packages/chain SPEC.md §6), and would take none above it. Inside the caller's transaction.
   *
   * @param recorded - the last one on the ledger.
   */
  nextCounter(person: Person, { nowMs, recorded }: { nowMs: number; recorded: number }): number {
    const last = this.counterOf(person)
    const counter = Math.max(nowMs, recorded + 1, last >= nowMs + consentAheadMsMax ? 0 : last + 1)
    this.#database.run('UPDATE person SET counter = ? WHERE account = ?', counter, person.account)
    return counter
  }

  /** The counter of the newest consent that this node gave. */
  counterOf(person: Person): number {
    return Number(this.#database.get('SELECT counter FROM person WHERE account = ?', person.account)?.counter ?? 0)
  }

  /** The counter of the consent on the ledger up to which it was looked for grants that this node does not know; 0 before the first time. */
  lookedAt(person: Person): number {
    return Number(this.#database.get('SELECT looked FROM person WHERE account = ?', person.account)?.looked ?? 0)
  }

  /** It was looked for them. */
  writeLooked(person: Person, counter: number): void {
    this.#database.run('UPDATE person SET looked = ? WHERE account = ?', counter, person.account)
  }
}
