/** Says on the ledger which records could not be read, and why: one entry for each reason and grant, each record once. */
import { grantRights } from '@healthblock/chain/live-at'
import { toHex } from '@healthblock/encoding/bytes'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import type { Composer } from '../posting/compose.ts'
import type { Postings } from '../posting/postings.ts'
import { coversRecord, type Grants } from '../watch/grants.ts'
import { rangesOf } from './judge.ts'
import { type LedgerRecord, recordOf } from './reader.ts'

const recordsAtOnce = 256
/** Before every record. */
const first: Place = [0, new Uint8Array(0), 0]

type Place = readonly [code: number, stream: Uint8Array, sequence: number]

interface Dependencies {
  readonly database: Database
  readonly grants: Grants
  readonly composer: Composer
  readonly postings: Postings
  readonly logger: Logger
}

/** Reports what could not be read. */
export class UnreadableReports {
  readonly #deps: Dependencies
  /** By patient: where to go on. Of what no grant covers any more nothing can be said; it must not hold up what comes after it. */
  readonly #places = new Map<string, Place>()
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** Writes down what is to be said about some of a patient's records; call it again and again. */
  report(patient: Uint8Array): void {
    const { database, grants, composer, postings, logger } = this.#deps
    const name = toHex(patient)
    const rows = database.all(
      `SELECT * FROM record WHERE patient = ? AND state = 'unreadable' AND reported IS NULL AND (code, stream, sequence) > (?, ?, ?)
       ORDER BY code, stream, sequence LIMIT ?`,
      ...[patient, ...(this.#places.get(name) ?? first), recordsAtOnce],
    )
    const last = rows.at(-1)
    if (last === undefined || rows.length < recordsAtOnce) this.#places.delete(name)
    else this.#places.set(name, [Number(last.code), last.stream as Uint8Array, Number(last.sequence)])
    const items = rows.map((row) => ({ code: Number(row.code), record: recordOf(row) }))
    const said = new Set<LedgerRecord>()
    for (const grant of rows.length === 0 ? [] : grants.live(patient, grantRights.diagnose)) {
      for (const code of [1, 2, 3, 4, 5]) {
        const found = items.filter((item) => item.code === code && !said.has(item.record)).map(({ record }) => record)
        const { ranges, records } = rangesOf(found.filter((record) => coversRecord(grant, record)))
        if (records.length === 0) continue
        for (const record of records) said.add(record)
        const body = { v: 1, t: 'unreadable', a: composer.account(), pat: patient, g: grant.gid } as const
        const { tx, leaf } = composer.sign({ ...body, basis: composer.basis(), in: ranges, code })
        database.transaction(() => {
          const place = { generation: 0, epoch: 0, sequence: 0, byHand: false, algorithm: new Uint8Array(32) }
          postings.add({ ...place, tx, what: 'unreadable', patient, gid: grant.gid, inputs: ranges, leaf })
          for (const { stream, sequence } of records) {
            database.run(
              'UPDATE record SET reported = ? WHERE patient = ? AND stream = ? AND sequence = ?',
              ...[tx, patient, stream, sequence],
            )
          }
        })
        logger.warn({ patient: toHex(patient), code, records: records.length }, 'records cannot be read')
      }
    }
  }
}
