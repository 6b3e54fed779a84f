/**
 * Checkpoints: signed notes that state a log's size and root (C2SP tlog-checkpoint), with the log's own lines (type 0x01)
 * and cosignatures with a time (type 0x04, C2SP tlog-cosignature v1). Only cosignatures prove anything: a checkpoint
 * counts when q distinct nodes of the policy cosigned it (SPEC.md §4).
 *
 * @see https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature
 */
import { CryptoError } from '@healthblock/crypto/errors'
import { sha256 } from '@healthblock/crypto/hash'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import {
  concatBytes,
  encodeU64,
  encodeUtf8,
  equalBytes,
  fromBase64,
  toBase64,
  toHex,
} from '@healthblock/encoding/bytes'
import { EncodingError } from '@healthblock/encoding/errors'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import type { Genesis } from '../policy/genesis.ts'
import { SignatureCache } from '../transaction/signature-cache.ts'
import { hashSizeBytes } from './merkle.ts'
import {
  encodeNote,
  encodeSignatureLine,
  type NoteKey,
  type NoteSignature,
  noteKeyId,
  parseNote,
  parseSignatureLine,
  signatureTypes,
} from './note.ts'

export type { Note, NoteKey, NoteSignature } from './note.ts'
export { encodeVkey, noteKeyId, parseVkey, signatureTypes } from './note.ts'

/** A log's head under its name. */
export interface CheckpointHead {
  readonly origin: string
  readonly size: number
  /** 32 bytes. */
  readonly root: Uint8Array
}

/** A checkpoint taken apart; nothing of it is verified. */
export interface Checkpoint extends CheckpointHead {
  /** The three lines that are signed. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** Who may cosign, and how many must. */
export interface CosignerPolicy {
  readonly q: number
  /** Cosigner keys (32 bytes) by rank; undefined where no node has this rank. */
  readonly cosigners: readonly (Uint8Array | undefined)[]
}

/** A policy with the nodes' log keys, for receipts. */
export interface LogPolicy extends CosignerPolicy {
  /** Log keys (32 bytes) by rank; undefined where no node has this rank. */
  readonly logKeys: readonly (Uint8Array | undefined)[]
}

/** What signs: crypto's `SigningKey`, or anything that keeps its key elsewhere. */
export interface NoteSigner {
  readonly publicKey: Uint8Array
  sign(message: Uint8Array): Uint8Array
}

/** A checkpoint that a quorum cosigned. */
export interface VerifiedCheckpoint {
  readonly size: number
  readonly root: Uint8Array
  /** Ranks whose cosignatures hold, ascending: at least q. */
  readonly cosigners: readonly number[]
  /** Unix ms of the oldest among the q newest cosignatures: the last moment at which a quorum stood behind this head. */
  readonly oldestTime: number
}

/** The origin of a chain's log. */
export function chainOrigin(log: { readonly ledgerId: Uint8Array; readonly chain: ChainName }): string {
  return `healthblock/${toHex(log.ledgerId)}/${log.chain}`
}

/** The key name of a node's cosignatures. */
export function cosignerName(origin: string, rank: number): string {
  return `${origin}/${rank}`
}

/** The policy that genesis sets, which holds from block 0. */
export function genesisPolicy(genesis: Genesis, chain: ChainName): LogPolicy {
  const user = chain === 'userchain'
  return {
    q: genesis.body.q,
    cosigners: genesis.body.nodes.map(([, , , ucos, , dcos]) => (user ? ucos : dcos)),
    logKeys: genesis.body.nodes.map(([, , ulog, , dlog]) => (user ? ulog : dlog)),
  }
}

/** The note text of a head: origin, size, root, each on its line. */
export function checkpointText(head: CheckpointHead): string {
  return `${head.origin}\n${head.size}\n${toBase64(head.root)}\n`
}

function cosignedMessage(text: string, seconds: number): Uint8Array {
  return encodeUtf8(`cosignature/v1\ntime ${seconds}\n${text}`)
}

/** Makes a checkpoint with one line, that of the log key of the node that serves it. */
export function signCheckpoint(head: CheckpointHead, signer: NoteSigner): string {
  const text = checkpointText(head)
  const keyId = noteKeyId({ name: head.origin, type: signatureTypes.log, publicKey: signer.publicKey })
  const signature = signed(signer, encodeUtf8(text))
  return encodeNote({ text, signatures: [{ name: head.origin, keyId, signature }] })
}

/** Cosigns a head as the node of `rank`, at `nowMs` (whole seconds are signed): one signature line, with its newline. */
export function cosignCheckpoint(
  head: CheckpointHead,
  cosigner: { readonly rank: number; readonly signer: NoteSigner; readonly nowMs: number },
): string {
  const seconds = Math.floor(cosigner.nowMs / 1000)
  const name = cosignerName(head.origin, cosigner.rank)
  const keyId = noteKeyId({ name, type: signatureTypes.cosigner, publicKey: cosigner.signer.publicKey })
  const signature = signed(cosigner.signer, cosignedMessage(checkpointText(head), seconds))
  return encodeSignatureLine({ name, keyId, signature: concatBytes(encodeU64(seconds), signature) })
}

/** Adds signature lines to a checkpoint. */
export function addSignatures(checkpoint: string, lines: readonly string[]): string {
  return checkpoint + lines.join('')
}

function formatError(reason: string, cause?: unknown): ChainError {
  return new ChainError(`not a checkpoint: ${reason}`, { code: 'ERR_CHECKPOINT_FORMAT', reason }, { cause })
}

const sizePattern = /^(0|[1-9][0-9]{0,15})$/

/**
 * Takes a checkpoint apart: a signed note of exactly three lines, without extension lines. It verifies nothing.
 *
 * @throws {ChainError} `ERR_NOTE_FORMAT`, `ERR_CHECKPOINT_FORMAT`.
 */
export function parseCheckpoint(checkpoint: string): Checkpoint {
  const { text, signatures } = parseNote(checkpoint)
  const [origin = '', sizeText = '', rootText = '', end, ...more] = text.split('\n')
  if (origin === '' || end !== '' || more.length > 0) throw formatError('lines')
  const size = Number(sizeText)
  if (!sizePattern.test(sizeText) || !Number.isSafeInteger(size)) throw formatError('size')
  let root: Uint8Array
  try {
    root = fromBase64(rootText)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError('root', cause)
  }
  if (root.length !== hashSizeBytes) throw formatError('root')
  return { origin, size, root, text, signatures }
}

function signatureError(name: string, cause?: unknown): ChainError {
  return new ChainError(`a signature of ${name} does not verify`, { code: 'ERR_CHECKPOINT_SIGNATURE', name }, { cause })
}

/** Time of a cosignature in Unix ms, once it verifies. */
function verifyCosignatureOf(text: string, key: NoteKey, signature: Uint8Array): number {
  if (signature.length !== 72) throw signatureError(key.name)
  const seconds = new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0)
  if (seconds > BigInt(Math.floor(Number.MAX_SAFE_INTEGER / 1000))) throw signatureError(key.name)
  verifyBytes(key, signature.subarray(8), cosignedMessage(text, Number(seconds)))
  return Number(seconds) * 1000
}

/** Signatures that held, or were made here: a node meets each of a checkpoint when it comes, and again in every receipt under it. */
const held = new SignatureCache(256)

function signed(signer: NoteSigner, message: Uint8Array): Uint8Array {
  const signature = signer.sign(message)
  held.remember({ id: sha256(message), publicKey: signer.publicKey, signature })
  return signature
}

function verifyBytes(key: NoteKey, signature: Uint8Array, message: Uint8Array): void {
  const claim = { id: sha256(message), publicKey: key.publicKey, signature }
  if (held.remembers(claim)) return
  try {
    verifySignature({ signature, message, key: parseVerifyingKey(key.publicKey) })
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause
    throw signatureError(key.name, cause)
  }
  held.remember(claim)
}

/**
 * Verifies one line of a checkpoint, or of any signed note, under a key of either type: a log's, a node's, a witness's.
 *
 * @returns Unix ms of a cosignature; `undefined` for a log's line, which states no time.
 * @throws {ChainError} `ERR_CHECKPOINT_SIGNATURE` if the line is another key's, or wrong.
 */
export function verifyNoteSignature(request: {
  readonly text: string
  readonly key: NoteKey
  readonly signature: NoteSignature
}): number | undefined {
  const { text, key, signature } = request
  if (!isKeyOf(signature, key)) throw signatureError(signature.name)
  if (key.type === signatureTypes.cosigner) return verifyCosignatureOf(text, key, signature.signature)
  verifyBytes(key, signature.signature, encodeUtf8(text))
  return undefined
}

function isKeyOf(line: NoteSignature, key: NoteKey): boolean {
  return line.name === key.name && equalBytes(line.keyId, noteKeyId(key))
}

/** A cosigner's key with its id. */
interface KnownKey {
  readonly rank: number
  readonly key: NoteKey
  readonly keyId: Uint8Array
}

/** Keys of the policies that were asked about, each under the origin asked last: their ids are hashes. */
const knownKeys = new WeakMap<CosignerPolicy['cosigners'], { readonly origin: string; readonly keys: KnownKey[] }>()

function cosignerKeys(origin: string, cosigners: CosignerPolicy['cosigners']): readonly KnownKey[] {
  const known = knownKeys.get(cosigners)
  if (known?.origin === origin) return known.keys
  const keys = cosigners.flatMap((publicKey, rank): KnownKey[] => {
    if (publicKey === undefined) return []
    const key: NoteKey = { name: cosignerName(origin, rank), type: signatureTypes.cosigner, publicKey }
    return [{ rank, key, keyId: noteKeyId(key) }]
  })
  knownKeys.set(cosigners, { origin, keys })
  return keys
}

function isKnownKey(line: NoteSignature, { key, keyId }: KnownKey): boolean {
  return line.name === key.name && equalBytes(line.keyId, keyId)
}

/** A cosignature that holds. `time` in Unix ms; `line` as it stands in the note. */
export interface Cosignature {
  readonly rank: number
  readonly time: number
  readonly line: string
}

/** Verifies every line of a known cosigner, and keeps the newest of each; lines of unknown keys are skipped. */
function verifyCosignatures(checkpoint: Checkpoint, policy: CosignerPolicy): Cosignature[] {
  const keys = cosignerKeys(checkpoint.origin, policy.cosigners)
  const newest = new Map<number, Cosignature>()
  for (const signature of checkpoint.signatures) {
    const known = keys.find((key) => isKnownKey(signature, key))
    if (known === undefined) continue
    const time = verifyCosignatureOf(checkpoint.text, known.key, signature.signature)
    const before = newest.get(known.rank)
    if (before === undefined || before.time < time) {
      newest.set(known.rank, { rank: known.rank, time, line: encodeSignatureLine(signature) })
    }
  }
  return [...newest.values()].sort((a, b) => a.rank - b.rank)
}

/**
 * Verifies one cosignature line over a head, as nodes send each other.
 *
 * @throws {ChainError} `ERR_NOTE_FORMAT`; `ERR_CHECKPOINT_SIGNATURE` for a line of no cosigner of the policy, or a wrong one.
 */
export function verifyCosignature(request: {
  readonly line: string
  readonly head: CheckpointHead
  readonly cosigners: CosignerPolicy['cosigners']
}): Cosignature {
  const signature = parseSignatureLine(request.line)
  const known = cosignerKeys(request.head.origin, request.cosigners).find((key) => isKnownKey(signature, key))
  if (known === undefined) throw signatureError(signature.name)
  const { rank, key } = known
  return { rank, time: verifyCosignatureOf(checkpointText(request.head), key, signature.signature), line: request.line }
}

/** What a checkpoint is checked against. */
export interface CheckpointRequest {
  readonly note: string
  readonly origin: string
  readonly policy: CosignerPolicy
}

function parseOf(request: CheckpointRequest): Checkpoint {
  const checkpoint = parseCheckpoint(request.note)
  if (checkpoint.origin !== request.origin) {
    const { origin } = checkpoint
    throw new ChainError('a checkpoint of another log', { code: 'ERR_CHECKPOINT_ORIGIN', origin })
  }
  return checkpoint
}

function quorumOf(checkpoint: Checkpoint, policy: CosignerPolicy): Cosignature[] {
  const cosignatures = verifyCosignatures(checkpoint, policy)
  if (cosignatures.length < policy.q) {
    throw new ChainError('too few cosignatures', {
      code: 'ERR_CHECKPOINT_QUORUM',
      count: cosignatures.length,
      countMin: policy.q,
    })
  }
  return cosignatures
}

function verifiedOf(checkpoint: Checkpoint, cosignatures: readonly Cosignature[], q: number): VerifiedCheckpoint {
  const times = cosignatures.map(({ time }) => time).sort((a, b) => b - a)
  return {
    size: checkpoint.size,
    root: checkpoint.root,
    cosigners: cosignatures.map(({ rank }) => rank),
    oldestTime: times[q - 1] as number,
  }
}

/**
 * Verifies a checkpoint: of this origin, and cosigned by at least q distinct nodes of the policy. Log lines and lines of
 * unknown keys count for nothing; a wrong line of a known cosigner spoils the checkpoint.
 *
 * @throws {ChainError} `ERR_NOTE_FORMAT`, `ERR_CHECKPOINT_FORMAT`, `ERR_CHECKPOINT_ORIGIN`, `ERR_CHECKPOINT_SIGNATURE`,
 * `ERR_CHECKPOINT_QUORUM`.
 */
export function verifyCheckpoint(request: CheckpointRequest): VerifiedCheckpoint {
  const checkpoint = parseOf(request)
  return verifiedOf(checkpoint, quorumOf(checkpoint, request.policy), request.policy.q)
}

/**
 * The line of one of the policy's log keys that verifies, if there is one. Their names are equal and their ids have four bytes, so another
 * node's key may have been made to look like the one that signed.
 */
function logLineOf(checkpoint: Checkpoint, policy: LogPolicy): string | undefined {
  let failure: unknown
  for (const publicKey of policy.logKeys) {
    if (publicKey === undefined) continue
    const key: NoteKey = { name: checkpoint.origin, type: signatureTypes.log, publicKey }
    const line = checkpoint.signatures.find((signature) => isKeyOf(signature, key))
    if (line === undefined) continue
    try {
      verifyNoteSignature({ text: checkpoint.text, key, signature: line })
      return encodeSignatureLine(line)
    } catch (error) {
      failure ??= error
    }
  }
  if (failure !== undefined) throw failure
  return undefined
}

function receiptForm(checkpoint: Checkpoint, cosignatures: readonly Cosignature[], policy: LogPolicy): string {
  const logLine = logLineOf(checkpoint, policy)
  if (logLine === undefined) {
    const { origin } = checkpoint
    throw new ChainError(`no line of a log key that ${origin} has at this size`, {
      code: 'ERR_CHECKPOINT_LOG_LINE',
      origin,
    })
  }
  const lines = cosignatures.slice(0, policy.q).map(({ line }) => line)
  return addSignatures(`${checkpoint.text}\n`, [logLine, ...lines])
}

/**
 * Brings a published checkpoint into the form that receipts carry: one log line, then exactly q cosignatures in order of
 * rank (the lowest ranks that signed).
 *
 * @throws {ChainError} as `verifyCheckpoint`, and `ERR_CHECKPOINT_LOG_LINE` if no line of the policy's log keys is there.
 */
export function receiptCheckpoint(request: CheckpointRequest & { readonly policy: LogPolicy }): string {
  const checkpoint = parseOf(request)
  return receiptForm(checkpoint, quorumOf(checkpoint, request.policy), request.policy)
}

/**
 * Verifies a checkpoint in the form that receipts carry, where every line is known, verified and in its place.
 *
 * @throws {ChainError} as `receiptCheckpoint`, and `ERR_CHECKPOINT_FORMAT` for any other form.
 */
export function verifyReceiptCheckpoint(
  request: CheckpointRequest & { readonly policy: LogPolicy },
): VerifiedCheckpoint {
  const checkpoint = parseOf(request)
  const cosignatures = quorumOf(checkpoint, request.policy)
  if (receiptForm(checkpoint, cosignatures, request.policy) !== request.note) throw formatError('signature lines')
  return verifiedOf(checkpoint, cosignatures, request.policy.q)
}
