/** Evidence against a node (SPEC.md §6: evidence): it is on record once it proves itself, on the chain that it is about. */
import { sha256 } from '@healthblock/crypto/hash'
import { equalBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import type { Verdict } from '../block/block-types.ts'
import { chains } from '../chains.ts'
import { ChainError } from '../errors.ts'
import {
  evidenceKinds,
  noteSigner,
  type PolicyView,
  parseSignedStatement,
  parseSingleNote,
  type SingleNote,
} from '../evidence/misconduct.ts'
import { chainOrigin } from '../log/checkpoint.ts'
import { keyAt, policyAt } from '../state/live-at.ts'
import type { StateReader } from '../state/state.ts'
import { keyRoles, userTables } from '../state/tables.ts'
import { parseStatement, type SignedStatement, type Statements, verifyStatement } from '../transaction/statement.ts'
import { parseTransactionLeaf, transactionId, typeChains } from '../transaction/transaction.ts'
import {
  type DocchainContext,
  defer,
  type RuleContext,
  refuse,
  signedByOp,
  signedByOpAtAnchor,
  type TransactionOf,
  valid,
} from './context.ts'

/** Whom the evidence is against, and about which size or transaction. */
interface Shown {
  readonly node: Uint8Array
  readonly size?: number
  readonly tx?: Uint8Array
}

/** The version of the rules from which on a line is its signer's, whatever other keys have that key's id, and evidence of a node is counted. */
const rulesOfWholeKeys = 3
/** Most pieces of one kind against one node that come on record under one policy. */
const piecesMax = 64

/** A rule that failed, in the place of what would be shown. */
interface Failed {
  readonly verdict: Verdict
}

function failed(rule: 'notes' | 'key' | 'proof'): Failed {
  return { verdict: refuse(`evidence.${rule}`) }
}

function isDocchain(context: RuleContext): context is DocchainContext {
  return context.chain === 'docchain'
}

/** Userchain as the rules of this transaction see it. */
function userchainOf(context: RuleContext): { state: StateReader; size: number } {
  if (isDocchain(context)) return { state: context.userchain.state, size: context.anchor.size }
  return { state: context.state, size: context.index }
}

/** `evidence`: anybody registered may put it on record, once for each node, kind and size or transaction. */
export function judgeEvidence(transaction: TransactionOf<'evidence'>, context: RuleContext): Verdict {
  const { body } = transaction
  const unsigned = isDocchain(context)
    ? signedByOpAtAnchor(transaction, context, 'evidence.signature')
    : signedByOp(transaction, context)
  if (unsigned !== undefined) return unsigned
  const shown = show(body.kind, body.notes, context)
  if ('verdict' in shown) return shown.verdict
  const { node, size, tx } = shown
  const subject = sha256(encodeCbor(size ?? tx ?? 0))
  const { state, index: o } = context
  if (userTables.evidenceOf.get(state, node, body.kind, subject) !== undefined) return refuse('evidence.known')
  if (context.rules >= rulesOfWholeKeys && !count(node, body.kind, context)) return refuse('evidence.count')
  const k = (userTables.evidenceHead.get(state) ?? -1) + 1
  userTables.evidence.set(state, { kind: body.kind, o, ...shown }, k)
  userTables.evidenceHead.set(state, k)
  userTables.evidenceOf.set(state, k, node, body.kind, subject)
  return valid
}

/** Counts one more piece against a node; false if there are as many as there may be under this policy. */
function count(node: Uint8Array, kind: number, context: RuleContext): boolean {
  const { state, size } = userchainOf(context)
  const policy = policyAt(state, size)?.k ?? 0
  const [countedPolicy, counted] = userTables.evidenceCount.get(context.state, node, kind) ?? [policy, 0]
  const before = countedPolicy === policy ? counted : 0
  if (before >= piecesMax) return false
  userTables.evidenceCount.set(context.state, [policy, before + 1], node, kind)
  return true
}

function show(kind: number, notes: readonly Uint8Array[], context: RuleContext): Shown | Failed {
  switch (kind) {
    case evidenceKinds.equivocation:
      return equivocation(notes, context)
    case evidenceKinds.conflict:
      return conflict(notes, context)
    case evidenceKinds.brokenPromise:
      return brokenPromise(notes, context)
    default:
      return falseRefusal(notes, context)
  }
}

function readNote(bytes: Uint8Array | undefined, { ledgerId, chain }: RuleContext): SingleNote | undefined {
  const note = bytes === undefined ? undefined : parseSingleNote(bytes)
  return note?.origin === chainOrigin({ ledgerId, chain }) ? note : undefined
}

function policyView(context: RuleContext): PolicyView {
  const { state, size } = userchainOf(context)
  return { userchain: state, size, chain: context.chain, isByIdAlone: context.rules < rulesOfWholeKeys }
}

function equivocation(notes: readonly Uint8Array[], context: RuleContext): Shown | Failed {
  const [one, other] = notes.map((bytes) => readNote(bytes, context))
  if (notes.length !== 2 || one === undefined || other === undefined) return failed('notes')
  const view = policyView(context)
  const signer = noteSigner(one, view)
  const second = noteSigner(other, view)
  if (signer === undefined || second === undefined) return failed('key')
  const isOneKey = signer.key.type === second.key.type && equalBytes(signer.key.publicKey, second.key.publicKey)
  if (!isOneKey) return failed('key')
  if (one.size !== other.size || equalBytes(one.root, other.root)) return failed('proof')
  return { node: signer.account, size: one.size }
}

function conflict(notes: readonly Uint8Array[], context: RuleContext): Shown | Failed {
  const note = readNote(notes[0], context)
  if (notes.length !== 1 || note === undefined) return failed('notes')
  const signer = noteSigner(note, policyView(context))
  if (signer === undefined) return failed('key')
  if (note.size > context.firstIndex) return { verdict: defer('evidence.proof', 'basis') }
  const boundary = context.log.boundary(note.size)
  // Nobody publishes a head of nothing, so one is no statement about this log.
  if (note.size === 0 || (boundary !== undefined && equalBytes(boundary.root, note.root))) return failed('proof')
  return { node: signer.account, size: note.size }
}

/** A statement about this chain, under the node key that its gateway had after the block of the stated height. */
function statementOf<N extends 'accepted' | 'refused'>(
  name: N,
  bytes: Uint8Array | undefined,
  context: RuleContext,
): { says: Statements[N]; end: number } | Failed {
  const signed = bytes === undefined ? undefined : parseSignedStatement(bytes)
  const stated = signed === undefined ? undefined : parsed(name, signed)
  if (signed === undefined || stated === undefined || stated.chain !== chains[context.chain]) return failed('notes')
  const boundary = context.log.boundaryAt(stated.height)
  if (boundary === undefined) return failed('key')
  const { state } = userchainOf(context)
  const size = isDocchain(context) ? (boundary.anchorSize ?? 0) : boundary.size
  const publicKey = keyAt(state, stated.gateway, keyRoles.node, size)?.key
  if (publicKey === undefined) return failed('key')
  try {
    return { says: verifyStatement({ name, signed, ledgerId: context.ledgerId, publicKey }), end: boundary.size }
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return failed('key')
  }
}

function parsed<N extends 'accepted' | 'refused'>(name: N, signed: SignedStatement): Statements[N] | undefined {
  try {
    return parseStatement(name, signed.statement)
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return undefined
  }
}

function brokenPromise(notes: readonly Uint8Array[], context: RuleContext): Shown | Failed {
  const [statement, tx, ...more] = notes
  if (tx?.length !== 32 || more.length > 0) return failed('notes')
  const promise = statementOf('accepted', statement, context)
  if ('verdict' in promise) return promise
  const { gateway, txs, deadline } = promise.says
  const index = context.log.find(tx)
  const committed = index === undefined ? undefined : context.log.boundaryAfter(index)
  const isKept = committed !== undefined && committed.ms <= deadline
  if (!txs.some((id) => equalBytes(id, tx)) || context.timeMs <= deadline || isKept) return failed('proof')
  return { node: gateway, tx }
}

function falseRefusal(notes: readonly Uint8Array[], context: RuleContext): Shown | Failed {
  const [statement, leaf, ...more] = notes
  if (more.length > 0) return failed('notes')
  const refusal = statementOf('refused', statement, context)
  if ('verdict' in refusal) return refusal
  const { gateway, tx, rule } = refusal.says
  const index = context.log.find(tx)
  const wasOnRecord = index !== undefined && index < refusal.end
  const isFalse = leaf === undefined ? wasOnRecord : rule.endsWith('.format') && hasForm(leaf, tx, context)
  return isFalse ? { node: gateway, tx } : failed('proof')
}

/** True if the leaf is the transaction `tx` and of a type of this chain. */
function hasForm(leaf: Uint8Array, tx: Uint8Array, { ledgerId, chain }: RuleContext): boolean {
  try {
    const { body, bodyBytes } = parseTransactionLeaf(leaf)
    const isHere = typeChains[body.t] === chain || (typeChains[body.t] === 'both' && body.t !== 'genesis')
    return isHere && equalBytes(transactionId({ ledgerId, chain, bodyBytes }), tx)
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return false
  }
}
