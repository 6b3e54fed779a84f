/**
 * Why the package refused. `ERR_OPEN_FAILED` carries nothing on purpose: whatever was wrong with a ciphertext, its key or
 * its context, the caller (and whoever watches the caller) learns only that it did not open.
 */
export type CryptoErrorDetail =
  | { code: 'ERR_OPEN_FAILED' }
  | { code: 'ERR_SIGNATURE_INVALID' }
  | { code: 'ERR_KEY_INVALID' }
  | { code: 'ERR_SUITE_UNKNOWN'; suite: number }
  | { code: 'ERR_FORMAT_INVALID'; format: string }
  | { code: 'ERR_SIZE_INVALID'; size: number; sizeMax: number }
  | { code: 'ERR_EPOCH_OUTSIDE'; epoch: number }
  | { code: 'ERR_PHRASE_INVALID' }
  | { code: 'ERR_ARGUMENT_INVALID'; argument: string }

/** The one error that this package throws. */
export class CryptoError extends Error {
  override readonly name = 'CryptoError'
  readonly detail: CryptoErrorDetail
  constructor(message: string, detail: CryptoErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}
