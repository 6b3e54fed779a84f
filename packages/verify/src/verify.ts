/**
 * The verifier by itself: a receipt, a dispute bundle or a succession in, what it proves out. It needs no network, no disk and no Node, so
 * it runs in a browser as well; the only thing to be believed is a genesis file, or a checkpoint that was kept.
 */
import { parseCheckpoint } from '@healthblock/chain/checkpoint'
import { verifyDispute } from '@healthblock/chain/dispute'
import { ChainError } from '@healthblock/chain/errors'
import { ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { parseProof } from '@healthblock/chain/proof'
import { type ReceiptWitness, verifyReceipt } from '@healthblock/chain/receipt'
import { beyondSuccession, type VerifiedSuccession, verifySuccession } from '@healthblock/chain/succession'
import { parseWitnessKey } from '@healthblock/chain/witness'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { type FileKind, kindOf, parseFile } from './file-kind.ts'

/** What the reader believes: a genesis file, or a checkpoint (a signed note) of either log. */
export interface Trust {
  readonly genesis?: Uint8Array
  readonly checkpoint?: string
  /** A succession whose successor is the ledger that is believed: files of the ledger before it are believed as far as it carries them on. */
  readonly succession?: Uint8Array
  /** Verifier keys of witnesses that the reader knows: each must have cosigned every checkpoint. */
  readonly witnesses?: readonly string[]
}

/** A witness whose lines hold. `isKnown`: the reader named its key; else the file alone does. */
export interface FileWitness {
  readonly name: string
  readonly vkey: string
  /** Unix ms, by its own clock. */
  readonly time: number
  readonly isKnown: boolean
}

/** What a file proves. */
export interface VerifiedFile {
  readonly kind: 'transaction' | 'revocation' | 'dispute' | 'succession'
  /** What was verified, in words. */
  readonly steps: readonly string[]
  /** `embedded`: the genesis file inside was believed, so the ledger id is to be compared. */
  readonly trust: 'pinned' | 'embedded'
  /**
   * With a checkpoint to trust: whether the file has a head of its log and size, so that the roots were compared. Without one, only that the
   * file is of the same ledger is known.
   */
  readonly isHeadCompared?: boolean
  /** Who stands behind every checkpoint: the quorum of the ledger's nodes, or witnesses outside of the ledger as well. */
  readonly attested: 'quorum' | 'witnessed'
  readonly witnesses: readonly FileWitness[]
  /** Lower-case hex. */
  readonly ledgerId: string
  /** Of a dispute: each question with its answer; `at` in Unix ms, ids in hex. */
  readonly answers: readonly {
    readonly at: number
    readonly patient: string
    readonly gid: string
    readonly answer: string
    /** Of a grant in force: its doctor's licence then; absent if the file proves nothing of it. */
    readonly licence?: string
  }[]
  /** Of a dispute: what disclosed keys opened. */
  readonly opened: readonly { readonly stream: string; readonly sequence: number; readonly data: Uint8Array }[]
}

interface Pinned {
  readonly ledgerId?: Uint8Array
  readonly heads: readonly { chain: 'userchain' | 'docchain'; size: number; root: Uint8Array }[]
}

/** The ledger and the head that the reader names. */
function pinnedBy(trust: Trust): Pinned {
  if (trust.genesis !== undefined) {
    parseGenesis(trust.genesis)
    return { ledgerId: ledgerIdOf(trust.genesis), heads: [] }
  }
  if (trust.checkpoint === undefined) return { heads: [] }
  const { origin, size, root } = parseCheckpoint(trust.checkpoint)
  const [, id, chain] = /^healthblock\/([0-9a-f]{64})\/(userchain|docchain)$/.exec(origin) ?? []
  if (id === undefined) {
    throw new ChainError('a checkpoint of another kind of log', { code: 'ERR_CHECKPOINT_ORIGIN', origin })
  }
  return { ledgerId: fromHex(id), heads: [{ chain: chain as 'userchain' | 'docchain', size, root }] }
}

/**
 * Reads what the reader believes, before any file is held against it.
 *
 * @throws {ChainError} for a genesis file, a checkpoint or a witness's key that is none.
 */
export function checkTrust(trust: Trust): void {
  pinnedBy(trust)
  for (const vkey of trust.witnesses ?? []) parseWitnessKey(vkey)
}

function verifiedReceipt(bytes: Uint8Array, { ledgerId: expected, heads }: Pinned) {
  const request = { bytes, heads, ...(expected === undefined ? {} : { ledgerId: expected }) }
  const { kind, steps, ledgerId, witnesses } = verifyReceipt(request)
  return { kind, steps, ledgerId: toHex(ledgerId), answers: [], opened: [], witnesses }
}

function verifiedDispute(bytes: Uint8Array, { ledgerId, heads }: Pinned) {
  const dispute = verifyDispute({ bytes, heads, ...(ledgerId === undefined ? {} : { ledgerId }) })
  return {
    kind: 'dispute' as const,
    steps: dispute.steps,
    witnesses: dispute.witnesses,
    ledgerId: toHex(dispute.ledgerId),
    answers: dispute.answers.map(({ at, patient, gid, answer, licence }) => ({
      at,
      patient: toHex(patient),
      gid: toHex(gid),
      answer,
      ...(licence === undefined ? {} : { licence }),
    })),
    opened: dispute.opened.map(({ stream, sequence, data }) => ({ stream: toHex(stream), sequence, data })),
  }
}

/** A succession may be believed from either end: its successor's genesis, or the one of the ledger before. */
function verifiedSuccession(bytes: Uint8Array, { ledgerId, heads }: Pinned) {
  const { successor, prior, steps, heads: proved } = verifySuccession({ bytes })
  const isKnown = [successor, prior].some((one) => ledgerId === undefined || equalBytes(one.ledgerId, ledgerId))
  if (!isKnown) throw invalid('genesis', 'of another ledger')
  for (const { chain, size, root } of heads) {
    const same = proved.find((head) => head.chain === chain && head.size === size)
    if (same !== undefined && !equalBytes(same.root, root)) throw invalid('checkpoint', 'another root of the same size')
  }
  return { kind: 'succession' as const, steps, ledgerId: toHex(successor.ledgerId), answers: [], opened: [] }
}

function invalid(step: string, reason: string): ChainError {
  return new ChainError(`${step}: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step, reason })
}

/** Where a file of the ledger before stands, against what the successor carries on. */
function checkCarried(bytes: Uint8Array, succession: VerifiedSuccession): void {
  const { parts } = parseFile(bytes)
  for (const { chain, proof } of parts) {
    const { size, root } = parseCheckpoint(parseProof(proof).checkpoint)
    const reason = beyondSuccession(succession, { chain, size, root })
    if (reason !== undefined) throw invalid('succession', reason)
  }
}

/** Verifies a file of the believed ledger, or of the one before it. */
function verifyAcross(bytes: Uint8Array, kind: Exclude<FileKind, 'succession'>, pinned: Pinned, file: Uint8Array) {
  const succession = verifySuccession({
    bytes: file,
    ...(pinned.ledgerId === undefined ? {} : { successor: pinned.ledgerId }),
  })
  const { genesis } = parseFile(bytes)
  const { ledgerId } = succession.prior
  const isOlder = equalBytes(ledgerIdOf(genesis), ledgerId)
  const verify = kind === 'receipt' ? verifiedReceipt : verifiedDispute
  if (!isOlder) return verify(bytes, pinned)
  const verified = verify(bytes, { ledgerId, heads: [] })
  checkCarried(bytes, succession)
  return {
    ...verified,
    steps: [...succession.steps, ...verified.steps, 'it lies within what the successor carries on'],
  }
}

/** Tells which witnesses the reader knows. @throws {ChainError} for one that did not sign. */
function knownWitnesses(witnesses: readonly ReceiptWitness[], known: readonly string[]): FileWitness[] {
  for (const vkey of known) {
    const { name } = parseWitnessKey(vkey)
    if (!witnesses.some((witness) => witness.vkey === vkey))
      throw invalid('witness', `${name} did not cosign every checkpoint`)
  }
  return witnesses.map((witness) => ({ ...witness, isKnown: known.includes(witness.vkey) }))
}

function verifyKind(bytes: Uint8Array, pinned: Pinned, succession: Uint8Array | undefined) {
  const kind = kindOf(bytes)
  if (kind === 'succession') return verifiedSuccession(bytes, pinned)
  if (succession !== undefined) return verifyAcross(bytes, kind, pinned, succession)
  return (kind === 'receipt' ? verifiedReceipt : verifiedDispute)(bytes, pinned)
}

/**
 * Verifies a receipt, a dispute bundle or a succession.
 *
 * @throws {ChainError} that says what does not hold.
 */
export function verifyFile(bytes: Uint8Array, trust: Trust = {}): VerifiedFile {
  const pinned = pinnedBy(trust)
  const trustWord = pinned.ledgerId === undefined ? 'embedded' : 'pinned'
  const verified = verifyKind(bytes, pinned, trust.succession)
  // A succession carries no lines of witnesses.
  const witnesses = knownWitnesses('witnesses' in verified ? verified.witnesses : [], trust.witnesses ?? [])
  const [head] = pinned.heads
  return {
    ...verified,
    trust: trustWord,
    ...(head === undefined ? {} : { isHeadCompared: hasHead(bytes, head) }),
    attested: witnesses.length > 0 ? 'witnessed' : 'quorum',
    witnesses,
  }
}

/** True if a file that holds names a head of this log and size. */
function hasHead(bytes: Uint8Array, { chain, size }: Pinned['heads'][number]): boolean {
  const heads =
    kindOf(bytes) === 'succession'
      ? verifySuccession({ bytes }).heads
      : parseFile(bytes).parts.map((part) => ({
          chain: part.chain,
          size: parseCheckpoint(parseProof(part.proof).checkpoint).size,
        }))
  return heads.some((one) => one.chain === chain && one.size === size)
}
