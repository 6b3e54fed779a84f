/**
 * What shows that a node did wrong (SPEC.md §6: evidence): the forms of notes and statements, and whose key signed them. Rules,
 * nodes and auditors all judge by this file.
 */
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import { type Checkpoint, cosignerName, parseCheckpoint, verifyNoteSignature } from '../log/checkpoint.ts'
import { type NoteKey, type NoteSignature, noteKeyId, signatureTypes } from '../log/note.ts'
import { nodeChainKeys, rankedNodes } from '../policy/policy.ts'
import { policyAt } from '../state/live-at.ts'
import type { StateReader } from '../state/state.ts'
import { userTables } from '../state/tables.ts'
import { bytes, bytesMax, tuple } from '../transaction/schema.ts'
import type { SignedStatement } from '../transaction/statement.ts'

/** Numbers of the kinds of evidence. */
export const evidenceKinds = { equivocation: 1, conflict: 2, brokenPromise: 3, falseRefusal: 4 } as const
/** A kind of evidence. */
export type EvidenceKind = (typeof evidenceKinds)[keyof typeof evidenceKinds]

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A checkpoint with exactly one signature line; nothing is verified. */
export interface SingleNote extends Checkpoint {
  readonly line: NoteSignature
}

/** Reads the bytes of a checkpoint with one line; undefined for anything else. */
export function parseSingleNote(note: Uint8Array): SingleNote | undefined {
  try {
    const checkpoint = parseCheckpoint(utf8.decode(note))
    const [line, ...more] = checkpoint.signatures
    return line === undefined || more.length > 0 ? undefined : { ...checkpoint, line }
  } catch (error) {
    if (error instanceof ChainError || error instanceof TypeError) return undefined
    throw error
  }
}

/** The bytes of a checkpoint with one line, as evidence carries them. */
export function encodeSingleNote(text: string, line: string): Uint8Array<ArrayBuffer> {
  return encodeUtf8(`${text}\n${line}`)
}

const isSigned = tuple<readonly [statement: Uint8Array, signature: Uint8Array]>([bytesMax(32_768), bytes(64)])

/** Encodes a signed statement as evidence carries it: CBOR `[statement bytes, signature]`. */
export function encodeSignedStatement({ statement, signature }: SignedStatement): Uint8Array<ArrayBuffer> {
  return encodeCbor([statement, signature])
}

/** Reads what `encodeSignedStatement` wrote; undefined for anything else. */
export function parseSignedStatement(encoded: Uint8Array): SignedStatement | undefined {
  let decoded: CborValue
  try {
    decoded = decodeCbor(encoded)
  } catch (error) {
    if (error instanceof EncodingError) return undefined
    throw error
  }
  if (!isSigned(decoded)) return undefined
  const [statement, signature] = decoded as unknown as readonly [Uint8Array, Uint8Array]
  return { statement, signature }
}

/** Where note keys are looked for: the policies on record in Userchain's state below a size. */
export interface PolicyView {
  readonly userchain: StateReader
  readonly size: number
  readonly chain: ChainName
  /** True, as before version 3 of the rules: of several keys with one id the first answers, whoever signed. */
  readonly isByIdAlone?: boolean
}

/**
 * The node that signed a note: its key is a log or cosigner key of this chain in a policy up to `view.size`, and, if a later policy
 * replaced it and says how far the node had signed with it, the note's size is not beyond that. A key that was made to have another one's
 * id answers for nothing that it did not sign, and hides nobody who did.
 *
 * @returns Account and key; undefined if nobody answers for the line, or it does not verify.
 */
export function noteSigner(note: SingleNote, view: PolicyView): { account: Uint8Array; key: NoteKey } | undefined {
  const newest = policyAt(view.userchain, view.size)
  const lastSizes = new Map<string, number>()
  const tried = new Set<string>()
  for (let k = newest?.k ?? -1; k >= 0; k--) {
    const policy = userTables.policy.get(view.userchain, k)
    if (policy === undefined) continue
    for (const { rank, account, node } of rankedNodes(policy)) {
      const { log, cosigner } = nodeChainKeys(node, view.chain)
      for (const key of noteKeys(note.origin, rank, { log, cosigner })) {
        if (key.name !== note.line.name || !equalBytes(noteKeyId(key), note.line.keyId)) continue
        const name = String(key.publicKey)
        // Most keys stand in many policies.
        if (tried.has(name)) continue
        tried.add(name)
        const isGood = isLineGood(note, key)
        if (!isGood && view.isByIdAlone !== true) continue
        const last = lastSizes.get(name)
        return isGood && (last === undefined || note.size <= last) ? { account, key } : undefined
      }
    }
    for (const [key, size] of policy.last ?? []) lastSizes.set(String(key), size)
  }
  return undefined
}

function noteKeys(origin: string, rank: number, keys: { log: Uint8Array; cosigner: Uint8Array }): NoteKey[] {
  return [
    { name: cosignerName(origin, rank), type: signatureTypes.cosigner, publicKey: keys.cosigner },
    { name: origin, type: signatureTypes.log, publicKey: keys.log },
  ]
}

function isLineGood({ text, line }: SingleNote, key: NoteKey): boolean {
  try {
    verifyNoteSignature({ text, key, signature: line })
    return true
  } catch (error) {
    if (error instanceof ChainError) return false
    throw error
  }
}
