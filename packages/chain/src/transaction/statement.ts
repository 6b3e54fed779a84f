/**
 * Signed statements that are not transactions: what nodes and stores promise, refuse and report (SPEC.md §1). Each is
 * signed as its label, a zero byte, the ledger id and its canonical CBOR.
 */
import { CryptoError } from '@healthblock/crypto/errors'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8 } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import type { LogHead } from './bodies.ts'
import { bytes, type Check, list, literal, map, optional, text, tuple, uint } from './schema.ts'

const u = uint()
const b32 = bytes(32)
/** The number of the chain, as in `chains` of transaction.ts. */
const chain = uint(1, 2)
/** Most transactions that one promise names. */
export const promiseTransactionsMax = 256

const shapes = {
  accepted: map({
    v: literal(1),
    chain,
    gateway: b32,
    txs: list(b32, 1, promiseTransactionsMax),
    height: u,
    deadline: u,
  }),
  refused: map({
    v: literal(1),
    chain,
    gateway: b32,
    tx: b32,
    rule: text,
    height: u,
    st: b32,
    anchor: optional(tuple<LogHead>([u, b32])),
  }),
  deferred: map({ v: literal(1), chain, gateway: b32, tx: b32, missing: text, height: u }),
  incident: map({
    v: literal(1),
    node: b32,
    code: text,
    chain,
    height: u,
    index: u,
    file: text,
    found: u,
    healed: uint(0, 1),
  }),
  storage: map({ v: literal(1), cid: b32, size: u, ms: u, store: b32 }),
  erasure: map({ v: literal(1), a: b32, cid: b32, codec: u, ms: u }),
  'stage-ack': tuple<StageAck>([chain, u, u, u, b32]),
  successor: tuple<SuccessorApproval>([b32]),
} satisfies Record<string, Check<unknown>>

type ValueOf<C> = C extends Check<infer T> ? T : never

/** A gateway's promise that it will answer for these transactions by `deadline` (Unix ms). Key: node. */
export type GatewayPromise = ValueOf<(typeof shapes)['accepted']>
/**
 * A gateway's refusal: the first failing rule, judged after block `height` with state root `st` (on Docchain at `anchor`).
 * `rule` in lower case, as `ruleText` gives it. Key: node.
 */
export type Refusal = ValueOf<(typeof shapes)['refused']>
/** A gateway's statement, at the deadline, of what a transaction still lacks. Key: node. */
export type Deferral = ValueOf<(typeof shapes)['deferred']>
/** A fault that a node found in its own files. `found` in Unix ms, `healed` 0 or 1. Key: node. */
export type Incident = ValueOf<(typeof shapes)['incident']>
/** A store's receipt for a block of `size` bytes, durable at `ms`. Key: store. */
export type StorageReceipt = ValueOf<(typeof shapes)['storage']>
/** Account `a` gives up a block, and what it is the root of, at `ms`. Key: op, node or store. */
export type ErasureStatement = ValueOf<(typeof shapes)['erasure']>
/** A node's word that it has the block at `height` on disk and executed it: log after it has `size` and `root`. Key: node. */
export type StageAck = readonly [chain: number, height: number, term: number, size: number, root: Uint8Array]
/** An organisation's word that the ledger with this id carries on the one under whose id it signs. Key: root. */
export type SuccessorApproval = readonly [successor: Uint8Array]

/** The statement of each label. */
export interface Statements {
  accepted: GatewayPromise
  refused: Refusal
  deferred: Deferral
  incident: Incident
  storage: StorageReceipt
  erasure: ErasureStatement
  'stage-ack': StageAck
  successor: SuccessorApproval
}
/** Last part of a statement's label. */
export type StatementName = keyof Statements

/** A statement's bytes and its signature (64 bytes): what is sent and kept. */
export interface SignedStatement {
  readonly statement: Uint8Array
  readonly signature: Uint8Array
}

function formatError(statement: string, field: string, cause?: unknown): ChainError {
  const detail = { code: 'ERR_STATEMENT_FORMAT', statement, field } as const
  return new ChainError(`not a statement of kind ${statement}: ${field}`, detail, { cause })
}

function checked<N extends StatementName>(name: N, value: CborValue): Statements[N] {
  if (!(shapes[name] as Check<unknown>)(value)) throw formatError(name, 'fields')
  return value as unknown as Statements[N]
}

/** A rule's name as statements carry it: `D.live` is `d.live`, since texts on the wire have no upper case. */
export function ruleText(rule: string): string {
  return rule.toLowerCase()
}

/** A rule's name from the text of a statement: `d.live` is `D.live`. */
export function ruleOfText(ruleInText: string): string {
  return /^[da]\./.test(ruleInText) ? ruleInText.charAt(0).toUpperCase() + ruleInText.slice(1) : ruleInText
}

/**
 * Encodes a statement.
 *
 * @throws {ChainError} `ERR_STATEMENT_FORMAT`.
 */
export function encodeStatement<N extends StatementName>(name: N, statement: Statements[N]): Uint8Array<ArrayBuffer> {
  let encoded: Uint8Array<ArrayBuffer>
  try {
    encoded = encodeCbor(statement as unknown as CborMap)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError(name, 'bytes', cause)
  }
  checked(name, decodeCbor(encoded))
  return encoded
}

/**
 * Reads a statement: canonical bytes with exactly its fields. It verifies no signature.
 *
 * @throws {ChainError} `ERR_STATEMENT_FORMAT`.
 */
export function parseStatement<N extends StatementName>(name: N, encoded: Uint8Array): Statements[N] {
  let decoded: CborValue
  try {
    decoded = decodeCbor(encoded)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw formatError(name, 'bytes', cause)
  }
  return checked(name, decoded)
}

/** The bytes that are signed for a label (`stage-ack`, `accepted`, …, `token`) and encoded statement. */
export function statementMessage(request: {
  readonly label: StatementName | 'token'
  readonly ledgerId: Uint8Array
  readonly statement: Uint8Array
}): Uint8Array<ArrayBuffer> {
  return concatBytes(encodeUtf8(`healthblock/1 ${request.label}\0`), request.ledgerId, request.statement)
}

/**
 * Encodes and signs a statement.
 *
 * @throws {ChainError} `ERR_STATEMENT_FORMAT`.
 */
export function signStatement<N extends StatementName>(request: {
  readonly name: N
  readonly statement: Statements[N]
  readonly ledgerId: Uint8Array
  readonly signingKey: { sign(message: Uint8Array): Uint8Array }
}): SignedStatement {
  const statement = encodeStatement(request.name, request.statement)
  const message = statementMessage({ label: request.name, ledgerId: request.ledgerId, statement })
  return { statement, signature: request.signingKey.sign(message) }
}

/**
 * Verifies a signed statement and gives what it says. Whether `publicKey` is the live key of whom the statement names is
 * for the caller to know.
 *
 * @throws {ChainError} `ERR_STATEMENT_FORMAT`, `ERR_STATEMENT_SIGNATURE`.
 */
export function verifyStatement<N extends StatementName>(request: {
  readonly name: N
  readonly signed: SignedStatement
  readonly ledgerId: Uint8Array
  readonly publicKey: Uint8Array
}): Statements[N] {
  const { name, signed, ledgerId } = request
  const statement = parseStatement(name, signed.statement)
  const message = statementMessage({ label: name, ledgerId, statement: signed.statement })
  try {
    verifySignature({ signature: signed.signature, message, key: parseVerifyingKey(request.publicKey) })
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause
    const detail = { code: 'ERR_STATEMENT_SIGNATURE', statement: name } as const
    throw new ChainError(`the signature of a statement of kind ${name} does not verify`, detail, { cause })
  }
  return statement
}
