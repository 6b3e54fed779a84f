import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import type { Alarms } from '../judging/alarms.ts'
import { openOwn } from '../judging/judge.ts'
import type { Composer } from '../posting/compose.ts'

/** Diagnoses of a patient that are opened for it. */
const diagnosesMax = 8
/** Patients with open alarms that are looked up. */
const patientsMax = 1_000

/**
 * What open alarms are about, in words, after a restart: the node keeps no value in the clear, so it opens its own newest diagnoses of those
 * patients, once.
 */
export class AlarmSentences {
  readonly #deps: { readonly database: Database; readonly composer: Composer; readonly alarms: Alarms }
  readonly #lookedUp = new Set<string>()

  constructor(deps: { readonly database: Database; readonly composer: Composer; readonly alarms: Alarms }) {
    this.#deps = deps
  }

  /** Looks up what was not looked up yet. */
  async recall(): Promise<void> {
    const patients = this.#deps.database.all(
      'SELECT DISTINCT patient FROM alarm WHERE ended IS NULL OR acknowledged IS NULL LIMIT ?',
      patientsMax,
    )
    for (const { patient } of patients) {
      const name = toHex(patient as Uint8Array)
      if (this.#lookedUp.has(name)) continue
      this.#lookedUp.add(name)
      await this.#recallOf(patient as Uint8Array)
    }
  }

  async #recallOf(patient: Uint8Array): Promise<void> {
    const { database, composer, alarms } = this.#deps
    const rows = database.all(
      `SELECT * FROM posting WHERE patient = ? AND what = 'diagnosis' AND byhand = 0 AND state = 'committed'
       ORDER BY sequence DESC LIMIT ?`,
      ...[patient, diagnosesMax],
    )
    for (const row of rows) {
      // The newest sentence counts: what is known already stays.
      for (const finding of (await openOwn(composer, row))?.findings ?? []) alarms.recall(patient, finding)
    }
  }
}
