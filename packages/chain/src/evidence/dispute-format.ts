/** The file of a dispute bundle: canonical JSON in exactly one form (SPEC.md §8). It verifies nothing. */
import { encodeUtf8, equalBytes, toBase64 } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { witnessesMax } from '../log/witness.ts'
import type { TrailStep } from '../policy/policy-trail.ts'
import type { SignedStatement } from '../transaction/statement.ts'
import {
  array,
  base64,
  fileTrailStepsMax,
  formatError,
  object,
  oneOf,
  parseJson,
  type ReceiptState,
  stateOfJson,
  stateToJson,
  stepOfJson,
  stepToJson,
  textOfJson,
  uintOfJson,
} from './json-form.ts'

/** A transaction, or a SEAL with proofs of the state after its block. */
export interface DisputePart {
  readonly chain: ChainName
  readonly leaf: Uint8Array
  /** tlog-proof text. */
  readonly proof: string
  readonly state?: readonly ReceiptState[]
}

/** Whether a grant was in force at a time (Unix ms). */
export interface DisputeQuestion {
  readonly at: number
  readonly patient: Uint8Array
  readonly gid: Uint8Array
}

/** A node of a patient's key tree, as disclosed. */
export type DisclosedNode = readonly [depth: number, index: number, key: Uint8Array]

/** A sealed block and what opens it. */
export interface DisputeDisclosure {
  readonly block: Uint8Array
  /** Epoch of leaf 0 of the generation's tree. */
  readonly first: number
  readonly nodes: readonly DisclosedNode[]
}

/** A bundle taken apart. */
export interface Dispute {
  /** The genesis file. */
  readonly genesis: Uint8Array
  readonly parts: readonly DisputePart[]
  readonly questions: readonly DisputeQuestion[]
  /** Stores' receipts. */
  readonly storage: readonly SignedStatement[]
  readonly disclosed: readonly DisputeDisclosure[]
  readonly trail: readonly TrailStep[]
  /** Keys (vkey) of the witnesses whose lines end the checkpoint of every part, in the order of their code units. */
  readonly witnesses?: readonly string[]
}

/** Most that one bundle holds: of parts, state proofs of a part and storage statements; of questions and opened blocks. */
export const disputeLimits = { parts: 1024, states: 1024, storage: 1024, questions: 64, disclosed: 64 } as const
const nodesMax = 64

/** A part as its file carries it. */
export function partToJson({ chain, leaf, proof, state }: DisputePart): unknown {
  return { chain, leaf: toBase64(leaf), proof, state: state?.map(stateToJson) }
}

function disclosureToJson({ block, first, nodes }: DisputeDisclosure): unknown {
  return {
    block: toBase64(block),
    first,
    nodes: nodes.map(([depth, index, key]) => [depth, index, toBase64(key)]),
  }
}

/** Writes a bundle; keys stand in the order of their code units. */
export function encodeDispute(dispute: Dispute): Uint8Array<ArrayBuffer> {
  const { genesis, parts, questions, storage, disclosed, trail, witnesses = [] } = dispute
  const file = {
    disclosed: disclosed.map(disclosureToJson),
    genesis: toBase64(genesis),
    kind: 'dispute',
    parts: parts.map(partToJson),
    questions: questions.map(({ at, gid, patient }) => ({ at, gid: toBase64(gid), patient: toBase64(patient) })),
    storage: storage.map(({ statement, signature }) => [toBase64(statement), toBase64(signature)]),
    trail: trail.length === 0 ? undefined : trail.map(stepToJson),
    v: 1,
    witnesses: witnesses.length === 0 ? undefined : witnesses,
  }
  return encodeUtf8(JSON.stringify(file))
}

/** Reads a part; it verifies nothing. */
export function partOfJson(value: unknown): DisputePart {
  const part = object(value, ['chain', 'leaf', 'proof'], ['state'])
  const plain = {
    chain: oneOf(part.chain, ['userchain', 'docchain']),
    leaf: base64(part.leaf),
    proof: textOfJson(part.proof),
  }
  return part.state === undefined
    ? plain
    : { ...plain, state: array(part.state, disputeLimits.states).map(stateOfJson) }
}

function questionOfJson(value: unknown): DisputeQuestion {
  const { at, gid, patient } = object(value, ['at', 'gid', 'patient'])
  const question = { at: uintOfJson(at), gid: base64(gid), patient: base64(patient) }
  if (question.gid.length !== 16 || question.patient.length !== 32) throw formatError('shape')
  return question
}

function statementOfJson(value: unknown): SignedStatement {
  const [statement, signature, ...more] = array(value, 2).map(base64)
  if (statement === undefined || signature === undefined || more.length > 0) throw formatError('shape')
  return { statement, signature }
}

function nodeOfJson(value: unknown): DisclosedNode {
  const [depth, index, key, ...more] = array(value, 3)
  if (more.length > 0) throw formatError('shape')
  const node = [uintOfJson(depth), uintOfJson(index), base64(key)] as const
  if (node[2].length !== 32) throw formatError('shape')
  return node
}

function disclosureOfJson(value: unknown): DisputeDisclosure {
  const { block, first, nodes } = object(value, ['block', 'first', 'nodes'])
  return { block: base64(block), first: uintOfJson(first), nodes: array(nodes, nodesMax).map(nodeOfJson) }
}

/**
 * Reads a bundle in its one form: what `encodeDispute` would write again, byte for byte.
 *
 * @throws {ChainError} `ERR_RECEIPT_FORMAT`.
 */
export function parseDispute(bytes: Uint8Array): Dispute {
  const keys = ['disclosed', 'genesis', 'kind', 'parts', 'questions', 'storage', 'v']
  const file = object(parseJson(bytes), keys, ['trail', 'witnesses'])
  if (file.v !== 1) throw formatError('an unknown version')
  oneOf(file.kind, ['dispute'])
  const dispute: Dispute = {
    genesis: base64(file.genesis),
    parts: array(file.parts, disputeLimits.parts).map(partOfJson),
    questions: array(file.questions, disputeLimits.questions).map(questionOfJson),
    storage: array(file.storage, disputeLimits.storage).map(statementOfJson),
    disclosed: array(file.disclosed, disputeLimits.disclosed).map(disclosureOfJson),
    trail: file.trail === undefined ? [] : array(file.trail, fileTrailStepsMax).map(stepOfJson),
    ...(file.witnesses === undefined ? {} : { witnesses: array(file.witnesses, witnessesMax).map(textOfJson) }),
  }
  if (!equalBytes(encodeDispute(dispute), bytes)) throw formatError('not canonical')
  return dispute
}
