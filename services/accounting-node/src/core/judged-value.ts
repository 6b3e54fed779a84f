import type { Members } from './members.ts'
import type { HeadValue } from './wire.ts'

/** Bytes that the register held, and what the members of that height found them to be. */
export interface JudgedValue {
  readonly bytes: Uint8Array
  readonly claimed: HeadValue | undefined
  readonly members: Members | undefined
  /** True if the value stands on q acks of these members. */
  readonly isValid: boolean
}
