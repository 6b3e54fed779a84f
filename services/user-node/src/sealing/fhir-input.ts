/** Observations of FHIR R4 as pieces of a person's streams. */
import { encodeBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import { FhirError } from '@healthblock/fhir/errors'
import { parseReadings } from '@healthblock/fhir/parse'
import { UserNodeError } from '../errors.ts'
import type { Person } from '../store/person.ts'
import { streamOfKind } from './samples.ts'

/** A batch and the stream that it belongs to. */
export interface ReadingPiece {
  readonly stream: Uint8Array
  readonly batch: ReadingBatch
}

/** Most rows of vital signs of one piece: what a batch takes is more than a period ever holds. */
const rowsMax = 5_000

/**
 * Reads an Observation or a Bundle of them: all of it, or nothing.
 *
 * @param value - parsed JSON.
 * @throws {UserNodeError} `ERR_SAMPLES_INVALID` with the path of the field, such as `entry[3].resource.valueQuantity.code`.
 */
export function readFhir(person: Person, value: unknown): ReadingPiece[] {
  let batches: ReadingBatch[]
  try {
    batches = parseReadings(value)
  } catch (cause) {
    if (!(cause instanceof FhirError)) throw cause
    throw new UserNodeError(cause.message, { code: 'ERR_SAMPLES_INVALID', field: cause.detail.field }, { cause })
  }
  return batches.flatMap(split).map((batch) => {
    checkSize(batch)
    return { stream: streamOfKind(person, batch.kind).stream, batch }
  })
}

function split(batch: ReadingBatch): ReadingBatch[] {
  if (batch.kind === 'ecg') return [batch]
  const pieces: ReadingBatch[] = []
  for (let from = 0; from < batch.rows.length; from += rowsMax) {
    const rows = batch.rows.slice(from, from + rowsMax)
    pieces.push({ kind: 'vitals', startMs: rows[0]?.atMs ?? batch.startMs, rows })
  }
  return pieces
}

function checkSize(batch: ReadingBatch): void {
  try {
    encodeBatch(batch)
  } catch (cause) {
    if (!(cause instanceof DiagnosisError)) throw cause
    const { field } = cause.detail
    throw new UserNodeError(`the readings cannot be used: ${field}`, { code: 'ERR_SAMPLES_INVALID', field }, { cause })
  }
}
