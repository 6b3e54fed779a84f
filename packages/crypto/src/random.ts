import { provider } from '#provider'
import type { Bytes } from './provider/provider.ts'

/** Fresh bytes from the platform's cryptographic generator. */
export function randomBytes(length: number): Bytes {
  return provider.randomBytes(length)
}
