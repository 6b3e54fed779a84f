/** The receipts of what concerns a person: of her own transactions from this node's files, of diagnoses from the ledger. */
import { join } from 'node:path'
import { toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError } from '@healthblock/runtime/errors'
import { readFileIfPresent } from '@healthblock/runtime/files'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import type { Database } from '@healthblock/runtime/sqlite'
import type { Person } from '../store/person.ts'

interface Dependencies {
  readonly dir: string
  readonly database: Database
  readonly client: Pick<LedgerClient, 'receipt'>
}

/** Finds receipts. */
export class Receipts {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * The receipt's bytes; undefined if the transaction is not this person's, or not committed yet.
   *
   * @throws {RuntimeError} as `LedgerClient.receipt`, where the ledger must be asked and is out of reach.
   */
  async find(person: Person, id: Uint8Array): Promise<Uint8Array | undefined> {
    const { database, dir, client } = this.#deps
    const isOwn = database.get('SELECT 1 FROM posting WHERE tx = ? AND account = ?', id, person.account) !== undefined
    if (isOwn) return readFileIfPresent(join(dir, 'receipts', `${toHex(id)}.json`))
    const isAbout = database.get('SELECT 1 FROM diagnosis WHERE tx = ? AND account = ?', id, person.account)
    if (isAbout === undefined) return undefined
    try {
      return await client.receipt('docchain', id)
    } catch (error) {
      if (isRuntimeError(error, 'ERR_NOT_FOUND')) return undefined
      throw error
    }
  }
}
