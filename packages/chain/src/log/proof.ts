/**
 * Inclusion proofs that verify offline (C2SP tlog-proof): index, hashes and a checkpoint in one text; and the request by
 * which a log asks a witness for its cosignature (C2SP tlog-witness).
 *
 * @see https://c2sp.org/tlog-proof, https://c2sp.org/tlog-witness
 */
import { fromBase64, toBase64 } from '@healthblock/encoding/bytes'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import { type CosignerPolicy, parseCheckpoint, type VerifiedCheckpoint, verifyCheckpoint } from './checkpoint.ts'
import { hashSizeBytes, leafHash, proofHashesMax, verifyInclusion } from './merkle.ts'
import { noteLengthMax } from './note.ts'

/** A proof taken apart; nothing of it is verified. */
export interface Proof {
  readonly index: number
  /** From the leaf's sibling upwards. */
  readonly hashes: readonly Uint8Array[]
  /** Opaque, never authenticated. Absent in receipts. */
  readonly extra?: Uint8Array
  /** The checkpoint, verbatim. */
  readonly checkpoint: string
}

const header = 'c2sp.org/tlog-proof@v1'
/** Longest proof, in UTF-16 units. */
const proofLengthMax = noteLengthMax + 65_536

function formatError(reason: string, cause?: unknown): ChainError {
  return new ChainError(`not a proof: ${reason}`, { code: 'ERR_PROOF_FORMAT', reason }, { cause })
}

function parseBase64(text: string, reason: string): Uint8Array {
  try {
    return fromBase64(text)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError(reason, cause)
  }
}

function parseHash(line: string): Uint8Array {
  const hash = parseBase64(line, 'hash')
  if (hash.length !== hashSizeBytes) throw formatError('hash')
  return hash
}

const decimalPattern = /^(0|[1-9][0-9]{0,15})$/

function parseDecimal(line: string | undefined, word: string): number {
  const digits = line?.startsWith(`${word} `) ? line.slice(word.length + 1) : ''
  const value = Number(digits)
  if (!decimalPattern.test(digits) || !Number.isSafeInteger(value)) throw formatError(word)
  return value
}

/** Writes a proof. */
export function encodeProof(proof: Proof): string {
  const extra = proof.extra === undefined ? [] : [`extra ${toBase64(proof.extra)}`]
  const lines = [header, ...extra, `index ${proof.index}`, ...proof.hashes.map(toBase64), '']
  return `${lines.join('\n')}\n${proof.checkpoint}`
}

/**
 * Takes a proof apart, in its one form; the checkpoint has the form that `parseCheckpoint` accepts. It verifies nothing.
 *
 * @throws {ChainError} `ERR_PROOF_FORMAT`, `ERR_NOTE_FORMAT`, `ERR_CHECKPOINT_FORMAT`.
 */
export function parseProof(text: string): Proof {
  if (text.length > proofLengthMax) throw formatError('too long')
  const end = text.indexOf('\n\n')
  if (end === -1) throw formatError('no checkpoint')
  const [first, ...lines] = text.slice(0, end).split('\n')
  if (first !== header) throw formatError('header')
  let extra: Uint8Array | undefined
  if (lines[0]?.startsWith('extra ')) extra = parseBase64((lines.shift() as string).slice(6), 'extra')
  const index = parseDecimal(lines.shift(), 'index')
  if (lines.length > proofHashesMax) throw formatError('count of hashes')
  const hashes = lines.map(parseHash)
  const checkpoint = text.slice(end + 2)
  parseCheckpoint(checkpoint)
  return extra === undefined ? { index, hashes, checkpoint } : { index, hashes, extra, checkpoint }
}

/** A leaf that is in a log that a quorum stands behind. */
export interface VerifiedProof extends VerifiedCheckpoint {
  readonly index: number
}

/**
 * Verifies that a leaf is at the proof's index in a log whose head a quorum cosigned.
 *
 * @throws {ChainError} as `parseProof` and `verifyCheckpoint`, and `ERR_INCLUSION_INVALID`.
 */
export function verifyProof(request: {
  readonly proof: string
  readonly leaf: Uint8Array
  readonly origin: string
  readonly policy: CosignerPolicy
}): VerifiedProof {
  const proof = parseProof(request.proof)
  const checkpoint = verifyCheckpoint({ note: proof.checkpoint, origin: request.origin, policy: request.policy })
  verifyInclusion({
    leafHash: leafHash(request.leaf),
    index: proof.index,
    size: checkpoint.size,
    proof: proof.hashes,
    root: checkpoint.root,
  })
  return { ...checkpoint, index: proof.index }
}

/** What a log sends to a witness: the consistency proof from the size that the witness cosigned last. */
export interface AddCheckpointRequest {
  readonly oldSize: number
  readonly proof: readonly Uint8Array[]
  readonly checkpoint: string
}

/** Writes the body of `POST …/add-checkpoint`. */
export function encodeAddCheckpoint(request: AddCheckpointRequest): string {
  return `${[`old ${request.oldSize}`, ...request.proof.map(toBase64), ''].join('\n')}\n${request.checkpoint}`
}

/**
 * Reads such a body. It verifies nothing.
 *
 * @throws {ChainError} as `parseProof`.
 */
export function parseAddCheckpoint(body: string): AddCheckpointRequest {
  if (body.length > proofLengthMax) throw formatError('too long')
  const end = body.indexOf('\n\n')
  if (end === -1) throw formatError('no checkpoint')
  const [first, ...lines] = body.slice(0, end).split('\n')
  const oldSize = parseDecimal(first, 'old')
  if (lines.length > proofHashesMax) throw formatError('count of hashes')
  const checkpoint = body.slice(end + 2)
  parseCheckpoint(checkpoint)
  return { oldSize, proof: lines.map(parseHash), checkpoint }
}
