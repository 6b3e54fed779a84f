/** Parts of files that prove entries of a log: a leaf, and a tlog-proof text under a checkpoint of the policy trail (SPEC.md §8, §10). */
import type { DisputePart } from './dispute-format.ts'
import { ChainError } from './errors.ts'
import { leafHash, verifyInclusion } from './merkle.ts'
import type { PolicyTrail } from './policy-trail.ts'
import { encodeProof, parseProof } from './proof.ts'

/** A part whose leaf is in its log: at `index`, under the head of `size` and `root`, by policy `k`. */
export interface ProvedPart extends DisputePart {
  readonly index: number
  readonly size: number
  readonly root: Uint8Array
  readonly k: number
  /** Who cosigned. */
  readonly ranks: readonly number[]
}

function invalid(reason: string): ChainError {
  return new ChainError(`part: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step: 'part', reason })
}

/**
 * Verifies that a part's leaf is in its log.
 *
 * @throws {ChainError} `ERR_RECEIPT_INVALID`, or the code of the proof or checkpoint that does not hold.
 */
export function provePart(trail: PolicyTrail, part: DisputePart): ProvedPart {
  const { extra, hashes, index, checkpoint } = parseProof(part.proof)
  if (extra !== undefined) throw invalid('the proof has extra data')
  const { cosigners, size, root, k } = trail.verifyReceipt(part.chain, checkpoint)
  verifyInclusion({ leafHash: leafHash(part.leaf), index, size, proof: hashes, root })
  if (encodeProof({ index, hashes, checkpoint }) !== part.proof) throw invalid('the proof is not canonical')
  return { ...part, index, size, root, k, ranks: cosigners }
}
