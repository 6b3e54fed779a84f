import { DiagnosisError } from '../errors.ts'

/** One annotation. `symbol` is the printed mnemonic of its type, such as `N`, `V`, `+`, `~`. */
export interface Annotation {
  /** Sample of the record, from 0, at the record's rate. */
  sample: number
  symbol: string
  subtype: number
  channel: number
  number: number
  /** Text, such as `(AFIB`; Latin-1, at most 255 characters, empty for none. */
  aux: string
}

/** Mnemonics by type code (WFDB `ecgcodes.h`); index is the code. Types without a mnemonic print as `[code]`. */
const symbols: readonly string[] =
  '_ N L R a V F J A S E j / Q ~ [15] | [17] s T * D " = p B ^ t + u ? ! [ ] e n @ x f ( ) r'.split(' ')
const codeOf: ReadonlyMap<string, number> = new Map(symbols.map((symbol, code) => [symbol, code]))

const codeSkip = 59
const codeNumber = 60
const codeSubtype = 61
const codeChannel = 62
const codeAux = 63
const deltaMax = 0x3ff

/** Largest sample index that an annotation may have. */
export const annotationSampleMax = 2 ** 40

const beatSymbols: ReadonlySet<string> = new Set('NLRBAaJSVrFejnE/fQ?')

/** True for the types that mark a beat (EC57 counts these and no others). */
export function isBeat(symbol: string): boolean {
  return beatSymbols.has(symbol)
}

function wrong(field: string, at: number, reason: string): DiagnosisError {
  return new DiagnosisError(`annotation at ${at}: ${field} ${reason}`, {
    code: 'ERR_WFDB_ANNOTATION_INVALID',
    field,
    at,
  })
}

const signedByte = (value: number) => (value << 24) >> 24

/** Reads 16-bit words; `offset` is the next unread byte. */
class Words {
  readonly bytes: Uint8Array
  offset = 0
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  next(): number {
    if (this.offset + 2 > this.bytes.length) throw wrong('file', this.offset, 'is truncated')
    const word = (this.bytes[this.offset] as number) | ((this.bytes[this.offset + 1] as number) << 8)
    this.offset += 2
    return word
  }

  text(length: number): string {
    if (this.offset + length > this.bytes.length) throw wrong('aux', this.offset, 'is truncated')
    const text = String.fromCharCode(...this.bytes.subarray(this.offset, this.offset + length))
    this.offset += length + (length % 2)
    return text.replace(/\0+$/, '')
  }
}

/** Sets a field of the newest annotation. Channel and number hold for those that follow, too. */
function modify(last: Annotation, code: number, value: number, words: Words): void {
  if (code === codeNumber) last.number = signedByte(value)
  else if (code === codeSubtype) last.subtype = signedByte(value)
  else if (code === codeChannel) last.channel = value & 0xff
  else last.aux = words.text(value)
}

/**
 * Parses an annotation file in the MIT format (`.atr` and the like).
 *
 * @throws {DiagnosisError} `ERR_WFDB_ANNOTATION_INVALID` for a file without its end mark, a modifier before any annotation, a
 *   sample before the start or past `annotationSampleMax`, or an unknown type.
 * @see SPEC.md §6, https://physionet.org/physiotools/wag/annot-5.htm
 */
export function parseAnnotations(bytes: Uint8Array): Annotation[] {
  const words = new Words(bytes)
  const found: Annotation[] = []
  let sample = 0
  let channel = 0
  let number = 0
  let last: Annotation | undefined
  while (true) {
    const start = words.offset
    const word = words.next()
    const code = word >> 10
    const delta = word & deltaMax
    if (word === 0) return found
    if (code === codeSkip) {
      const high = words.next()
      sample += (high << 16) | words.next()
    } else if (code >= codeNumber) {
      if (last === undefined) throw wrong('modifier', start, 'comes before any annotation')
      modify(last, code, delta, words)
      channel = last.channel
      number = last.number
    } else {
      sample += delta
      const symbol = symbols[code] ?? `[${code}]`
      if (sample < 0 || sample > annotationSampleMax) throw wrong('sample', start, 'is out of range')
      last = { sample, symbol, subtype: 0, channel, number, aux: '' }
      found.push(last)
    }
  }
}

/** Collects 16-bit words. */
function wordWriter(): { bytes: number[]; word: (code: number, low: number) => void } {
  const bytes: number[] = []
  const word = (code: number, low: number) => {
    const value = ((code & 63) << 10) | (low & deltaMax)
    bytes.push(value & 0xff, value >> 8)
  }
  return { bytes, word }
}

function codeFor(annotation: Annotation, at: number): number {
  const code = codeOf.get(annotation.symbol) ?? Number(/^\[(\d{1,2})\]$/.exec(annotation.symbol)?.[1] ?? Number.NaN)
  if (!(code >= 1 && code < codeSkip)) throw wrong('symbol', at, 'is not a type of annotation')
  return code
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255 || text.charCodeAt(i) === 0) return false
  return true
}

function checkFields(annotation: Annotation, at: number, previous: number): void {
  const { sample, subtype, channel, number, aux } = annotation
  if (!Number.isSafeInteger(sample) || sample < 0 || sample > annotationSampleMax)
    throw wrong('sample', at, 'is out of range')
  if (sample < previous) throw wrong('sample', at, 'goes back in time')
  if (signedByte(subtype) !== subtype) throw wrong('subtype', at, 'is not a signed byte')
  if (signedByte(number) !== number) throw wrong('number', at, 'is not a signed byte')
  if (!(channel >= 0 && channel <= 255 && Number.isInteger(channel))) throw wrong('channel', at, 'is not a byte')
  if (!isLatin1(aux) || aux.length > 255) throw wrong('aux', at, 'is not Latin-1 of at most 255 characters')
}

/**
 * Writes annotations in the MIT format; `parseAnnotations` reads them back as they were.
 *
 * @param annotations - in order of `sample`.
 * @throws {DiagnosisError} `ERR_WFDB_ANNOTATION_INVALID` with the index for a field out of range or a sample that goes back.
 */
export function encodeAnnotations(annotations: readonly Annotation[]): Uint8Array<ArrayBuffer> {
  const { bytes, word } = wordWriter()
  let previous = 0
  let channel = 0
  let number = 0
  for (const [index, annotation] of annotations.entries()) {
    checkFields(annotation, index, previous)
    const code = codeFor(annotation, index)
    let delta = annotation.sample - previous
    while (delta > deltaMax) {
      const step = Math.min(delta, 0x7fffffff)
      word(codeSkip, 0)
      bytes.push((step >> 16) & 0xff, step >>> 24, step & 0xff, (step >> 8) & 0xff)
      delta -= step
    }
    word(code, delta)
    previous = annotation.sample
    if (annotation.subtype !== 0) word(codeSubtype, annotation.subtype & 0xff)
    if (annotation.channel !== channel) word(codeChannel, annotation.channel)
    if (annotation.number !== number) word(codeNumber, annotation.number & 0xff)
    channel = annotation.channel
    number = annotation.number
    if (annotation.aux !== '') {
      word(codeAux, annotation.aux.length)
      for (let i = 0; i < annotation.aux.length; i++) bytes.push(annotation.aux.charCodeAt(i))
      if (annotation.aux.length % 2 === 1) bytes.push(0)
    }
  }
  bytes.push(0, 0)
  return Uint8Array.from(bytes)
}
