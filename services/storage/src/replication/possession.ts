/**
 * Proofs that a store has a block now (SPEC.md §6): a hash over the block and a nonce that it could not foresee, and over
 * its own account, so that the proof of another store is none of its own.
 */
import { randomBytes } from 'node:crypto'
import { concatBytes, encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { hashBlock } from '../store/block-id.ts'

/** Most blocks of one question: each is read. */
export const proofsPerQuestionMax = 16
/** Length of a nonce. */
export const nonceBytes = 32

const label = encodeUtf8('healthblock/1 storage-possession\0')

/** A nonce for one question. */
export function newNonce(): Uint8Array {
  return new Uint8Array(randomBytes(nonceBytes))
}

/** What is proved: that `store` has `block` at the time of the nonce. */
export interface Possession {
  readonly ledgerId: Uint8Array
  /** 32-byte account of the store that answers. */
  readonly store: Uint8Array
  readonly nonce: Uint8Array
  readonly block: Uint8Array
}

/** The 32-byte proof. */
export function proofOf({ ledgerId, store, nonce, block }: Possession): Uint8Array {
  return hashBlock(concatBytes(label, ledgerId, store, nonce, block))
}

/** True if an answer proves it. */
export function isProof(answer: unknown, possession: Possession): boolean {
  return answer instanceof Uint8Array && equalBytes(answer, proofOf(possession))
}
