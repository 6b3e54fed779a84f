/** What a gateway answers about a transaction. */
import type { Signed } from './outbox.ts'

/** The answer to one transaction; the numbers of SPEC.md §1. */
export type Answer =
  | { readonly status: 'unknown' | 'pending' }
  | { readonly status: 'committed'; readonly index: number; readonly height: number; readonly size: number }
  | { readonly status: 'refused' | 'deferred'; readonly signed: Signed }

/** True if no other answer will follow, unless the transaction is submitted again. */
export function isFinal({ status }: Answer): boolean {
  return status !== 'unknown' && status !== 'pending'
}
