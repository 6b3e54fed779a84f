/** Why an input was not accepted. `field` names the part that is wrong; `at` is a line, byte or item index where there is one. */
export type DiagnosisErrorDetail =
  | { code: 'ERR_WFDB_HEADER_INVALID'; field: string; at: number }
  | { code: 'ERR_WFDB_SIGNAL_INVALID'; field: string; at: number }
  | { code: 'ERR_WFDB_ANNOTATION_INVALID'; field: string; at: number }
  | { code: 'ERR_BATCH_INVALID'; field: string }
  | { code: 'ERR_STATE_INVALID'; field: string }
  | { code: 'ERR_DOCUMENT_INVALID'; field: string }
  | { code: 'ERR_INPUT_INVALID'; field: string }

/** The one error that this package throws for input from outside. Its message names the field and the reason, never a value of a patient. */
export class DiagnosisError extends Error {
  override readonly name = 'DiagnosisError'
  readonly detail: DiagnosisErrorDetail
  constructor(message: string, detail: DiagnosisErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}
