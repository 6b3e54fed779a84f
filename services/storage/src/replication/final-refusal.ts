import { isStorageError } from '../errors.ts'

/** Codes with which every store would refuse: asking another one is no use. */
const finalCodes = ['ERR_BLOCK_ERASED', 'ERR_QUOTA_EXCEEDED', 'ERR_BLOCK_SEALED', 'ERR_BLOCK_PINNED'] as const

/** True if every store would refuse as this one did. */
export function isFinal(error: unknown): boolean {
  return finalCodes.some((code) => isStorageError(error, code))
}
