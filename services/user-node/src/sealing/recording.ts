/** A WFDB recording of this host as batches of a stream: signals in millivolts are an ECG, numerics are vital signs. */
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { batchSampleMissing, type ReadingBatch, type VitalRow, type VitalSign } from '@healthblock/diagnosis/batch'
import { asEcgSignal, ecgSignals, pickLeads } from '@healthblock/diagnosis/record-leads'
import { decodeSignal, parseHeader, sampleMissing, type WfdbHeader, type WfdbSignal } from '@healthblock/diagnosis/wfdb'
import { UserNodeError } from '../errors.ts'

/** A recording that was read and checked. */
export interface Recording {
  readonly kind: ReadingBatch['kind']
  /** Frames a second. */
  readonly rateHz: number
  readonly frames: number
  /** Most frames of one piece. */
  readonly pieceFramesMax: number
  /** Frames [from, to) as a batch that begins at `startMs`; undefined if they hold no value at all. */
  piece(from: number, to: number, startMs: number): ReadingBatch | undefined
}

interface Decoded {
  readonly signal: WfdbSignal
  readonly samples: Int32Array
}

/** Names of numerics in recordings of monitors, without case, spaces and signs. */
const signOfName: Readonly<Record<string, VitalSign>> = {
  hr: 'heart-rate',
  heartrate: 'heart-rate',
  pulse: 'pulse',
  resp: 'respiratory-rate',
  rr: 'respiratory-rate',
  respiratoryrate: 'respiratory-rate',
  spo2: 'spo2',
  temp: 'temperature',
  temperature: 'temperature',
  nbpsys: 'systolic-pressure',
  abpsys: 'systolic-pressure',
  systolicpressure: 'systolic-pressure',
  nbpdias: 'diastolic-pressure',
  abpdias: 'diastolic-pressure',
  diastolicpressure: 'diastolic-pressure',
}
/** Above it a signal is a waveform, whatever its name. */
const numericsRateMaxHz = 10
/** Of one piece: what the format of a batch takes, with room. */
const pieceBytesMax = 250_000
const pieceRowsMax = 10_000
const valueMax = 1_000_000
/** Largest header, and largest file of samples: two days of two leads. A recording is read whole. */
const headerSizeBytesMax = 65_536
const samplesSizeBytesMax = 128 * 1024 * 1024

/** The error of a recording that cannot be used; its message names the file and the fault. */
export function recordInvalid(field: string, message: string, cause?: unknown): UserNodeError {
  return new UserNodeError(message, { code: 'ERR_RECORD_INVALID', field }, { cause })
}

function isMissingFile(cause: unknown): boolean {
  return (cause as NodeJS.ErrnoException).code === 'ENOENT'
}

/** Reads a file, unless it is larger than a recording's may be. */
async function readBounded(path: string, sizeBytesMax: number): Promise<Uint8Array> {
  const found = await stat(path)
  // A pipe would hold the reader for ever.
  if (!found.isFile()) throw recordInvalid('record', `${basename(path)} is no file`)
  const { size } = found
  if (size > sizeBytesMax) throw recordInvalid('record', `${basename(path)} is larger than ${sizeBytesMax} bytes`)
  return new Uint8Array(await readFile(path))
}

async function readHeader(path: string): Promise<WfdbHeader> {
  try {
    return parseHeader(await readBounded(`${path}.hea`, headerSizeBytesMax))
  } catch (cause) {
    if (cause instanceof UserNodeError) throw cause
    const reason = isMissingFile(cause) ? 'does not exist' : `is not a WFDB header: ${(cause as Error).message}`
    throw recordInvalid('record', `${basename(path)}.hea ${reason}`, cause)
  }
}

async function decode(path: string, header: WfdbHeader, index: number): Promise<Decoded> {
  const signal = header.signals[index] as WfdbSignal
  const file = join(dirname(path), basename(signal.file))
  const bytes = await readBounded(file, samplesSizeBytesMax).catch((cause: unknown) => {
    if (cause instanceof UserNodeError) throw cause
    throw recordInvalid(
      'record',
      `${basename(file)} ${isMissingFile(cause) ? 'does not exist' : 'cannot be read'}`,
      cause,
    )
  })
  try {
    return { signal, samples: decodeSignal(header, index, bytes) }
  } catch (cause) {
    throw recordInvalid('record', `${basename(file)}: ${(cause as Error).message}`, cause)
  }
}

function signOf({ description }: WfdbSignal): VitalSign | undefined {
  const name = description.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
  return Object.hasOwn(signOfName, name) ? signOfName[name] : undefined
}

/**
 * Reads a recording whole and checks it.
 *
 * @param path - without ending.
 * @throws {UserNodeError} `ERR_RECORD_INVALID` naming the file and what is wrong with it.
 */
export async function loadRecording(path: string): Promise<Recording> {
  const header = await readHeader(path)
  const indexes = (isWanted: (signal: WfdbSignal) => boolean): number[] =>
    header.signals.flatMap((signal, index) => (isWanted(signal) ? [index] : []))
  const isNumerics = header.rate <= numericsRateMaxHz
  const wanted = isNumerics ? indexes((signal) => signOf(signal) !== undefined) : ecgIndexes(header)
  if (wanted.length === 0) {
    const found = header.signals.map(({ description, units }) => `${description} in ${units}`).join(', ')
    const rule = isNumerics ? `no vital sign that is known among its numerics` : `no ECG among its signals`
    throw recordInvalid('record', `${basename(path)}.hea has ${rule}: ${found === '' ? 'no signal' : found}`)
  }
  const signals: Decoded[] = []
  for (const index of wanted) signals.push(await decode(path, header, index))
  return isNumerics ? numericsRecording(header.rate, signals) : ecgRecording(header, signals)
}

/** The leads that are best to judge; those of another rate than the first are left out. */
function ecgIndexes(header: WfdbHeader): number[] {
  try {
    const leads = ecgSignals(header).map((lead) => ({ ...lead, share: 1 }))
    const [first, second] = pickLeads(leads.filter(({ rate }) => rate === leads[0]?.rate) as [(typeof leads)[0]])
    return second === undefined ? [first.index] : [first.index, second.index]
  } catch {
    return []
  }
}

function leadName(description: string, position: number): string {
  const name = description.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '')
  return name === '' ? `ch${position}` : name.slice(0, 32)
}

/** The first lead, and the second if it has the same gain and baseline. */
function ecgRecording(header: WfdbHeader, signals: readonly Decoded[]): Recording {
  const [first] = signals as [Decoded]
  const { gain, rate: rateHz } = asEcgSignal(header, header.signals.indexOf(first.signal))
  const { baseline } = first.signal
  const names = signals.map(({ signal }, position) => leadName(signal.description, position))
  const leads = signals.filter(
    ({ signal }, position) =>
      position === 0 ||
      (signal.gain === first.signal.gain && signal.baseline === baseline && names[position] !== names[0]),
  )
  return {
    kind: 'ecg',
    rateHz,
    frames: first.samples.length,
    pieceFramesMax: Math.floor(pieceBytesMax / (2 * leads.length)),
    piece(from, to, startMs) {
      const samples = new Int16Array((to - from) * leads.length)
      for (let i = from; i < to; i++) {
        for (const [position, lead] of leads.entries()) {
          const value = lead.samples[i] ?? sampleMissing
          samples[(i - from) * leads.length + position] =
            value === sampleMissing ? batchSampleMissing : Math.max(-32767, Math.min(32767, value))
        }
      }
      return {
        kind: 'ecg',
        startMs,
        rateMilliHz: Math.round(rateHz * 1000),
        leads: names.slice(0, leads.length),
        unit: 'mv',
        gainMilli: Math.round(gain * 1000),
        baseline,
        samples,
      }
    },
  }
}

function numericsRecording(rateHz: number, signals: readonly Decoded[]): Recording {
  return {
    kind: 'vitals',
    rateHz,
    frames: Math.min(...signals.map(({ samples }) => samples.length)),
    pieceFramesMax: Math.floor(pieceRowsMax / signals.length),
    piece(from, to, startMs) {
      const rows: VitalRow[] = []
      for (let frame = from; frame < to; frame++) {
        const atMs = startMs + Math.round(((frame - from) / rateHz) * 1000)
        for (const { signal, samples } of signals) {
          const raw = samples[frame] ?? sampleMissing
          const value = (raw - signal.baseline) / signal.gain
          // Monitors write zero, or the recorder's mark, for what they cannot measure.
          if (raw === sampleMissing || !(value > 0) || value > valueMax) continue
          rows.push({ atMs, sign: signOf(signal) as VitalSign, value: Math.round(value * 1000) / 1000 })
        }
      }
      return rows.length === 0 ? undefined : { kind: 'vitals', startMs, rows }
    },
  }
}
