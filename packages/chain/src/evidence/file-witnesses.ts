/** Witnesses of files (SPEC.md §7, §8): those outside of the ledger whose lines end every checkpoint in a receipt or a bundle. */

import { ChainError } from '../errors.ts'
import { encodeVkey } from '../log/checkpoint.ts'
import type { NoteKey } from '../log/note.ts'
import { addWitnessLines, parseWitnessKey, witnessCosignatures } from '../log/witness.ts'
import type { Proved } from './proved-part.ts'
import { timeText } from './time-text.ts'

/** A witness of a file. */
export interface ReceiptWitness {
  readonly name: string
  readonly vkey: string
  /** When it first signed any of the checkpoints, by its own clock: Unix ms. */
  readonly time: number
}

function invalid(reason: string): ChainError {
  return new ChainError(`witnesses: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step: 'witnesses', reason })
}

/**
 * Reads a file's list of witnesses: each once, in order.
 *
 * @throws {ChainError} `ERR_RECEIPT_INVALID`; `ERR_KEY_TEXT_INVALID`.
 */
export function parseFileWitnesses(witnesses: readonly string[] | undefined): NoteKey[] {
  if (witnesses?.length === 0) throw invalid('an empty list')
  const keys = (witnesses ?? []).map(parseWitnessKey)
  for (const [i, vkey] of (witnesses ?? []).entries()) {
    if (i > 0 && vkey <= (witnesses?.[i - 1] as string)) throw invalid('not in order')
    if (encodeVkey(keys[i] as NoteKey) !== vkey) throw invalid('a key in another form')
  }
  return keys
}

/** Of these witnesses those that cosigned every checkpoint, in the order that files have. */
export function commonWitnesses(
  witnesses: readonly NoteKey[],
  checkpoints: readonly string[],
): { readonly vkey: string; readonly key: NoteKey }[] {
  return witnesses
    .filter((key) => checkpoints.every((checkpoint) => witnessCosignatures(checkpoint, [key])[0] !== undefined))
    .map((key) => ({ vkey: encodeVkey(key), key }))
    .sort((a, b) => (a.vkey < b.vkey ? -1 : 1))
}

/** A checkpoint in the form that files carry (`note`), with the lines that these witnesses put under `checkpoint`. */
export function withWitnessLines(note: string, checkpoint: string, witnesses: readonly NoteKey[]): string {
  return addWitnessLines(
    note,
    witnessCosignatures(checkpoint, witnesses).filter((one) => one !== undefined),
  )
}

/** When each witness first signed any of the parts' checkpoints. */
export function witnessesOf(keys: readonly NoteKey[], parts: readonly Proved[]): ReceiptWitness[] {
  return keys.map((key, i) => ({
    name: key.name,
    vkey: encodeVkey(key),
    time: Math.min(...parts.map(({ witnessTimes }) => witnessTimes[i] as number)),
  }))
}

/** A witness in words. */
export function witnessWords({ vkey, time }: ReceiptWitness): string {
  return `besides the quorum, the witness ${vkey} cosigned every checkpoint here, first at ${timeText(time)}`
}
