/** A diagnosis of this doctor as FHIR R4, for systems of the hospital. */
import { toHex } from '@healthblock/encoding/bytes'
import { encodeDiagnosisBundle, type ReportContext } from '@healthblock/fhir/report'
import type { Database } from '@healthblock/runtime/sqlite'
import { DoctorNodeError } from '../errors.ts'
import { openOwn } from '../judging/judge.ts'
import type { Composer } from '../posting/compose.ts'

/** What a DiagnosticReport calls the states of a diagnosis. */
const statuses: Readonly<Record<string, ReportContext['status']>> = {
  signed: 'final',
  corrected: 'corrected',
  withdrawn: 'entered-in-error',
}

/** FHIR ids have at most 64 characters: an account as lower-case hex just fits. */
const referenceOf = (type: string, account: Uint8Array): string => `${type}/${toHex(account)}`

/**
 * The Bundle of a diagnosis: see `packages/fhir/SPEC.md` §3.
 *
 * @throws {DoctorNodeError} `ERR_DIAGNOSIS_UNKNOWN` when there is none, or its key is gone.
 */
export async function exportDiagnosis(
  parts: { database: Database; composer: Composer },
  id: Uint8Array,
): Promise<ReturnType<typeof encodeDiagnosisBundle>> {
  const { database, composer } = parts
  const row = database.get("SELECT * FROM posting WHERE what = 'diagnosis' AND tx = ?", id)
  const document = row === undefined ? undefined : await openOwn(composer, row)
  if (row === undefined || document === undefined)
    throw new DoctorNodeError('there is no such diagnosis', { code: 'ERR_DIAGNOSIS_UNKNOWN', diagnosis: toHex(id) })
  const doctor = composer.account()
  return encodeDiagnosisBundle(document, {
    patient: referenceOf('Patient', row.patient as Uint8Array),
    practitioner: referenceOf('Practitioner', doctor),
    organization: referenceOf('Organization', doctor),
    transactionId: toHex(id),
    cid: row.cid === null ? undefined : toHex(row.cid as Uint8Array),
    status: statuses[row.status as string] ?? 'preliminary',
  })
}
