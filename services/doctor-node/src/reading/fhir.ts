/** What this doctor reads and says of a patient as FHIR R4, for systems of the hospital. */
import { toHex } from '@healthblock/encoding/bytes'
import { addMissing, encodeMissing, type MissingStretch } from '@healthblock/fhir/bundle'
import { encodeObservations } from '@healthblock/fhir/observation'
import { encodeDiagnosis, encodeDiagnosisBundle, type ReportContext, reportStatuses } from '@healthblock/fhir/report'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { FhirResource } from 'fhir/r4.js'
import { DoctorNodeError } from '../errors.ts'
import { openOwn } from '../judging/judge.ts'
import type { Composer } from '../posting/compose.ts'
import { amendmentsOf, kindName } from './lists.ts'
import type { OpenedRecords, OpenedStretch } from './opened-records.ts'

interface Parts {
  readonly database: Database
  readonly composer: Composer
}

/** FHIR ids have at most 64 characters: an account as lower-case hex just fits. */
const referenceOf = (type: string, account: Uint8Array): string => `${type}/${toHex(account)}`

/**
 * The Bundle of a diagnosis: see `packages/fhir/SPEC.md` §3.
 *
 * @throws {DoctorNodeError} `ERR_DIAGNOSIS_UNKNOWN` when there is none, or its key is gone.
 */
export async function exportDiagnosis(parts: Parts, id: Uint8Array): Promise<ReturnType<typeof encodeDiagnosisBundle>> {
  const { database, composer } = parts
  const row = database.get("SELECT * FROM posting WHERE what = 'diagnosis' AND tx = ?", id)
  const document = row === undefined ? undefined : await openOwn(composer, row)
  if (row === undefined || document === undefined)
    throw new DoctorNodeError('there is no such diagnosis', { code: 'ERR_DIAGNOSIS_UNKNOWN', diagnosis: toHex(id) })
  return encodeDiagnosisBundle(document, await contextOf(parts, row))
}

async function contextOf({ database, composer }: Parts, row: SqlRow): Promise<ReportContext> {
  const doctor = composer.account()
  const amended = await amendmentsOf(database, composer, row.tx as Uint8Array)
  return {
    correction: amended.findLast(({ act, status }) => act === 'correct' && status === 'on record')?.text,
    patient: referenceOf('Patient', row.patient as Uint8Array),
    practitioner: referenceOf('Practitioner', doctor),
    organization: referenceOf('Organization', doctor),
    transactionId: toHex(row.tx as Uint8Array),
    cid: row.cid === null ? undefined : toHex(row.cid as Uint8Array),
    status: reportStatuses[row.status as string] ?? 'preliminary',
  }
}

/** Bytes of a diagnosis' transaction id that tell its resources from those of others. */
const idPrefixBytes = 16
const page = { recordsMax: 32, bytesMax: 2 * 1024 * 1024 }

/**
 * A period of a patient, record by record: the readings that a live grant covers now, this doctor's diagnoses, and what is missing.
 *
 * @param period - Unix ms. Whole records: the first and the last may reach beyond it.
 * @throws {DoctorNodeError} `ERR_GRANT_NONE` if access ends meanwhile.
 */
export async function* exportPeriod(
  parts: Parts & { opened: Pick<OpenedRecords, 'streams' | 'read' | 'lost'> },
  patient: Uint8Array,
  period: { fromMs: number; toMs: number },
): AsyncGenerator<FhirResource> {
  const missing: MissingStretch[] = []
  for (const { stream, kind } of await parts.opened.streams(patient)) {
    const name = kindName(kind)
    if (name === 'ecg' || name === 'vitals') yield* readingsOf(parts, { patient, stream, name }, period, missing)
  }
  const { database, composer } = parts
  const rows = database.all(
    "SELECT * FROM posting WHERE what = 'diagnosis' AND state = 'committed' AND patient = ? AND at >= ? AND at < ? ORDER BY at LIMIT 100000",
    ...[patient, period.fromMs, period.toMs],
  )
  for (const row of rows) {
    const document = await openOwn(composer, row)
    const idPrefix = toHex((row.tx as Uint8Array).subarray(0, idPrefixBytes))
    if (document !== undefined) yield* encodeDiagnosis(document, { ...(await contextOf(parts, row)), idPrefix })
    else {
      const atMs = Number(row.at)
      addMissing(missing, { stream: 'diagnosis', fromMs: atMs, toMs: atMs, reason: 'unreadable' })
    }
  }
  if (missing.length > 0) yield encodeMissing(missing)
}

async function* readingsOf(
  { database, opened }: { database: Database; opened: Pick<OpenedRecords, 'read' | 'lost'> },
  { patient, stream, name }: { patient: Uint8Array; stream: Uint8Array; name: string },
  { fromMs, toMs }: { fromMs: number; toMs: number },
  missing: MissingStretch[],
): AsyncGenerator<FhirResource> {
  /** A page may begin with the record that the one before ended with. */
  let known = new Set<number>()
  for (let from: number | undefined = fromMs; from !== undefined && from < toMs; ) {
    const { records, unread, nextMs }: OpenedStretch = await opened.read(
      { patient, stream },
      { fromMs: from, toMs, ...page },
    )
    const fresh = records.filter(({ sequence }) => !known.has(sequence))
    for (const { sequence, batch } of fresh) {
      const row = database.get(
        'SELECT tx, cid FROM record WHERE patient = ? AND stream = ? AND sequence = ?',
        ...[patient, stream, sequence],
      )
      yield* encodeObservations(batch, {
        ...{ patient: referenceOf('Patient', patient), idPrefix: `${toHex(stream)}-${sequence}` },
        ...{ transactionId: toHex(row?.tx as Uint8Array), cid: toHex(row?.cid as Uint8Array) },
      })
    }
    const lost = unread.filter(({ sequence }) => !known.has(sequence))
    for (const one of lost)
      addMissing(missing, {
        ...{ stream: name, reason: 'unreadable', fromMs: one.fromMs ?? from, toMs: one.toMs ?? one.fromMs ?? from },
      })
    known = new Set([...records, ...unread].map(({ sequence }) => sequence))
    // More records of one moment than a page holds: what follows is not reached.
    if (nextMs === from && fresh.length + lost.length === 0) {
      addMissing(missing, { stream: name, reason: 'unreadable', fromMs: from, toMs })
      break
    }
    // A page may hold nothing that is granted now, and the next one may.
    from = nextMs
  }
  for (const { atMs, isGap } of opened.lost({ patient, stream }, { fromMs, toMs }))
    addMissing(missing, { stream: name, reason: isGap ? 'gap' : 'unreadable', fromMs: atMs, toMs: atMs })
}
