/**
 * C2SP signed notes: a text and the lines of those who signed it. Keys are told apart by name and key id together; a line
 * of an unknown key is skipped, a line of a known key that does not verify spoils the note.
 *
 * @see https://c2sp.org/signed-note
 */
import { sha256 } from '@healthblock/crypto/hash'
import { concatBytes, encodeUtf8, fromBase64, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'

/** Signature types: 0x01 Ed25519 over the text; 0x04 Ed25519 cosignature with a time. */
export const signatureTypes = { log: 0x01, cosigner: 0x04 } as const
/** A type of signature that notes here carry. */
export type SignatureType = (typeof signatureTypes)[keyof typeof signatureTypes]

/** Longest note, in UTF-16 units. */
export const noteLengthMax = 262_144
/** Most signature lines. */
export const noteSignaturesMax = 1024

/** One signature line. `keyId` 4 bytes; `signature` whatever the type puts there. */
export interface NoteSignature {
  readonly name: string
  readonly keyId: Uint8Array
  readonly signature: Uint8Array
}

/** A note taken apart. `text` ends with its newline. */
export interface Note {
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** A public key with the name and type under which it signs. */
export interface NoteKey {
  readonly name: string
  readonly type: SignatureType
  /** 32 bytes. */
  readonly publicKey: Uint8Array
}

function noteError(reason: string, cause?: unknown): ChainError {
  return new ChainError(`not a signed note: ${reason}`, { code: 'ERR_NOTE_FORMAT', reason }, { cause })
}

const namePattern = /^[^\s+\p{White_Space}]+$/u
// Control characters have no place in a note, the newline excepted.
const isPlain = (text: string): boolean => {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 && unit !== 0x0a) return false
  }
  return text.isWellFormed()
}

/** The four bytes by which signature lines name a key. */
export function noteKeyId(key: NoteKey): Uint8Array<ArrayBuffer> {
  return sha256(encodeUtf8(`${key.name}\n`), Uint8Array.of(key.type), key.publicKey).slice(0, 4)
}

/** Writes one signature line, with its newline. */
export function encodeSignatureLine(signature: NoteSignature): string {
  return `\u2014 ${signature.name} ${toBase64(concatBytes(signature.keyId, signature.signature))}\n`
}

/**
 * Reads one signature line, with its newline.
 *
 * @throws {ChainError} `ERR_NOTE_FORMAT`.
 */
export function parseSignatureLine(line: string): NoteSignature {
  if (!line.startsWith('\u2014 ') || !line.endsWith('\n')) throw noteError('signature line')
  const [name, encoded, ...more] = line.slice(2, -1).split(' ')
  if (name === undefined || encoded === undefined || more.length > 0 || !namePattern.test(name)) {
    throw noteError('signature line')
  }
  let bytes: Uint8Array
  try {
    bytes = fromBase64(encoded)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw noteError('base64 of a signature', cause)
  }
  if (bytes.length < 5) throw noteError('a signature is too short')
  return { name, keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) }
}

/** Joins a text, which ends with a newline, and signatures into a note. */
export function encodeNote(note: Note): string {
  return `${note.text}\n${note.signatures.map(encodeSignatureLine).join('')}`
}

/**
 * Takes a note apart; whatever it accepts, `encodeNote` writes again. It verifies nothing.
 *
 * @throws {ChainError} `ERR_NOTE_FORMAT`.
 */
export function parseNote(note: string): Note {
  if (note.length > noteLengthMax) throw noteError('too long')
  if (!isPlain(note)) throw noteError('characters')
  const split = note.lastIndexOf('\n\n')
  if (split === -1 || !note.endsWith('\n')) throw noteError('no signatures')
  const lines = note.slice(split + 2).split(/(?<=\n)/)
  if (lines[0] === '' || lines.length > noteSignaturesMax) throw noteError('count of signatures')
  return { text: note.slice(0, split + 1), signatures: lines.map(parseSignatureLine) }
}

/** Writes a verifier key, such as C2SP's tools read it: `<name>+<key id hex>+<base64 of type and key>`. */
export function encodeVkey(key: NoteKey): string {
  return `${key.name}+${toHex(noteKeyId(key))}+${toBase64(concatBytes(Uint8Array.of(key.type), key.publicKey))}`
}

/**
 * Reads a verifier key of type 0x01 or 0x04.
 *
 * @throws {ChainError} `ERR_KEY_TEXT_INVALID` for another type, a key id that is not the key's, or any other form.
 */
export function parseVkey(vkey: string): NoteKey {
  const failed = (reason: string, cause?: unknown) =>
    new ChainError(`not a verifier key: ${reason}`, { code: 'ERR_KEY_TEXT_INVALID', reason }, { cause })
  if (!isPlain(vkey) || vkey.length > 1024) throw failed('characters')
  // base64 may hold a plus sign, the name may not.
  const [name = '', id = '', ...rest] = vkey.split('+')
  if (rest.length === 0 || !namePattern.test(name)) throw failed('form')
  let bytes: Uint8Array
  let keyId: Uint8Array
  try {
    keyId = fromHex(id)
    bytes = fromBase64(rest.join('+'))
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw failed('encoding', cause)
  }
  const type = bytes[0]
  if (bytes.length !== 33 || (type !== signatureTypes.log && type !== signatureTypes.cosigner)) throw failed('type')
  const key: NoteKey = { name, type, publicKey: bytes.subarray(1) }
  if (keyId.length !== 4 || toHex(noteKeyId(key)) !== id) throw failed('key id')
  return key
}
