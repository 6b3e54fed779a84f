/**
 * Successor ledgers (SPEC.md §10): when a quorum is lost for good, two thirds of the organisations begin a new ledger whose genesis names the
 * last heads that the old quorum attested. The file proves it from the old genesis alone: the heads under the old quorum's cosignatures, who
 * governed in the state below them, and their root keys' approvals. Nothing that survivors or organisations merely say is believed.
 */
import { compareBytes, equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import { parseSealLeaf, type Seal } from '../log/seal.ts'
import { type Genesis, genesisAccounts, parseGenesis } from '../policy/genesis.ts'
import { PolicyTrail, type TrailHead } from '../policy/policy-trail.ts'
import { verifyStateProof } from '../state/state-tree.ts'
import { keyRoles, userTables } from '../state/tables.ts'
import type { LogHead } from '../transaction/bodies.ts'
import { bytes, type Check, list, map, optional, uint } from '../transaction/schema.ts'
import { encodeStatement, verifyStatement } from '../transaction/statement.ts'
import type { ReceiptState } from './json-form.ts'
import { type ProvedPart, provePart } from './proved-part.ts'
import { trailWords } from './receipt.ts'
import { type Approval, parseSuccession, type Succession } from './succession-format.ts'

export { type Approval, encodeSuccession, parseSuccession, type Succession } from './succession-format.ts'

/** An organisation that governed the ledger at its last head. */
export interface GoverningKey {
  readonly account: Uint8Array
  readonly root: Uint8Array
}

/** What a succession proves. */
export interface VerifiedSuccession {
  readonly prior: Genesis
  readonly successor: Genesis
  /** The heads from which it goes on: Userchain's, then Docchain's. */
  readonly heads: readonly [TrailHead, TrailHead]
  /** Those who governed, in the order of their admission. */
  readonly organisations: readonly GoverningKey[]
  /** Accounts that approved; at least `approvalsMin`, unless the file is still on its way. */
  readonly approved: readonly Uint8Array[]
  readonly approvalsMin: number
  /** What was verified, step by step, in words. */
  readonly steps: readonly string[]
}

function invalid(step: string, reason: string, cause?: unknown): ChainError {
  return new ChainError(`${step}: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step, reason }, { cause })
}

/** How many organisations decide: two thirds of those who govern. */
export function approvalsNeeded(organisationCount: number): number {
  return Math.ceil((organisationCount * 2) / 3)
}

/** The SEAL that ends the head under which it is proved. */
function sealOf(part: ProvedPart): Seal {
  const seal = parseSealLeaf(part.leaf)
  if (part.index !== part.size - 1 || part.index !== seal.i0 + seal.k) throw invalid(part.chain, 'no SEAL of its head')
  if ((seal.anchor === undefined) !== (part.chain === 'userchain')) throw invalid(part.chain, 'a SEAL of another chain')
  return seal
}

function anchorOf({ anchor }: Seal): LogHead {
  const [head] = anchor ?? []
  if (head === undefined) throw invalid('docchain', 'a SEAL without an anchor')
  return head
}

const isOrganisations = list(bytes(32), 1, 256)
const isIndex = uint()
const isKey = map({ key: bytes(32), o: uint(), c: optional(uint()) })

/** Reads proofs of records one after the other: each must be there, in order, and hold. */
class Records {
  readonly #states: readonly ReceiptState[]
  readonly #root: Uint8Array
  #next = 0

  constructor(states: readonly ReceiptState[], root: Uint8Array) {
    this.#states = states
    this.#root = root
  }

  /** The value at a key; undefined if it is proved to be absent. */
  take<T>(key: Uint8Array, check: Check<T>): T | undefined {
    const state = this.#states[this.#next++]
    if (state === undefined || !equalBytes(state.key, key)) throw invalid('state', 'not the records of who governed')
    const { value, proof } = state
    verifyStateProof({ key, value, proof, root: this.#root })
    if (value === undefined) return undefined
    let decoded: ReturnType<typeof decodeCbor>
    try {
      decoded = decodeCbor(value)
    } catch (cause) {
      if (!(cause instanceof EncodingError)) throw cause
      throw invalid('state', 'a record that cannot be read', cause)
    }
    if (!check(decoded)) throw invalid('state', 'a record of another shape')
    return decoded as T
  }

  end(): void {
    if (this.#next !== this.#states.length) throw invalid('state', 'a record that is of no use')
  }
}

/** Who governed, and their root keys, as the state below the head has it. */
function governing(genesis: Genesis, part: ProvedPart, seal: Seal): GoverningKey[] {
  const records = new Records(part.state ?? [], seal.st)
  const accounts =
    records.take(userTables.organisations.key(), isOrganisations) ?? genesisAccounts(genesis).organisations
  const organisations = accounts.map((account) => {
    const k = records.take(userTables.keyHead.key(account, keyRoles.root), isIndex)
    const record = k === undefined ? undefined : records.take(userTables.key.key(account, keyRoles.root, k), isKey)
    if (record === undefined || record.c !== undefined) throw invalid('state', 'an organisation without a root key')
    return { account, root: record.key }
  })
  records.end()
  return organisations
}

/** Keys of the records that a succession proves, given how to read the state: in the order in which it carries them. */
export async function successionKeys(
  genesis: Genesis,
  read: (key: Uint8Array) => Promise<unknown>,
): Promise<Uint8Array[]> {
  const keys = [userTables.organisations.key()]
  const listed = (await read(keys[0] as Uint8Array)) as readonly Uint8Array[] | undefined
  for (const account of listed ?? genesisAccounts(genesis).organisations) {
    const head = userTables.keyHead.key(account, keyRoles.root)
    const k = (await read(head)) as number | undefined
    keys.push(head)
    if (k !== undefined) keys.push(userTables.key.key(account, keyRoles.root, k))
  }
  return keys
}

/** The heads that the successor's genesis names are those that are proved. */
function checkPrior(successor: Genesis, prior: Genesis, heads: readonly ProvedPart[], seals: readonly Seal[]): void {
  const named = successor.body.prior
  if (named === undefined) throw invalid('successor', 'its genesis names no ledger before it')
  const [ledgerId, ...namedHeads] = named
  if (!equalBytes(ledgerId, prior.ledgerId)) throw invalid('successor', 'its genesis names another ledger')
  for (const [position, [size, root]] of namedHeads.entries()) {
    const head = heads[position] as ProvedPart
    if (size !== head.size || !equalBytes(root, head.root)) {
      throw invalid('successor', `its genesis names another head of ${head.chain} than the one that is proved`)
    }
  }
  if (seals.some(({ ms }) => ms >= successor.body.start))
    throw invalid('successor', 'it begins before the old one ends')
}

function checkApprovals(
  approvals: readonly Approval[],
  organisations: readonly GoverningKey[],
  { prior, successor }: { prior: Genesis; successor: Genesis },
): void {
  const statement = encodeStatement('successor', [successor.ledgerId])
  for (const [position, { account, signature }] of approvals.entries()) {
    const before = approvals[position - 1]
    if (before !== undefined && compareBytes(before.account, account) >= 0) {
      throw invalid('approvals', 'not in ascending order')
    }
    const organisation = organisations.find((one) => equalBytes(one.account, account))
    if (organisation === undefined) throw invalid('approvals', 'by somebody who does not govern')
    const signed = { statement, signature }
    try {
      verifyStatement({ name: 'successor', signed, ledgerId: prior.ledgerId, publicKey: organisation.root })
    } catch (cause) {
      if (!(cause instanceof ChainError)) throw cause
      throw invalid('approvals', `the signature of ${toHex(account)} does not verify`, cause)
    }
  }
}

function verifyProofs({ parts, trail: steps }: Succession, prior: Genesis) {
  const trail = PolicyTrail.of(prior, steps)
  const [userchain, docchain] = parts.map((part) => provePart({ trail, witnesses: [] }, part, 'part'))
  if (userchain?.chain !== 'userchain' || docchain?.chain !== 'docchain') throw invalid('part', 'not one of each chain')
  if (docchain.state !== undefined) throw invalid('state', 'proofs belong to the SEAL of userchain')
  if (trail.needed([userchain, docchain]).length !== trail.steps.length) {
    throw invalid('trail', 'a step that no part needs')
  }
  const seals = [sealOf(userchain), sealOf(docchain)] as const
  const [size, root] = anchorOf(seals[1])
  if (size > userchain.size) throw invalid('docchain', 'its head is anchored beyond that of userchain')
  if (size === userchain.size && !equalBytes(root, userchain.root)) {
    throw invalid('docchain', 'its head is anchored at another userchain')
  }
  return { userchain, docchain, seals, trail }
}

/**
 * Verifies everything in a succession but the number of its approvals: for a file that travels from one organisation to the next.
 *
 * @throws {ChainError} `ERR_RECEIPT_FORMAT`, `ERR_RECEIPT_INVALID`, or the code of what in it does not hold.
 * @see SPEC.md §10
 */
export function verifySuccessionProof(bytes: Uint8Array): VerifiedSuccession {
  const succession = parseSuccession(bytes)
  const prior = parseGenesis(succession.genesis)
  const successor = parseGenesis(succession.successor)
  const { userchain, docchain, seals, trail } = verifyProofs(succession, prior)
  checkPrior(successor, prior, [userchain, docchain], seals)
  const organisations = governing(prior, userchain, seals[0])
  checkApprovals(succession.approvals, organisations, { prior, successor })
  const approved = succession.approvals.map(({ account }) => account)
  const approvalsMin = approvalsNeeded(organisations.length)
  const kept = organisations.filter(({ root }) => successor.body.orgs.some(([other]) => equalBytes(other, root)))
  const steps = [
    'the file is in its one canonical form',
    `ledger ${toHex(successor.ledgerId)} carries on ledger ${toHex(prior.ledgerId)}`,
    ...trailWords(trail),
    ...[userchain, docchain].map(
      ({ chain, size, cosigners }) => `${chain} ends with ${size} entries, cosigned by nodes ${cosigners.join(', ')}`,
    ),
    `${approved.length} of ${organisations.length} organisations approve with the root keys on record there; it takes ${approvalsMin}`,
    `${kept.length} of them are organisations of the successor with the same root key`,
  ]
  const headOf = ({ chain, size, root }: ProvedPart): TrailHead => ({ chain, size, root })
  return {
    prior,
    successor,
    heads: [headOf(userchain), headOf(docchain)],
    organisations,
    approved,
    approvalsMin,
    steps,
  }
}

/**
 * Verifies a succession.
 *
 * @param request - `successor`, or `prior`: the ledger id that the reader trusts; without either both genesis files inside are believed.
 * @throws {ChainError} as `verifySuccessionProof`; `ERR_RECEIPT_INVALID` for another ledger, or too few approvals.
 */
export function verifySuccession(request: {
  readonly bytes: Uint8Array
  readonly successor?: Uint8Array
  readonly prior?: Uint8Array
}): VerifiedSuccession {
  const verified = verifySuccessionProof(request.bytes)
  const { successor, prior, approved, approvalsMin } = verified
  if (request.successor !== undefined && !equalBytes(request.successor, successor.ledgerId)) {
    throw invalid('successor', 'of another ledger')
  }
  if (request.prior !== undefined && !equalBytes(request.prior, prior.ledgerId)) {
    throw invalid('genesis', 'of another ledger')
  }
  if (approved.length < approvalsMin) {
    throw invalid('approvals', `${approved.length}, and it takes ${approvalsMin}`)
  }
  return verified
}

/**
 * Two successions that cannot both stand: of one ledger, to different ones.
 *
 * @returns Accounts that approved both, which is their fault alone; undefined if the two do not contradict each other.
 */
export function rivalApprovals(a: VerifiedSuccession, b: VerifiedSuccession): readonly Uint8Array[] | undefined {
  if (!equalBytes(a.prior.ledgerId, b.prior.ledgerId)) return undefined
  if (equalBytes(a.successor.ledgerId, b.successor.ledgerId)) return undefined
  return a.approved.filter((account) => b.approved.some((other) => equalBytes(other, account)))
}

/**
 * Holds a head that the old ledger's quorum attested against a succession.
 *
 * @returns In words what is wrong with the succession; undefined if the head lies within what it carries on, as far as sizes tell.
 */
export function beyondSuccession({ heads }: VerifiedSuccession, head: TrailHead): string | undefined {
  const last = heads.find(({ chain }) => chain === head.chain) as TrailHead
  if (head.size > last.size) {
    return `the quorum attested ${head.size} entries of ${head.chain}, the successor carries on ${last.size}`
  }
  const isSame = head.size < last.size || equalBytes(head.root, last.root)
  return isSame ? undefined : `the quorum attested another root of ${head.size} entries of ${head.chain}`
}
