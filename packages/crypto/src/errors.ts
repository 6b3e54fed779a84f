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

/** The one failure of every opening: same code, same message, no cause. */
export function openFailed(): CryptoError {
  return new CryptoError('could not be opened', { code: 'ERR_OPEN_FAILED' })
}

/** A structure that was authentic, or public, and yet not in its one form. */
export function formatInvalid(format: string, options?: ErrorOptions): CryptoError {
  return new CryptoError(`not a valid ${format}`, { code: 'ERR_FORMAT_INVALID', format }, options)
}

/** An argument that only a mistake in the calling program can produce. */
export function argumentInvalid(argument: string): CryptoError {
  return new CryptoError(`${argument} is not valid`, { code: 'ERR_ARGUMENT_INVALID', argument })
}
