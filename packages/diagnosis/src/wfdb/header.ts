import { DiagnosisError } from '../errors.ts'

/** How the samples of one signal lie in its file. `SPEC.md` §6 lists the layouts. */
export type SignalFormat = 8 | 16 | 24 | 32 | 61 | 80 | 160 | 212 | 310 | 311

/** One signal of a record, as its header line says. Physical value = (sample - baseline) / gain, in `units`. */
export interface WfdbSignal {
  /** Name of the file, without a folder. */
  file: string
  format: SignalFormat
  /** Bytes before the first sample (24 in MATLAB version 4 files). */
  byteOffset: number
  /** Samples of this signal in each frame, 1 to `samplesPerFrameMax`: its rate is so many times that of the record. */
  samplesPerFrame: number
  /** Sample units per physical unit, above zero; 200 where the header has none. */
  gain: number
  baseline: number
  units: string
  /** Value of the first sample as the header gives it; format 8 counts from it. */
  initialValue: number
  /** Sum of all samples modulo 2^16 as a signed number; `undefined` where the header has none. */
  checksum: number | undefined
  /** Free text, usually the name of the lead. */
  description: string
}

/** A parsed `.hea` file of a record with one segment. */
export interface WfdbHeader {
  name: string
  /** Frames a second, above 0 and at most `rateMax`. */
  rate: number
  /** Samples of each signal; `undefined` where the header leaves it to the size of the file. */
  sampleCount: number | undefined
  signals: WfdbSignal[]
}

/** Highest rate in Hz that a header may name. */
export const rateMax = 10_000
/** Most signals of one record. */
export const signalsMax = 64
/** Most samples of one signal in a frame. */
export const samplesPerFrameMax = 64
/** Most samples of one signal: about 33 days at 360 Hz. */
export const samplesMax = 2 ** 30
/** Largest header in bytes. */
export const headerBytesMax = 65_536

const formats: ReadonlySet<number> = new Set([8, 16, 24, 32, 61, 80, 160, 212, 310, 311])
const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i
const integerPattern = /^[+-]?\d+$/
const namePattern = /^[A-Za-z0-9_.-]{1,128}$/

function wrong(field: string, at: number, reason: string): DiagnosisError {
  return new DiagnosisError(`header line ${at}: ${field} ${reason}`, { code: 'ERR_WFDB_HEADER_INVALID', field, at })
}

function parseNumber(text: string, field: string, at: number): number {
  const value = numberPattern.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(value)) throw wrong(field, at, 'is not a number')
  return value
}

function parseInteger(text: string, field: string, at: number): number {
  const value = integerPattern.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw wrong(field, at, 'is not an integer')
  return value
}

function parseRecordLine(line: string, at: number): Omit<WfdbHeader, 'signals'> & { count: number } {
  const [name, countText, rateText, samplesText] = line.split(/\s+/)
  if (name === undefined || !namePattern.test(name)) {
    throw wrong('record name', at, name?.includes('/') ? 'has segments, which are not read' : 'is missing or malformed')
  }
  if (countText === undefined) throw wrong('number of signals', at, 'is missing')
  const count = parseInteger(countText, 'number of signals', at)
  if (count < 0 || count > signalsMax) throw wrong('number of signals', at, `is not in 0..${signalsMax}`)
  const rate = rateText === undefined ? 250 : parseNumber(rateText.split('/')[0] as string, 'rate', at)
  if (!(rate > 0) || rate > rateMax) throw wrong('rate', at, `is not above 0 and at most ${rateMax} Hz`)
  const sampleCount = samplesText === undefined ? 0 : parseInteger(samplesText, 'number of samples', at)
  if (sampleCount < 0 || sampleCount > samplesMax) throw wrong('number of samples', at, `is not in 0..${samplesMax}`)
  return { name, count, rate, sampleCount: sampleCount === 0 ? undefined : sampleCount }
}

function parseFormat(text: string, at: number): Pick<WfdbSignal, 'format' | 'byteOffset' | 'samplesPerFrame'> {
  const match = /^(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?$/.exec(text)
  if (match === null) throw wrong('format', at, 'is malformed')
  const format = Number(match[1])
  if (!formats.has(format)) throw wrong('format', at, `${match[1]} is not one of those read`)
  const samplesPerFrame = match[2] === undefined ? 1 : parseInteger(match[2], 'samples per frame', at)
  if (samplesPerFrame < 1 || samplesPerFrame > samplesPerFrameMax)
    throw wrong('samples per frame', at, `are not 1 to ${samplesPerFrameMax}`)
  if (match[3] !== undefined && match[3] !== '0') throw wrong('skew', at, 'is not read')
  const byteOffset = match[4] === undefined ? 0 : parseInteger(match[4], 'byte offset', at)
  return { format: format as SignalFormat, byteOffset, samplesPerFrame }
}

function parseGain(text: string, at: number): { gain: number; baseline: number | undefined; units: string } {
  const match = /^([^(/]+)(?:\(([^)]*)\))?(?:\/(\S+))?$/.exec(text)
  if (match === null) throw wrong('gain', at, 'is malformed')
  const gain = parseNumber(match[1] as string, 'gain', at)
  if (!(gain > 0)) throw wrong('gain', at, 'is not above zero')
  const baseline = match[2] === undefined ? undefined : parseInteger(match[2], 'baseline', at)
  return { gain, baseline, units: match[3] ?? 'mV' }
}

function parseSignalLine(line: string, at: number): WfdbSignal {
  const words = line.split(/\s+/)
  const [file, format, gainText, resolution, zeroText, initialText, checksumText, blockText] = words
  if (file === undefined || !namePattern.test(file) || file.startsWith('.')) {
    throw wrong('signal file', at, 'is not a plain file name')
  }
  if (format === undefined) throw wrong('format', at, 'is missing')
  const { gain, baseline, units } =
    gainText === undefined ? { gain: 200, baseline: undefined, units: 'mV' } : parseGain(gainText, at)
  if (resolution !== undefined) parseInteger(resolution, 'resolution', at)
  const zero = zeroText === undefined ? 0 : parseInteger(zeroText, 'zero', at)
  if (blockText !== undefined) parseInteger(blockText, 'block size', at)
  return {
    file,
    ...parseFormat(format, at),
    gain,
    baseline: baseline ?? zero,
    units,
    initialValue: initialText === undefined ? zero : parseInteger(initialText, 'initial value', at),
    checksum: checksumText === undefined ? undefined : parseInteger(checksumText, 'checksum', at),
    description: words.slice(8).join(' '),
  }
}

/**
 * Parses a `.hea` file.
 *
 * @param bytes - the file; Latin-1 text, lines ending in LF or CR LF, `#` begins a comment.
 * @throws {DiagnosisError} `ERR_WFDB_HEADER_INVALID` with the field and the line: several segments, an unknown
 *   format, a rate or size out of bounds, a gain that is not above zero, a file name with a folder in it, a missing line.
 * @see SPEC.md §6, https://physionet.org/physiotools/wag/header-5.htm
 */
export function parseHeader(bytes: Uint8Array): WfdbHeader {
  if (bytes.length > headerBytesMax) throw wrong('size', 0, `is above ${headerBytesMax} bytes`)
  const lines = new TextDecoder('latin1').decode(bytes).split(/\r?\n/)
  const kept = lines.map((line, index) => ({ line: line.trim(), at: index + 1 })).filter((l) => l.line !== '')
  const [first, ...rest] = kept.filter(({ line }) => !line.startsWith('#'))
  if (first === undefined) throw wrong('record line', 1, 'is missing')
  const { count, ...record } = parseRecordLine(first.line, first.at)
  if (rest.length < count) throw wrong('signal line', lines.length, `is missing: ${rest.length} of ${count}`)
  return { ...record, signals: rest.slice(0, count).map(({ line, at }) => parseSignalLine(line, at)) }
}
