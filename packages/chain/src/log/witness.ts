/**
 * Witnesses (C2SP tlog-witness): parties outside of the ledger that cosign its heads once these extend what they cosigned before. Their
 * lines prove nothing about the rules and count towards no quorum; they make a second history visible to whoever knows their keys.
 *
 * @see SPEC.md §4, https://c2sp.org/tlog-witness
 */
import { equalBytes } from '@healthblock/encoding/bytes'
import { ChainError } from '../errors.ts'
import {
  addSignatures,
  type CheckpointHead,
  checkpointText,
  parseCheckpoint,
  verifyNoteSignature,
} from './checkpoint.ts'
import {
  encodeNote,
  encodeSignatureLine,
  type NoteKey,
  type NoteSignature,
  noteKeyId,
  parseSignatureLine,
  parseVkey,
  signatureTypes,
} from './note.ts'

/** Most witnesses of a node, and of a receipt. */
export const witnessesMax = 16
/** Longest answer of a witness that is read, in bytes. */
export const witnessAnswerSizeBytesMax = 16_384
const answerLinesMax = 64

/** A cosignature of a witness that holds. */
export interface WitnessCosignature {
  /** As it stands in a note, with its newline. */
  readonly line: string
  /** When the witness signed, by its own clock: Unix ms. */
  readonly time: number
}

/**
 * Reads a witness's verifier key: type 0x04, under a name that no node of a ledger can have.
 *
 * @throws {ChainError} `ERR_KEY_TEXT_INVALID`.
 */
export function parseWitnessKey(vkey: string): NoteKey {
  const key = parseVkey(vkey)
  const reason =
    key.type !== signatureTypes.cosigner ? 'type' : key.name.startsWith('healthblock/') ? 'name of a ledger' : undefined
  if (reason === undefined) return key
  throw new ChainError(`not a witness's key: ${reason}`, { code: 'ERR_KEY_TEXT_INVALID', reason })
}

function isOf({ name, keyId }: NoteSignature, key: NoteKey): boolean {
  return name === key.name && equalBytes(keyId, noteKeyId(key))
}

function failed(reason: string): ChainError {
  return new ChainError(`not a witness's answer: ${reason}`, { code: 'ERR_NOTE_FORMAT', reason })
}

function verifyLine(text: string, key: NoteKey, signature: NoteSignature): WitnessCosignature {
  const time = verifyNoteSignature({ text, key, signature }) as number
  return { line: encodeSignatureLine(signature), time }
}

/**
 * Verifies what a witness answered to a head: lines of other keys are skipped, the first of this key must hold.
 *
 * @throws {ChainError} `ERR_NOTE_FORMAT`; `ERR_CHECKPOINT_SIGNATURE` if it is wrong or absent.
 */
export function verifyWitnessAnswer(request: {
  readonly answer: string
  readonly head: CheckpointHead
  readonly key: NoteKey
}): WitnessCosignature {
  const { answer, head, key } = request
  if (answer.length > witnessAnswerSizeBytesMax) throw failed('too long')
  const lines = answer.split(/(?<=\n)/)
  if (lines.length > answerLinesMax) throw failed('count of lines')
  const signature = lines.map(parseSignatureLine).find((line) => isOf(line, key))
  if (signature === undefined) {
    const { name } = key
    throw new ChainError(`no cosignature of ${name}`, { code: 'ERR_CHECKPOINT_SIGNATURE', name })
  }
  return verifyLine(checkpointText(head), key, signature)
}

/**
 * Reads the size that a witness names when it holds another one than it was told (`text/x.tlog.size`).
 *
 * @throws {ChainError} `ERR_NOTE_FORMAT`.
 */
export function parseWitnessSize(answer: string): number {
  const [, digits] = /^(0|[1-9][0-9]{0,15})\n?$/.exec(answer) ?? []
  const size = Number(digits)
  if (!Number.isSafeInteger(size)) throw failed('size')
  return size
}

/**
 * What of a checkpoint a witness is sent: the text, and the line of one log key (absent: of any), so that a request stays small.
 *
 * @throws {ChainError} `ERR_CHECKPOINT_SIGNATURE` if no such key signed.
 */
export function witnessNote(checkpoint: string, logKey?: NoteKey): string {
  const { origin, text, signatures } = parseCheckpoint(checkpoint)
  const signature = signatures.find((line) => (logKey === undefined ? line.name === origin : isOf(line, logKey)))
  if (signature !== undefined) return encodeNote({ text, signatures: [signature] })
  throw new ChainError(`no line of a log key of ${origin}`, { code: 'ERR_CHECKPOINT_SIGNATURE', name: origin })
}

/** The cosignatures of these witnesses on a checkpoint that hold, by the position of their keys. */
export function witnessCosignatures(checkpoint: string, keys: readonly NoteKey[]): (WitnessCosignature | undefined)[] {
  const { text, signatures } = parseCheckpoint(checkpoint)
  return keys.map((key) => {
    for (const signature of signatures) {
      if (!isOf(signature, key)) continue
      try {
        return verifyLine(text, key, signature)
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
      }
    }
    return undefined
  })
}

/**
 * Takes the witnesses' lines off the end of a checkpoint, where they stand one each in the order of `keys`.
 *
 * @throws {ChainError} `ERR_CHECKPOINT_FORMAT` for any other place or number; `ERR_CHECKPOINT_SIGNATURE` for a line that is wrong.
 */
export function takeWitnessLines(
  checkpoint: string,
  keys: readonly NoteKey[],
): { readonly checkpoint: string; readonly cosignatures: readonly WitnessCosignature[] } {
  const { text, signatures } = parseCheckpoint(checkpoint)
  const own = signatures.length - keys.length
  const cosignatures = keys.map((key, position) => {
    const signature = signatures[own + position]
    if (own < 1 || signature === undefined || !isOf(signature, key)) {
      const reason = `the lines of witnesses do not end it`
      throw new ChainError(`not a checkpoint: ${reason}`, { code: 'ERR_CHECKPOINT_FORMAT', reason })
    }
    return verifyLine(text, key, signature)
  })
  return { checkpoint: encodeNote({ text, signatures: signatures.slice(0, own) }), cosignatures }
}

/** A checkpoint with the lines of its log and nodes alone. */
export function withoutWitnessLines(checkpoint: string): string {
  const { origin, text, signatures } = parseCheckpoint(checkpoint)
  const own = signatures.filter(({ name }) => name === origin || name.startsWith(`${origin}/`))
  return encodeNote({ text, signatures: own })
}

/** Puts witnesses' lines behind the others. */
export function addWitnessLines(checkpoint: string, cosignatures: readonly WitnessCosignature[]): string {
  return addSignatures(
    checkpoint,
    cosignatures.map(({ line }) => line),
  )
}
