/** What a person has of a period as FHIR R4 (packages/fhir/SPEC.md §4): to take it elsewhere. Opened for the one answer, and kept nowhere. */

import type { HeldNodes } from '@healthblock/crypto/hot-store'
import { toHex } from '@healthblock/encoding/bytes'
import { addMissing, encodeMissing, type MissingStretch } from '@healthblock/fhir/bundle'
import { encodeConsent } from '@healthblock/fhir/ledger'
import { encodeObservations } from '@healthblock/fhir/observation'
import { encodeDiagnosis, reportStatuses } from '@healthblock/fhir/report'
import type { Database } from '@healthblock/runtime/sqlite'
import type { FhirResource } from 'fhir/r4.js'
import type { LedgerView } from '../ledger-view.ts'
import type { Session } from '../people/sessions.ts'
import type { Person, PersonStream } from '../store/person.ts'
import type { Diagnoses } from './diagnoses.ts'
import { listGrants } from './lists.ts'
import type { Measurements } from './measurements.ts'

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
  readonly measurements: Measurements
  readonly diagnoses: Diagnoses
  readonly nowMs: () => number
}

/** What of a person's is exported: what was measured between two moments, Unix ms. */
export interface ExportPeriod {
  readonly fromMs: number
  readonly untilMs: number
  readonly streams: readonly PersonStream[]
}

/** Exports. */
export class FhirExport {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** How many records {@link resources} looks through. */
  recordsIn(person: Person, period: ExportPeriod): number {
    const streams = period.streams.filter(({ kind }) => kind === 'ecg' || kind === 'vitals')
    return streams.reduce((sum, stream) => sum + this.#deps.measurements.count(person, stream, period), 0)
  }

  /** The readings that are on the ledger, diagnoses, grants, and what is missing. Whole records: the first and the last may reach beyond the period. */
  async *resources(
    session: Session,
    held: readonly HeldNodes[],
    period: ExportPeriod & { readonly onRecord?: () => void },
  ): AsyncGenerator<FhirResource> {
    const { measurements } = this.#deps
    const patient = `Patient/${session.person.id}`
    const missing: MissingStretch[] = []
    for (const stream of period.streams) {
      if (stream.kind !== 'ecg' && stream.kind !== 'vitals') continue
      for await (const record of measurements.each(session, stream, period)) {
        period.onRecord?.()
        const { batch, fromMs, toMs, sequence, transactionId, cid } = record
        if (typeof batch === 'string') {
          const reason = batch === 'absent' ? 'unreadable' : batch
          addMissing(missing, { stream: stream.kind, fromMs, toMs, reason })
          continue
        }
        const idPrefix = `${toHex(stream.stream)}-${sequence}`
        yield* encodeObservations(batch, {
          ...{ patient, idPrefix, transactionId: toHex(transactionId), cid: toHex(cid) },
        })
      }
      const waiting = measurements.waiting(session.person, stream, period)
      if (waiting !== undefined) addMissing(missing, { stream: stream.kind, ...waiting, reason: 'pending' })
    }
    yield* this.#reports(session, held, period, missing)
    yield* this.#consents(session, period)
    if (missing.length > 0) yield encodeMissing(missing)
  }

  *#reports(
    { person }: Session,
    held: readonly HeldNodes[],
    period: { fromMs: number; untilMs: number },
    missing: MissingStretch[],
  ): Generator<FhirResource> {
    for (const one of this.#deps.diagnoses.documents(person, held, period)) {
      const { transactionId, doctor, cid, status, document, correction, atMs } = one
      if (document === undefined) {
        addMissing(missing, { stream: 'diagnosis', fromMs: atMs, toMs: atMs, reason: 'unreadable' })
        continue
      }
      yield* encodeDiagnosis(document, {
        ...{ patient: `Patient/${person.id}`, practitioner: `Practitioner/${doctor}` },
        ...{ organization: `Organization/${doctor}`, transactionId, cid: toHex(cid), correction },
        ...{ status: reportStatuses[status] ?? 'preliminary', idPrefix: transactionId.slice(0, 32) },
      })
    }
  }

  *#consents({ person }: Session, { fromMs, untilMs }: { fromMs: number; untilMs: number }): Generator<FhirResource> {
    const { database, ledger, nowMs } = this.#deps
    for (const grant of listGrants(database, person, { ledger, nowMs: nowMs() })) {
      const endMs = grant.closedAt ?? grant.until
      if (grant.state === 'refused' || Date.parse(grant.openedAt) >= untilMs) continue
      if (endMs !== null && Date.parse(endMs) < fromMs) continue
      yield encodeConsent({
        ...{
          id: `grant-${grant.grant}`,
          patient: `Patient/${person.id}`,
          practitioner: `Practitioner/${grant.doctor}`,
        },
        ...{ organization: `Organization/${grant.doctor}`, transactionId: grant.openedBy ?? undefined },
        ...{ isActive: grant.state === 'open', grantedAtMs: Date.parse(grant.openedAt), streams: grant.streams },
        fromMs: Date.parse(grant.from),
        untilMs: endMs === null ? undefined : Date.parse(endMs),
      })
    }
  }
}
