/** Parts of files that prove entries of a log: a leaf, and a tlog-proof text under a checkpoint of the policy trail (SPEC.md §7, §8, §10). */
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import { leafHash, verifyInclusion } from '../log/merkle.ts'
import type { NoteKey } from '../log/note.ts'
import { encodeProof, parseProof } from '../log/proof.ts'
import { takeWitnessLines } from '../log/witness.ts'
import type { PolicyTrail } from '../policy/policy-trail.ts'
import type { DisputePart } from './dispute-format.ts'

/** What is proved. */
interface Part {
  readonly chain: ChainName
  readonly leaf: Uint8Array
  /** tlog-proof text. */
  readonly proof: string
}

/** Under what the checkpoints of a file stand. */
export interface Under {
  readonly trail: PolicyTrail
  /** Keys of the witnesses whose lines end each checkpoint. */
  readonly witnesses: readonly NoteKey[]
}

/** Where a part's leaf stands in its log: at `index`, under the head of `size` and `root`, by policy `k`. */
export interface Proved {
  readonly index: number
  readonly size: number
  readonly root: Uint8Array
  readonly k: number
  /** Ranks that cosigned. */
  readonly cosigners: readonly number[]
  /** Unix ms: the last moment at which a quorum stood behind this head. */
  readonly oldestTime: number
  /** Unix ms, of the file's witnesses in their order. */
  readonly witnessTimes: readonly number[]
}

/** A part of a bundle or of a succession that is proved. */
export type ProvedPart = DisputePart & Proved

/**
 * Verifies that a part's leaf is in its log.
 *
 * @param step - What errors call the part.
 * @throws {ChainError} `ERR_RECEIPT_INVALID`, or the code of the proof or checkpoint that does not hold.
 */
export function provePart<P extends Part>({ trail, witnesses }: Under, part: P, step: string): P & Proved {
  const invalid = (reason: string) =>
    new ChainError(`${step}: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step, reason })
  const { extra, hashes, index, checkpoint } = parseProof(part.proof)
  if (extra !== undefined) throw invalid('the proof has extra data')
  const { checkpoint: nodes, cosignatures } = takeWitnessLines(checkpoint, witnesses)
  const { policy: _, ...verified } = trail.verifyReceipt(part.chain, nodes)
  const { size, root } = verified
  verifyInclusion({ leafHash: leafHash(part.leaf), index, size, proof: hashes, root })
  // Written again it must be the same text, or a byte of it went unread.
  if (encodeProof({ index, hashes, checkpoint }) !== part.proof) throw invalid('the proof is not canonical')
  return { ...part, ...verified, index, witnessTimes: cosignatures.map(({ time }) => time) }
}
