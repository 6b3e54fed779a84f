/** Why the user node did not do what it was asked. `status` is decided in `app.ts`, once. */
export type UserNodeErrorDetail =
  | { code: 'ERR_PERSON_UNKNOWN'; person: string }
  | { code: 'ERR_PERSON_EXISTS'; person: string }
  | { code: 'ERR_PERSON_PENDING'; person: string }
  | { code: 'ERR_PASSPHRASE_WRONG' }
  | { code: 'ERR_PASSPHRASE_WEAK' }
  | { code: 'ERR_VAULT_MISSING'; person: string }
  | { code: 'ERR_HOT_KEY_WRONG' }
  | { code: 'ERR_NODE_DB_MISSING' }
  | { code: 'ERR_SESSION_MISSING' }
  | { code: 'ERR_FORBIDDEN' }
  | { code: 'ERR_SIGNATURE_WRONG' }
  | { code: 'ERR_DEVICE_UNKNOWN'; device: string }
  | { code: 'ERR_DEVICE_OWN' }
  | { code: 'ERR_DOCTOR_UNKNOWN'; account: string }
  | { code: 'ERR_GRANT_INVALID'; field: string }
  | { code: 'ERR_GRANT_NONE' }
  | { code: 'ERR_STREAM_UNKNOWN'; kind: string }
  | { code: 'ERR_SAMPLES_INVALID'; field: string }
  | { code: 'ERR_SAMPLES_AHEAD'; field: string; atMs: number; nowMs: number; retryAfterMs: number }
  | { code: 'ERR_SAMPLES_FAR_AHEAD'; field: string; atMs: number; nowMs: number }
  | { code: 'ERR_SAMPLES_CONFLICT'; startMs: number }
  | { code: 'ERR_RECORD_INVALID'; field: string }
  | { code: 'ERR_JOB_UNKNOWN'; job: string }
  | { code: 'ERR_TRANSACTION_UNKNOWN'; id: string }
  | { code: 'ERR_ALARM_UNKNOWN'; alarm: number }
  | { code: 'ERR_BUFFER_FULL' }
  | { code: 'ERR_ERASURE_INVALID'; field: string }
  | { code: 'ERR_ERASURE_PENDING' }
  | { code: 'ERR_FILE_UNKNOWN'; sequence: number }
  | { code: 'ERR_FILE_INVALID'; field: string }
  | { code: 'ERR_FILE_OFFSET'; offset: number }
  | { code: 'ERR_FILE_INTERRUPTED' }
  | { code: 'ERR_KEYS_CHANGING'; retryAfterMs: number }
  | { code: 'ERR_CATCHING_UP'; retryAfterMs: number }
  | { code: 'ERR_FILE_BUSY' }
  | { code: 'ERR_FILE_ERASED'; sequence: number }
  | { code: 'ERR_REHEARSAL_MISSING' }
  | { code: 'ERR_PHRASE_HIDDEN' }
  | { code: 'ERR_WORDS_WRONG' }

/** The one error of this service. Its message is meant for the person who asked. */
export class UserNodeError extends Error {
  override readonly name = 'UserNodeError'
  readonly detail: UserNodeErrorDetail
  constructor(message: string, detail: UserNodeErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}

/** HTTP status of each code. */
export const statusOfCode: Readonly<Record<UserNodeErrorDetail['code'], number>> = {
  ERR_PERSON_UNKNOWN: 404,
  ERR_PERSON_EXISTS: 409,
  ERR_PERSON_PENDING: 409,
  ERR_PASSPHRASE_WRONG: 401,
  ERR_PASSPHRASE_WEAK: 400,
  ERR_VAULT_MISSING: 500,
  ERR_HOT_KEY_WRONG: 500,
  ERR_NODE_DB_MISSING: 500,
  ERR_SESSION_MISSING: 401,
  ERR_FORBIDDEN: 403,
  ERR_SIGNATURE_WRONG: 400,
  ERR_DEVICE_UNKNOWN: 404,
  ERR_DEVICE_OWN: 409,
  ERR_DOCTOR_UNKNOWN: 404,
  ERR_GRANT_INVALID: 400,
  ERR_GRANT_NONE: 409,
  ERR_STREAM_UNKNOWN: 404,
  ERR_SAMPLES_INVALID: 400,
  ERR_SAMPLES_AHEAD: 503,
  ERR_SAMPLES_FAR_AHEAD: 400,
  ERR_SAMPLES_CONFLICT: 409,
  ERR_RECORD_INVALID: 400,
  ERR_JOB_UNKNOWN: 404,
  ERR_TRANSACTION_UNKNOWN: 404,
  ERR_ALARM_UNKNOWN: 404,
  ERR_BUFFER_FULL: 503,
  ERR_ERASURE_INVALID: 400,
  ERR_ERASURE_PENDING: 503,
  ERR_FILE_UNKNOWN: 404,
  ERR_FILE_INVALID: 400,
  ERR_FILE_OFFSET: 409,
  ERR_FILE_INTERRUPTED: 409,
  ERR_KEYS_CHANGING: 503,
  ERR_CATCHING_UP: 503,
  ERR_FILE_BUSY: 409,
  ERR_FILE_ERASED: 410,
  ERR_REHEARSAL_MISSING: 409,
  ERR_PHRASE_HIDDEN: 410,
  ERR_WORDS_WRONG: 400,
}
