import type { OutboxEntry } from '@healthblock/runtime/outbox'

/** Why the doctor node did not do what it was asked. Ids are lower-case hex. */
export type DoctorNodeErrorDetail =
  | { code: 'ERR_IDENTITY_NONE' }
  | { code: 'ERR_IDENTITY_EXISTS'; account: string }
  | { code: 'ERR_SPONSOR_UNKNOWN'; sponsor: string }
  | { code: 'ERR_SIGNATURE_WRONG' }
  | { code: 'ERR_KEYS_CORRUPT'; path: string }
  | { code: 'ERR_LIMITS_CORRUPT'; path: string }
  | { code: 'ERR_LIMITS_FULL' }
  | { code: 'ERR_LIMIT_INVALID'; field: string }
  | { code: 'ERR_PATIENT_UNKNOWN'; patient: string }
  | { code: 'ERR_GRANT_NONE'; patient: string }
  | { code: 'ERR_DIAGNOSIS_KEY_NONE'; patient: string }
  | { code: 'ERR_DIAGNOSIS_UNKNOWN'; diagnosis: string }
  | { code: 'ERR_DIAGNOSIS_PENDING'; diagnosis: string }
  | { code: 'ERR_TEXT_MISSING' }
  | { code: 'ERR_INPUT_UNKNOWN'; stream: string; last: number }
  | { code: 'ERR_ALARM_UNKNOWN'; alarm: number }
  | { code: 'ERR_ALARM_STATE'; alarm: number }
  | { code: 'ERR_STREAM_UNKNOWN'; stream: string }
  | { code: 'ERR_PETNAME_INVALID' }
  | { code: 'ERR_RANGE_INVALID' }
  | { code: 'ERR_RECORD_NONE'; patient: string }
  | { code: 'ERR_STILL_PENDING'; transaction: string }
  | { code: 'ERR_REFUSED'; entry: OutboxEntry }

/** The one error of this service. Its message is meant for the person who asked. */
export class DoctorNodeError extends Error {
  override readonly name = 'DoctorNodeError'
  readonly detail: DoctorNodeErrorDetail
  constructor(message: string, detail: DoctorNodeErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}

/** HTTP status of each code. */
export const statusOfCode: Readonly<Record<DoctorNodeErrorDetail['code'], number>> = {
  ERR_IDENTITY_NONE: 409,
  ERR_IDENTITY_EXISTS: 409,
  ERR_SPONSOR_UNKNOWN: 400,
  ERR_SIGNATURE_WRONG: 400,
  ERR_KEYS_CORRUPT: 500,
  ERR_LIMITS_CORRUPT: 500,
  ERR_LIMITS_FULL: 409,
  ERR_LIMIT_INVALID: 400,
  ERR_PATIENT_UNKNOWN: 404,
  ERR_GRANT_NONE: 409,
  ERR_DIAGNOSIS_KEY_NONE: 409,
  ERR_DIAGNOSIS_UNKNOWN: 404,
  ERR_DIAGNOSIS_PENDING: 409,
  ERR_INPUT_UNKNOWN: 400,
  ERR_TEXT_MISSING: 400,
  ERR_ALARM_UNKNOWN: 404,
  ERR_ALARM_STATE: 409,
  ERR_STREAM_UNKNOWN: 404,
  ERR_PETNAME_INVALID: 400,
  ERR_RANGE_INVALID: 400,
  ERR_RECORD_NONE: 409,
  ERR_STILL_PENDING: 503,
  ERR_REFUSED: 409,
}
