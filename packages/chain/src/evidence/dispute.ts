/**
 * Dispute bundles (SPEC.md §8): one file that shows, without a network, what stands on both ledgers about a dispute: transactions, records of
 * the state present and absent, whether a grant was in force at a time, what stores kept, and what a disclosed record says. Trust comes
 * from the genesis file, or from a checkpoint that the reader kept; whatever is not verified here is refused.
 */
import { CryptoError } from '@healthblock/crypto/errors'
import { sha256 } from '@healthblock/crypto/hash'
import { epochKeyFrom, treeDepth } from '@healthblock/crypto/key-tree'
import { openPayload, type PayloadKind } from '@healthblock/crypto/payload'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import type { NoteKey } from '../log/note.ts'
import { parseSealLeaf, type Seal } from '../log/seal.ts'
import { type Genesis, ledgerIdOf, parseGenesis } from '../policy/genesis.ts'
import { PolicyTrail, type TrailHead } from '../policy/policy-trail.ts'
import { verifyStateProof } from '../state/state-tree.ts'
import { type GrantRecord, parseTableKey } from '../state/tables.ts'
import type { IotRecord } from '../transaction/bodies.ts'
import { parseStatement, type SignedStatement, verifyStatement } from '../transaction/statement.ts'
import {
  leafKind,
  parseTransactionLeaf,
  type Transaction,
  transactionId,
  typeChains,
} from '../transaction/transaction.ts'
import {
  type Dispute,
  type DisputeDisclosure,
  type DisputePart,
  type DisputeQuestion,
  parseDispute,
} from './dispute-format.ts'
import { type LicenceAnswer, type ProvedRecord, provedLicence } from './dispute-licence.ts'
import { parseFileWitnesses, type ReceiptWitness, witnessesOf, witnessWords } from './file-witnesses.ts'
import type { ReceiptState } from './json-form.ts'
import { type ProvedPart, provePart } from './proved-part.ts'
import { trailWords } from './receipt.ts'
import { timeText } from './time-text.ts'

export type { DisclosedNode, Dispute, DisputeDisclosure, DisputePart, DisputeQuestion } from './dispute-format.ts'
export { disputeLimits, encodeDispute, parseDispute } from './dispute-format.ts'

/** What came of a question. */
export interface DisputeAnswer extends DisputeQuestion {
  readonly answer: 'in force' | 'closed' | 'expired' | 'no such grant'
  /** Of a grant in force: what the file proves of its doctor's licence at that time. Absent if it proves nothing of it. */
  readonly licence?: LicenceAnswer
}

/** A record that a disclosure opened. */
export interface OpenedRecord {
  readonly patient: Uint8Array
  readonly stream: Uint8Array
  readonly sequence: number
  readonly epoch: number
  readonly data: Uint8Array
}

/** What a bundle proves. */
export interface VerifiedDispute {
  readonly ledgerId: Uint8Array
  readonly transactions: readonly {
    readonly chain: ChainName
    readonly index: number
    readonly id: Uint8Array
    readonly transaction: Transaction
  }[]
  readonly answers: readonly DisputeAnswer[]
  readonly opened: readonly OpenedRecord[]
  /** Witnesses that cosigned every checkpoint in it: by keys that the bundle names, so they are worth what the reader knows of them. */
  readonly witnesses: readonly ReceiptWitness[]
  /** What was verified, step by step, in words. */
  readonly steps: readonly string[]
}

function invalid(step: string, reason: string, cause?: unknown): ChainError {
  return new ChainError(`${step}: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step, reason }, { cause })
}

interface ProvedTransaction extends ProvedPart {
  readonly transaction: Transaction
  readonly id: Uint8Array
}

interface ProvedSeal extends ProvedPart {
  readonly seal: Seal
  /** Set once something needs it. */
  isNeeded: boolean
}

/** Ascending by chain and index, each chain under one head. */
function checkOrder(parts: readonly ProvedPart[]): void {
  for (const [position, part] of parts.entries()) {
    const before = parts[position - 1]
    if (before === undefined) continue
    if (before.chain === part.chain) {
      if (part.index <= before.index) throw invalid('part', 'not in ascending order')
      if (part.size !== before.size || !equalBytes(part.root, before.root)) {
        throw invalid('part', 'under another head than the part before it')
      }
    } else if (part.chain === 'userchain') throw invalid('part', 'userchain comes first')
  }
}

/** The bundle while it is verified: parts by kind, and what is of use so far. */
class Bundle {
  readonly genesis: Genesis
  readonly trail: PolicyTrail
  readonly #witnessKeys: readonly NoteKey[]
  /** Once the parts are proved. */
  witnesses: readonly ReceiptWitness[] = []
  readonly transactions: ProvedTransaction[] = []
  readonly seals: ProvedSeal[] = []
  readonly steps: string[] = []
  readonly #dispute: Dispute

  constructor(dispute: Dispute, genesis: Genesis) {
    this.#dispute = dispute
    this.genesis = genesis
    this.trail = PolicyTrail.of(genesis, dispute.trail)
    this.#witnessKeys = parseFileWitnesses(dispute.witnesses)
  }

  /** Proves every part, in order. */
  proveParts(): void {
    if (this.#dispute.parts.length === 0) throw invalid('part', 'there is none')
    const proved = this.#dispute.parts.map((part, number) => this.#prove(number, part))
    checkOrder(proved)
    for (const part of proved) {
      if (leafKind(part.leaf) === 'seal') this.seals.push(toSeal(part))
      else this.transactions.push(toTransaction(part, this.genesis.ledgerId))
    }
    if (this.trail.needed(proved).length !== this.trail.steps.length)
      throw invalid('trail', 'a step that no part needs')
    for (const { chain, size, root } of this.trail.heads) this.checkHead('trail', { chain, size, root })
    for (const chain of ['userchain', 'docchain'] as const) {
      const first = proved.find((part) => part.chain === chain)
      if (first === undefined) continue
      this.steps.push(
        `the first ${first.size} entries of ${chain} stand under the cosignatures of nodes ${first.cosigners.join(', ')}`,
      )
    }
    this.witnesses = witnessesOf(this.#witnessKeys, proved)
    this.steps.push(...this.witnesses.map(witnessWords))
  }

  /** Names the part that does not hold. */
  #prove(number: number, part: DisputePart): ProvedPart {
    try {
      return provePart({ trail: this.trail, witnesses: this.#witnessKeys }, part, 'part')
    } catch (cause) {
      if (!(cause instanceof ChainError)) throw cause
      throw invalid(`part ${number} (${part.chain})`, cause.message, cause)
    }
  }

  /** A head known from elsewhere: the bundle's heads of the same log and size have its root. */
  checkHead(step: string, { chain, size, root }: TrailHead): boolean {
    const heads = [...this.transactions, ...this.seals, ...(step === 'trail' ? [] : this.trail.heads)]
    const same = heads.filter((head) => head.chain === chain && head.size === size)
    if (same.some((head) => !equalBytes(head.root, root))) throw invalid(step, 'another root of the same size')
    return same.length > 0
  }

  /** Every transaction, with its block's time if its SEAL is here. */
  tellTransactions(): void {
    for (const { chain, index, id, transaction } of this.transactions) {
      const seal = this.seals.find((one) => one.chain === chain && one.seal.i0 <= index && index < one.index)
      if (seal !== undefined) seal.isNeeded = true
      const when = seal === undefined ? '' : `, in block ${seal.seal.h} of ${timeText(seal.seal.ms)}`
      this.steps.push(`transaction ${toHex(id)} (${transaction.body.t}) is at index ${index} of ${chain}${when}`)
    }
  }

  /** Every record of the state. */
  proveStates(): void {
    for (const part of this.seals) {
      for (const { key, value, proof } of part.state ?? []) {
        verifyStateProof({ key, value, proof, root: part.seal.st })
        part.isNeeded = true
        this.steps.push(`in the state after block ${part.seal.h} of ${part.chain}, ${describe(part.chain, key, value)}`)
      }
    }
  }

  /** The SEAL with the proof of a grant, and the record, if there is one. */
  #grantOf({ patient, gid }: DisputeQuestion): { seal: ProvedSeal; state: ReceiptState } {
    const key = encodeCbor(['grant', patient, gid])
    for (const seal of this.seals) {
      const state = seal.chain === 'userchain' ? seal.state?.find((one) => equalBytes(one.key, key)) : undefined
      if (state !== undefined) return { seal, state }
    }
    throw invalid('question', 'no proof of this grant')
  }

  answer(question: DisputeQuestion): DisputeAnswer {
    const { seal: newest, state } = this.#grantOf(question)
    const own = this.seals.filter(({ chain }) => chain === 'userchain')
    const at = own.findLast(({ seal }) => seal.ms <= question.at)
    if (at === undefined) throw invalid('question', 'no SEAL of a block at or before that time')
    if (at.index > newest.index) throw invalid('question', 'the proof of the grant is older than the time asked for')
    at.isNeeded = true
    if (at !== newest) {
      const next = own.find(({ seal }) => seal.h === at.seal.h + 1)
      if (next === undefined) throw invalid('question', 'the block after that time is missing')
      if (next.seal.psize !== at.index + 1) throw invalid('question', 'two SEALs that do not follow each other')
      if (next.seal.ms <= question.at) throw invalid('question', 'another block lies before that time')
      next.isNeeded = true
    } else if (question.at > newest.seal.ms) throw invalid('question', 'the time asked for lies beyond what is proved')
    const answer = judge(state, at.index + 1, question.at)
    const licence = answer === 'in force' ? this.#licence(state, at, question.at) : undefined
    const when = timeText(question.at)
    const words = aside(state, answer, licence)
    this.steps.push(
      `at ${when} (block ${at.seal.h}, ${at.index + 1} entries) grant ${toHex(question.gid)} of patient ${toHex(question.patient)} was: ${answer}${words}`,
    )
    return { ...question, answer, ...(licence === undefined ? {} : { licence }) }
  }

  /** What states that are not older than a SEAL tell of the licence of a grant's doctor. */
  #licence({ value }: ReceiptState, at: ProvedSeal, atMs: number): LicenceAnswer | undefined {
    const doctor = value === undefined ? undefined : grantRecord(value).to
    if (!(doctor instanceof Uint8Array)) return undefined
    const records = this.seals
      .filter(({ chain, index }) => chain === 'userchain' && index >= at.index)
      .flatMap(({ state = [] }) => state)
      .flatMap(({ key, value: proved }): ProvedRecord[] => {
        const parts = parseTableKey('userchain', key) ?? []
        return [proved === undefined ? { parts } : { parts, value: proved }]
      })
    return provedLicence(records, { doctor, size: at.index + 1, atMs })
  }

  /** A store's word about a block that a transaction here names. */
  checkStorage(signed: SignedStatement): void {
    const { cid, size, ms, store } = parseStatement('storage', signed.statement)
    if (!this.transactions.some(({ transaction }) => cidsOf(transaction).some((one) => equalBytes(one, cid)))) {
      throw invalid('storage', 'about a block that no transaction here names')
    }
    const { ledgerId } = this.genesis
    const isGood = this.trail.storeKeysOf(store).some((publicKey) => {
      try {
        verifyStatement({ name: 'storage', signed, ledgerId, publicKey })
        return true
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        return false
      }
    })
    if (!isGood) throw invalid('storage', 'not signed by a store of the ledger')
    this.steps.push(`store ${toHex(store)} had block ${toHex(cid)} of ${size} bytes at ${timeText(ms)}`)
  }

  /** Opens a disclosed block as the record that the ledger has of it. */
  open({ block, first, nodes }: DisputeDisclosure): OpenedRecord {
    const cid = sha256(block)
    for (const { transaction } of this.transactions) {
      const { body } = transaction
      if (body.t !== 'iot') continue
      const record = body.r.find((one) => equalBytes(one[6], cid))
      if (record === undefined) continue
      return this.#openRecord({ block, first, nodes }, body.a, record)
    }
    throw invalid('disclosed', 'a block that no record here names')
  }

  #openRecord({ block, first, nodes }: DisputeDisclosure, patient: Uint8Array, record: IotRecord): OpenedRecord {
    const [stream, sequence, generation, epoch, kind, len] = record
    if (block.length !== len) throw invalid('disclosed', 'a block of another length than its record says')
    const [leaf, ...more] = nodes
    if (more.length > 0 || (leaf !== undefined && leaf[0] !== treeDepth)) {
      throw invalid('disclosed', 'a key that is of no use: the block opens with the key of its epoch alone')
    }
    const { ledgerId } = this.genesis
    const fields = {
      kind: kind as PayloadKind,
      ledgerId,
      owner: patient,
      writer: patient,
      stream,
      generation,
      epoch,
      sequence,
    }
    try {
      const tree = nodes.map(([depth, index, key]) => ({ depth, index, key }))
      const epochKey = epochKeyFrom({ nodes: tree, first, epoch })
      const data = openPayload({ block, epochKey, expected: fields })
      this.steps.push(
        `the disclosed keys open record ${sequence} of stream ${toHex(stream)} of patient ${toHex(patient)}: ${data.length} bytes, SHA-256 ${toHex(sha256(data))}`,
      )
      return { patient, stream, sequence, epoch, data }
    } catch (cause) {
      if (!(cause instanceof CryptoError)) throw cause
      throw invalid('disclosed', 'the keys do not open the block', cause)
    }
  }

  /** What nothing needed was not verified for anything. */
  checkUse(): void {
    if (this.seals.some(({ isNeeded }) => !isNeeded)) throw invalid('seal', 'a SEAL that is of no use')
  }
}

function toSeal(part: ProvedPart): ProvedSeal {
  const seal = parseSealLeaf(part.leaf)
  if (part.index !== seal.i0 + seal.k) throw invalid('seal', 'not at the end of its block')
  if ((seal.anchor === undefined) !== (part.chain === 'userchain')) throw invalid('seal', 'of the other chain')
  if (part.state?.length === 0) throw invalid('state', 'an empty list')
  return { ...part, seal, isNeeded: false }
}

function toTransaction(part: ProvedPart, ledgerId: Uint8Array): ProvedTransaction {
  if (part.state !== undefined) throw invalid('state', 'proofs belong to SEALs alone')
  const transaction = parseTransactionLeaf(part.leaf)
  const chain = typeChains[transaction.body.t]
  if (chain !== 'both' && chain !== part.chain) throw invalid('part', 'a transaction of the other chain')
  const id = transactionId({ ledgerId, chain: part.chain, bodyBytes: transaction.bodyBytes })
  return { ...part, transaction, id }
}

/** Content ids that a transaction commits to. */
function cidsOf({ body }: Transaction): readonly Uint8Array[] {
  if (body.t === 'iot') return body.r.map(([, , , , , , cid]) => cid)
  return body.t === 'diagnosis' || body.t === 'amend' ? [body.cid] : []
}

function grantRecord(value: Uint8Array): GrantRecord {
  try {
    const record = decodeCbor(value) as unknown as GrantRecord
    const { o, c, until } = record
    if (typeof o === 'number' && typeof until === 'number' && (c === undefined || typeof c === 'number')) return record
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
  }
  throw invalid('state', 'not the record of a grant')
}

function judge({ value }: ReceiptState, size: number, atMs: number): DisputeAnswer['answer'] {
  if (value === undefined) return 'no such grant'
  const { o, c, until } = grantRecord(value)
  if (o >= size) return 'no such grant'
  if (c !== undefined && c < size) return 'closed'
  return atMs >= until ? 'expired' : 'in force'
}

/** What belongs to an answer, lest it be read for more than it is. */
function aside({ value }: ReceiptState, answer: DisputeAnswer['answer'], licence: LicenceAnswer | undefined): string {
  if (answer === 'no such grant' && value !== undefined)
    return `; it came on record after that, at index ${grantRecord(value).o}`
  if (answer !== 'in force') return ''
  return licence === undefined
    ? '; nothing here says whether its doctor had a licence'
    : `; its doctor's licence was: ${licence}`
}

/** A record in words; only of grants is more said than that it is there. A key that is none would read like one that is. */
function describe(chain: ChainName, key: Uint8Array, value: Uint8Array | undefined): string {
  const parts = parseTableKey(chain, key)
  if (parts === undefined) throw invalid('state', `a key that no record of ${chain} has`)
  const name = parts.map((part) => (part instanceof Uint8Array ? toHex(part) : String(part))).join(' ')
  if (value === undefined) return `there is no record [${name}]`
  if (parts[0] !== 'grant') return `record [${name}] has the value whose SHA-256 is ${toHex(sha256(value))}`
  const { to, o, c, until } = grantRecord(value)
  const end = c === undefined ? 'open' : `closed at index ${c}`
  const expiry = until === Number.MAX_SAFE_INTEGER ? 'without a time at which it ends' : `until ${timeText(until)}`
  return `[${name}] is a grant to ${toHex(to)}, opened at index ${o}, ${end}, ${expiry}`
}

/**
 * Verifies a dispute bundle.
 *
 * @param request - `ledgerId`, if given, is the ledger that the bundle must be of; without it the genesis file inside is believed.
 *   `heads`: checkpoints that the reader kept and believes.
 * @throws {ChainError} `ERR_RECEIPT_FORMAT` for any other than canonical bytes; `ERR_RECEIPT_INVALID`, or the code of the genesis file,
 *   leaf, proof, checkpoint, trail, statement or state proof that does not hold.
 * @see SPEC.md §8
 */
export function verifyDispute(request: {
  readonly bytes: Uint8Array
  readonly ledgerId?: Uint8Array
  readonly heads?: readonly TrailHead[]
}): VerifiedDispute {
  const dispute = parseDispute(request.bytes)
  if (request.ledgerId !== undefined && !equalBytes(request.ledgerId, ledgerIdOf(dispute.genesis))) {
    throw invalid('genesis', 'of another ledger')
  }
  const bundle = new Bundle(dispute, parseGenesis(dispute.genesis))
  const { ledgerId } = bundle.genesis
  const trust = request.ledgerId === undefined ? 'by the genesis file inside the bundle' : 'as expected'
  bundle.steps.push('the bundle is in its one canonical form', `the ledger is ${toHex(ledgerId)}, ${trust}`)
  bundle.steps.push(...trailWords(bundle.trail))
  bundle.proveParts()
  for (const head of request.heads ?? []) {
    if (bundle.checkHead('trust', head))
      bundle.steps.push(`${head.size} entries of ${head.chain} have the root of the checkpoint that you keep`)
  }
  bundle.tellTransactions()
  bundle.proveStates()
  const answers = dispute.questions.map((question) => bundle.answer(question))
  for (const signed of dispute.storage) bundle.checkStorage(signed)
  const opened = dispute.disclosed.map((disclosure) => bundle.open(disclosure))
  bundle.checkUse()
  const transactions = bundle.transactions.map(({ chain, index, id, transaction }) => ({
    chain,
    index,
    id,
    transaction,
  }))
  return { ledgerId, transactions, answers, opened, witnesses: bundle.witnesses, steps: bundle.steps }
}
