import { CryptoError } from '../errors.ts'

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
