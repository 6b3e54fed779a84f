/** The doctor's own names for patients: on the ledger they have none. They never leave the node. */
import type { Database } from '@healthblock/runtime/sqlite'
import { DoctorNodeError } from '../errors.ts'

/** Longest petname, in characters of UTF-16. */
export const petnameLengthMax = 64
/** Controls, and marks that turn the direction of what stands around a name (Unicode UAX #9). */
const forbidden = /[\p{Cc}\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029]/u

/** Keeps petnames. */
export class Petnames {
  readonly #database: Database
  constructor(database: Database) {
    this.#database = database
  }

  /** A patient's petname; undefined if there is none. */
  of(patient: Uint8Array): string | undefined {
    return this.#database.get('SELECT name FROM petname WHERE patient = ?', patient)?.name as string | undefined
  }

  /**
   * Gives a patient a name, or takes it away with an empty one. Spaces at the ends are dropped.
   *
   * @returns The name as it is kept.
   * @throws {DoctorNodeError} `ERR_PETNAME_INVALID` for one that is too long, or holds control or direction marks.
   */
  set(patient: Uint8Array, wanted: string): string {
    const name = wanted.normalize('NFC').trim()
    if (name.length > petnameLengthMax || forbidden.test(name) || !name.isWellFormed()) {
      throw new DoctorNodeError(`a name has at most ${petnameLengthMax} characters, and no control marks`, {
        code: 'ERR_PETNAME_INVALID',
      })
    }
    if (name === '') this.#database.run('DELETE FROM petname WHERE patient = ?', patient)
    else this.#database.run('INSERT OR REPLACE INTO petname (patient, name) VALUES (?, ?)', patient, name)
    return name
  }
}
