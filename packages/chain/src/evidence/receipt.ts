/**
 * Receipts (SPEC.md §7): one file that shows, without a network, that a transaction is on record, and for a revocation that
 * the grants are closed and that Docchain judges accordingly. Trust comes from the genesis file alone: it names the nodes of
 * which a quorum must have cosigned. Whatever is not verified here is refused.
 */
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { type CborMap, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import type { NoteKey } from '../log/note.ts'
import { encodeProof } from '../log/proof.ts'
import { parseSealLeaf, type Seal } from '../log/seal.ts'
import { type Genesis, ledgerIdOf, parseGenesis } from '../policy/genesis.ts'
import { PolicyTrail, type TrailHead } from '../policy/policy-trail.ts'
import { verifyStateProof } from '../state/state-tree.ts'
import { bytes, faultFinder, isMap, list, optional, uint } from '../transaction/schema.ts'
import { parseTransactionLeaf, type Transaction, transactionId, typeChains } from '../transaction/transaction.ts'
import {
  commonWitnesses,
  parseFileWitnesses,
  type ReceiptWitness,
  withWitnessLines,
  witnessesOf,
  witnessWords,
} from './file-witnesses.ts'
import { type Proved, provePart, type Under } from './proved-part.ts'
import { encodeReceipt, parseReceipt, type Receipt, type ReceiptPart, type ReceiptState } from './receipt-format.ts'

export type { ReceiptWitness } from './file-witnesses.ts'
export type { Receipt, ReceiptPart, ReceiptState } from './receipt-format.ts'
export { encodeReceipt, encodeTrail, parseReceipt, parseTrail, receiptSizeBytesMax } from './receipt-format.ts'

/** A leaf with what proves it: its inclusion in the tree of a published checkpoint (any with q cosignatures and a log line). */
export interface ReceiptEntry {
  readonly leaf: Uint8Array
  readonly index: number
  /** Inclusion proof for the checkpoint's size. */
  readonly hashes: readonly Uint8Array[]
  readonly checkpoint: string
}

/** What a receipt is made of. */
export interface ReceiptRequest {
  readonly genesis: Genesis
  /** The policy trail as far as the checkpoints need it; absent: that of genesis alone. */
  readonly trail?: PolicyTrail
  readonly chain: ChainName
  readonly transaction: ReceiptEntry
  /** Of a revocation: the SEAL of its block, with the grant records in the order of `close`. */
  readonly seal?: ReceiptEntry & { readonly state: readonly ReceiptState[] }
  /** Of a revocation: the first Docchain SEAL that is anchored beyond it. */
  readonly anchor?: ReceiptEntry
  /** Keys of witnesses; those that cosigned every checkpoint are named in the receipt. */
  readonly witnesses?: readonly NoteKey[]
}

/** A grant that the state shows as closed: at the transaction's index, or at a lower one if it was closed before. */
export interface ClosedGrant {
  readonly gid: Uint8Array
  readonly closedAt: number
}

/** What a receipt proves. */
export interface VerifiedReceipt {
  readonly kind: Receipt['kind']
  readonly ledgerId: Uint8Array
  readonly chain: ChainName
  readonly transactionId: Uint8Array
  readonly transaction: Transaction
  readonly index: number
  /** Of a revocation, in the order of `close`; else empty. */
  readonly closed: readonly ClosedGrant[]
  /** Of a revocation: height of the Docchain block from which the revocation binds, and the Userchain size that it is anchored at. */
  readonly anchored?: { readonly height: number; readonly size: number }
  /** Unix ms: when the quorum last stood behind the transaction's checkpoint. */
  readonly cosignedAt: number
  /** Witnesses that cosigned every checkpoint in it: by keys that the receipt names, so they are worth what the reader knows of them. */
  readonly witnesses: readonly ReceiptWitness[]
  /** What was verified, step by step, in words. */
  readonly steps: readonly string[]
}

function invalid(step: string, reason: string, cause?: unknown): ChainError {
  return new ChainError(`${step}: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step, reason }, { cause })
}

/** A part, and the policy under which its checkpoint stands. */
function toPart(
  trail: PolicyTrail,
  what: ReceiptPart['what'],
  chain: ChainName,
  entry: ReceiptEntry,
  witnesses: readonly NoteKey[],
): { part: ReceiptPart; under: { chain: ChainName; k: number } } {
  const { note, k } = trail.receiptForm(chain, entry.checkpoint)
  const checkpoint = withWitnessLines(note, entry.checkpoint, witnesses)
  const proof = encodeProof({ index: entry.index, hashes: entry.hashes, checkpoint })
  return { part: { what, chain, leaf: entry.leaf, proof }, under: { chain, k } }
}

/**
 * Makes a receipt and verifies it: a transaction's, or with `seal` a revocation's.
 *
 * @returns The file.
 * @throws {ChainError} as `verifyReceipt`.
 */
export function createReceipt(request: ReceiptRequest): Uint8Array<ArrayBuffer> {
  const trail = request.trail ?? new PolicyTrail(request.genesis)
  const { transaction, seal, anchor } = request
  const checkpoints = [transaction, seal, anchor].flatMap((entry) => (entry === undefined ? [] : [entry.checkpoint]))
  const witnesses = commonWitnesses(request.witnesses ?? [], checkpoints)
  const keys = witnesses.map(({ key }) => key)
  const made = [toPart(trail, 'transaction', request.chain, request.transaction, keys)]
  if (request.seal !== undefined) {
    const { part, under } = toPart(trail, 'seal', 'userchain', request.seal, keys)
    made.push({ part: { ...part, state: request.seal.state }, under })
  }
  if (request.anchor !== undefined) made.push(toPart(trail, 'anchor', 'docchain', request.anchor, keys))
  const kind = request.seal === undefined ? 'transaction' : 'revocation'
  const steps = trail.needed(made.map(({ under }) => under))
  const file = encodeReceipt({
    genesis: request.genesis.bytes,
    kind,
    parts: made.map(({ part }) => part),
    trail: steps,
    witnesses: witnesses.map(({ vkey }) => vkey),
  })
  verifyReceipt({ bytes: file, ledgerId: request.genesis.ledgerId })
  return file
}

/** A part whose leaf is in its log. */
type ProvedPart = ReceiptPart & Proved

/** The parts in the one order that the receipt's kind has. */
function partsOf(receipt: Receipt): readonly [ReceiptPart, ReceiptPart?, ReceiptPart?] {
  const names = receipt.parts.map(({ what }) => what).join(' ')
  const allowed = receipt.kind === 'transaction' ? ['transaction'] : ['transaction seal', 'transaction seal anchor']
  if (!allowed.includes(names)) throw invalid('parts', 'not those of this kind of receipt')
  for (const { what, chain, state } of receipt.parts) {
    if ((state !== undefined) !== (what === 'seal')) throw invalid(what, 'state proofs belong to the seal alone')
    if (what === 'seal' && chain !== 'userchain') throw invalid(what, 'of the wrong chain')
    if (what === 'anchor' && chain !== 'docchain') throw invalid(what, 'of the wrong chain')
  }
  return receipt.parts as unknown as readonly [ReceiptPart, ReceiptPart?, ReceiptPart?]
}

/** The SEAL that ends the block with the transaction. */
function sealOf(part: ProvedPart, transaction: ProvedPart): Seal {
  const seal = parseSealLeaf(part.leaf)
  if (part.index !== seal.i0 + seal.k) throw invalid('seal', 'not at the end of its block')
  if (transaction.index < seal.i0 || transaction.index >= part.index) throw invalid('seal', 'of another block')
  if (seal.anchor !== undefined) throw invalid('seal', 'a SEAL of Userchain has no anchor')
  return seal
}

const grantFault = faultFinder({
  to: bytes(32),
  // None in the record of a grant that was closed before it ever opened.
  streams: list(bytes(8), 0, 16),
  from: uint(),
  until: uint(),
  rights: uint(),
  purpose: uint(),
  o: uint(),
  c: uint(),
  req: optional(bytes(32)),
})

/** Where a proved grant record says that the grant was closed. */
function closedAtOf(value: Uint8Array): number {
  let record: ReturnType<typeof decodeCbor>
  try {
    record = decodeCbor(value)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw invalid('state', 'not the record of a grant', cause)
  }
  if (!isMap(record)) throw invalid('state', 'not the record of a grant')
  if (record.c === undefined) throw invalid('state', 'a grant is open')
  if (grantFault(record) !== undefined) throw invalid('state', 'not the record of a grant')
  return (record as CborMap & { c: number }).c
}

function verifyClosed(transaction: ProvedPart, body: Transaction['body'], part: ProvedPart, seal: Seal): ClosedGrant[] {
  if (body.t !== 'key' || body.close.length === 0) throw invalid('transaction', 'it closes no grant')
  const states = part.state ?? []
  if (states.length !== body.close.length) throw invalid('state', 'not one proof for each grant closed')
  return body.close.map((gid, i) => {
    const { key, value, proof } = states[i] as ReceiptState
    if (!equalBytes(key, encodeCbor(['grant', body.a, gid]))) throw invalid('state', 'of another grant')
    if (value === undefined) throw invalid('state', 'a grant is absent')
    verifyStateProof({ key, value, proof, root: seal.st })
    const closedAt = closedAtOf(value)
    if (closedAt > transaction.index) throw invalid('state', 'closed by a later transaction')
    return { gid, closedAt }
  })
}

/** The Docchain SEAL that is anchored beyond the transaction; roots that the receipt states twice must agree. */
function verifyAnchor(part: ProvedPart, transaction: ProvedPart, userchain: readonly ProvedPart[]): Seal {
  const seal = parseSealLeaf(part.leaf)
  if (part.index !== seal.i0 + seal.k) throw invalid('anchor', 'not at the end of its block')
  const [anchor] = seal.anchor ?? []
  if (anchor === undefined) throw invalid('anchor', 'a SEAL of Docchain has an anchor')
  const [size, root] = anchor
  if (size <= transaction.index) throw invalid('anchor', 'not beyond the transaction')
  for (const known of userchain) {
    if (known.size === size && !equalBytes(known.root, root)) throw invalid('anchor', 'another root of the same size')
  }
  return seal
}

/** A receipt has the steps that its parts need, and no others: what nothing needs, nothing verifies. */
function checkTrail(trail: PolicyTrail, parts: readonly ProvedPart[]): void {
  if (trail.needed(parts).length !== trail.steps.length) throw invalid('trail', 'a step that no part needs')
  for (const { chain, size, root } of trail.heads) {
    const other = parts.find((part) => part.chain === chain && part.size === size)
    if (other !== undefined && !equalBytes(other.root, root)) throw invalid('trail', 'another root of the same size')
  }
}

/**
 * Which of the heads that a reader kept have the size of one in a file, in words.
 *
 * @throws {ChainError} `ERR_RECEIPT_INVALID` if one of them has another root: there are two histories.
 */
function keptWords(kept: readonly TrailHead[], found: readonly TrailHead[]): string[] {
  return kept.flatMap(({ chain, size, root }) => {
    const same = found.filter((head) => head.chain === chain && head.size === size)
    if (same.some((head) => !equalBytes(head.root, root))) throw invalid('trust', 'another root of the same size')
    return same.length === 0 ? [] : [`${size} entries of ${chain} have the root of the checkpoint that you keep`]
  })
}

/** What each step of a trail changed, in words. */
export function trailWords(trail: PolicyTrail): string[] {
  return trail.heads.map(({ chain, size }) => {
    const policy = trail.policies(chain, size).at(-1)
    const ranks = (policy?.cosigners ?? []).flatMap((key, rank) => (key === undefined ? [] : [rank]))
    return `after ${size} entries of ${chain}, by the quorum until then: ${policy?.q} of ${nodesText(ranks)} cosign`
  })
}

function nodesText(ranks: readonly number[]): string {
  return `nodes ${ranks.join(', ')}`
}

/**
 * Verifies a receipt's file.
 *
 * @param request - `ledgerId`, if given, is the ledger that the receipt must be of; without it the genesis file inside is
 * believed, and whoever reads the result must compare the ledger id. `heads`: checkpoints that the reader kept and believes.
 * @throws {ChainError} `ERR_RECEIPT_FORMAT` for any other than canonical bytes; `ERR_RECEIPT_INVALID`, or the code of the
 * genesis file, leaf, proof, checkpoint or state proof that does not hold.
 * @see SPEC.md §7
 */
export function verifyReceipt(request: {
  readonly bytes: Uint8Array
  readonly ledgerId?: Uint8Array
  readonly heads?: readonly TrailHead[]
}): VerifiedReceipt {
  const receipt = parseReceipt(request.bytes)
  if (request.ledgerId !== undefined && !equalBytes(request.ledgerId, ledgerIdOf(receipt.genesis))) {
    throw invalid('genesis', 'of another ledger')
  }
  const genesis = parseGenesis(receipt.genesis)
  const [transactionPart, sealPart, anchorPart] = partsOf(receipt)
  const trail = PolicyTrail.of(genesis, receipt.trail ?? [])
  const under: Under = { trail, witnesses: parseFileWitnesses(receipt.witnesses) }
  const proved = provePart(under, transactionPart, 'transaction')
  const transaction = parseTransactionLeaf(proved.leaf)
  const chain = typeChains[transaction.body.t]
  if (chain !== 'both' && chain !== proved.chain) throw invalid('transaction', 'of a type of the other chain')
  const id = transactionId({ ledgerId: genesis.ledgerId, chain: proved.chain, bodyBytes: transaction.bodyBytes })
  const trust = request.ledgerId === undefined ? 'by the genesis file inside the receipt' : 'as expected'
  const steps = [
    `the receipt is in its one canonical form`,
    `the ledger is ${toHex(genesis.ledgerId)}, ${trust}`,
    ...trailWords(trail),
    `transaction ${toHex(id)} (${transaction.body.t}) is at index ${proved.index} of ${proved.chain}, whose first ${proved.size} entries ${nodesText(proved.cosigners)} cosigned`,
  ]
  const result = {
    kind: receipt.kind,
    ledgerId: genesis.ledgerId,
    chain: proved.chain,
    transactionId: id,
    transaction,
    index: proved.index,
    cosignedAt: proved.oldestTime,
  }
  const attested = (
    parts: readonly ProvedPart[],
    stated: readonly TrailHead[] = [],
  ): Pick<VerifiedReceipt, 'witnesses' | 'steps'> => {
    checkTrail(trail, parts)
    const kept = keptWords(request.heads ?? [], [...parts, ...trail.heads, ...stated])
    const witnesses = witnessesOf(under.witnesses, parts)
    return { witnesses, steps: [...steps, ...kept, ...witnesses.map(witnessWords)] }
  }
  if (sealPart === undefined) return { ...result, closed: [], ...attested([proved]) }
  if (proved.chain !== 'userchain') throw invalid('transaction', 'of the wrong chain')
  const provedSeal = provePart(under, sealPart, 'seal')
  const seal = sealOf(provedSeal, proved)
  const closed = verifyClosed(proved, transaction.body, provedSeal, seal)
  steps.push(`block ${seal.h} holds it: its SEAL is at index ${provedSeal.index}`)
  for (const { gid, closedAt } of closed) {
    steps.push(`in the state after block ${seal.h}, grant ${toHex(gid)} is closed at index ${closedAt}`)
  }
  if (anchorPart === undefined) return { ...result, closed, ...attested([proved, provedSeal]) }
  const provedAnchor = provePart(under, anchorPart, 'anchor')
  const anchorSeal = verifyAnchor(provedAnchor, proved, [proved, provedSeal])
  const [[size, root]] = anchorSeal.anchor as readonly [readonly [number, Uint8Array]]
  steps.push(
    `docchain's block ${anchorSeal.h} is anchored at ${size} entries of userchain: from it on, every diagnosis is judged with the closing`,
  )
  const parts = [proved, provedSeal, provedAnchor]
  const attestation = attested(parts, [{ chain: 'userchain', size, root }])
  return { ...result, closed, anchored: { height: anchorSeal.h, size }, ...attestation }
}
