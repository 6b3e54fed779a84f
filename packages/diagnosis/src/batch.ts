/** The plaintext of a sealed batch of readings. See SPEC.md §3. */
import { encodeCbor } from '@healthblock/encoding/cbor'
import { DiagnosisError } from './errors.ts'
import { createFieldReader } from './fields.ts'

/** Uncompressed samples of one or more leads. Physical value = (sample - baseline) / (gainMilli / 1000), in `unit`. */
export interface EcgBatch {
  kind: 'ecg'
  /** Unix ms of the first sample. */
  startMs: number
  /** Samples a second of each lead, in thousandths: 1 to 10,000,000. */
  rateMilliHz: number
  /** 1 to 12 names such as `ii` or `mlii`, of [a-z0-9._-]. */
  leads: string[]
  /** UCUM code in lower case: `mv`. */
  unit: string
  /** Sample units per `unit`, in thousandths: 1 to 10^12. */
  gainMilli: number
  /** Sample value of 0 `unit`, -2^31 to 2^31 - 1. */
  baseline: number
  /** Interleaved: first sample of each lead, second of each lead, …; `batchSampleMissing` = missing. */
  samples: Int16Array
}

/** One value of one vital sign. */
export interface VitalRow {
  /** Unix ms. */
  atMs: number
  sign: VitalSign
  /** In the sign's unit, 0 to 10^6, kept to a thousandth. */
  value: number
}

/** Values of vital signs, in order of time. */
export interface VitalsBatch {
  kind: 'vitals'
  /** Unix ms of the period's begin; no row lies before it. */
  startMs: number
  rows: VitalRow[]
}

/** What a batch of readings holds. */
export type ReadingBatch = EcgBatch | VitalsBatch

/** Vital signs with their code in a batch, LOINC code and UCUM unit. Consciousness: 0 alert, 1 confused, 2 voice, 3 pain, 4 unresponsive. */
export const vitalSigns = {
  'heart-rate': { code: 1, loinc: '8867-4', unit: '/min' },
  'respiratory-rate': { code: 2, loinc: '9279-1', unit: '/min' },
  spo2: { code: 3, loinc: '2708-6', unit: '%' },
  temperature: { code: 4, loinc: '8310-5', unit: 'Cel' },
  'systolic-pressure': { code: 5, loinc: '8480-6', unit: 'mm[Hg]' },
  'diastolic-pressure': { code: 6, loinc: '8462-4', unit: 'mm[Hg]' },
  pulse: { code: 7, loinc: '8867-4', unit: '/min' },
  glucose: { code: 8, loinc: '2339-0', unit: 'mg/dL' },
  consciousness: { code: 9, loinc: '67775-7', unit: '{code}' },
  'supplemental-oxygen': { code: 10, loinc: '3151-8', unit: 'L/min' },
} as const
/** Name of a vital sign. */
export type VitalSign = keyof typeof vitalSigns

/** What stands for a missing sample. */
export const batchSampleMissing = -32768
/** Largest encoded batch: that of a 256 KiB block. */
export const batchBytesMax = 262_144
const leadsMax = 12
const rowsMax = 15_000
const baselineOffset = 2 ** 31
const valueScale = 1000
const valueMax = 1_000_000
const timeMax = 2 ** 45
const rateMilliMax = 10_000_000
const gainMilliMax = 10 ** 12

const signByCode: ReadonlyMap<number, VitalSign> = new Map(
  Object.entries(vitalSigns).map(([name, { code }]) => [code, name as VitalSign]),
)

function wrong(field: string, reason: string, cause?: unknown): DiagnosisError {
  return new DiagnosisError(`batch: ${field} ${reason}`, { code: 'ERR_BATCH_INVALID', field }, { cause })
}
const read = createFieldReader(wrong)

function sampleBytes(samples: Int16Array): Uint8Array {
  const bytes = new Uint8Array(2 * samples.length)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < samples.length; i++) view.setInt16(2 * i, samples[i] as number, true)
  return bytes
}

function encodeUnchecked(batch: ReadingBatch): Uint8Array<ArrayBuffer> {
  if (batch.kind === 'vitals') {
    const rows = batch.rows.map(({ atMs, sign, value }) => [
      atMs - batch.startMs,
      vitalSigns[sign].code,
      Math.round(value * valueScale),
    ])
    return encodeCbor({ v: 1, kind: 'vitals', start: batch.startMs, rows })
  }
  return encodeCbor({
    v: 1,
    kind: 'ecg',
    start: batch.startMs,
    rate: batch.rateMilliHz,
    leads: batch.leads,
    unit: batch.unit,
    gain: batch.gainMilli,
    base: batch.baseline + baselineOffset,
    samples: sampleBytes(batch.samples),
  })
}

/**
 * Encodes a batch. What it returns, `parseBatch` reads.
 *
 * @throws {DiagnosisError} `ERR_BATCH_INVALID` with the field for anything that `parseBatch` would refuse.
 */
export function encodeBatch(batch: ReadingBatch): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = encodeUnchecked(batch)
  } catch (cause) {
    throw wrong('batch', 'has a value that cannot be encoded', cause)
  }
  parseBatch(bytes)
  return bytes
}

function parseEcg(value: ReturnType<typeof read.decode>): EcgBatch {
  const keys = ['v', 'kind', 'start', 'rate', 'leads', 'unit', 'gain', 'base', 'samples']
  const map = read.map(value, 'batch', keys)
  const leads = read.array(map.leads, 'leads', leadsMax).map((lead) => read.text(lead, 'leads'))
  if (leads.length === 0) throw wrong('leads', 'is empty')
  if (new Set(leads).size !== leads.length) throw wrong('leads', 'has a name twice')
  const raw = read.bytes(map.samples, 'samples', batchBytesMax)
  if (raw.length % (2 * leads.length) !== 0) throw wrong('samples', 'is not a whole number of samples of each lead')
  const samples = new Int16Array(raw.length / 2)
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true)
  return {
    kind: 'ecg',
    startMs: read.integer(map.start, 'start', timeMax),
    rateMilliHz: read.integer(map.rate, 'rate', rateMilliMax, 1),
    leads,
    unit: read.text(map.unit, 'unit'),
    gainMilli: read.integer(map.gain, 'gain', gainMilliMax, 1),
    baseline: read.integer(map.base, 'base', 2 ** 32 - 1) - baselineOffset,
    samples,
  }
}

function parseVitals(value: ReturnType<typeof read.decode>): VitalsBatch {
  const map = read.map(value, 'batch', ['v', 'kind', 'start', 'rows'])
  const startMs = read.integer(map.start, 'start', timeMax)
  let previous = 0
  const rows = read.array(map.rows, 'rows', rowsMax).map((item): VitalRow => {
    const row = read.array(item, 'rows', 3)
    const offset = read.integer(row[0], 'rows.time', 2 ** 32)
    if (offset < previous) throw wrong('rows.time', 'goes back')
    previous = offset
    const sign = signByCode.get(read.integer(row[1], 'rows.sign', 255))
    if (sign === undefined) throw wrong('rows.sign', 'is not known')
    return {
      atMs: startMs + offset,
      sign,
      value: read.integer(row[2], 'rows.value', valueMax * valueScale) / valueScale,
    }
  })
  return { kind: 'vitals', startMs, rows }
}

/**
 * Parses the plaintext of a batch.
 *
 * @throws {DiagnosisError} `ERR_BATCH_INVALID` with the field.
 */
export function parseBatch(bytes: Uint8Array): ReadingBatch {
  const value = read.decode(bytes, batchBytesMax)
  const kind =
    typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array) ? value.kind : undefined
  if (kind !== 'ecg' && kind !== 'vitals') throw wrong('kind', 'is not one of ecg and vitals')
  const batch = kind === 'ecg' ? parseEcg(value) : parseVitals(value)
  if ((value as { v?: unknown }).v !== 1) throw wrong('v', 'is not 1')
  return batch
}

function checkVitals({ startMs, rows }: VitalsBatch, check: (field: string, isGood: boolean) => void): void {
  let previous = startMs
  for (const { atMs, sign, value } of rows) {
    check('rows.time', Number.isInteger(atMs) && atMs >= previous && atMs <= timeMax)
    check('rows.sign', Object.hasOwn(vitalSigns, sign))
    check('rows.value', value >= 0 && value <= valueMax)
    previous = atMs
  }
}

/**
 * Checks a batch that did not come out of `parseBatch`: what it would have refused must not be judged, nor get into a state that is carried on.
 *
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` with the field.
 */
export function checkBatch(batch: ReadingBatch): void {
  const check = (field: string, isGood: boolean): void => {
    if (!isGood) throw new DiagnosisError(`batch: ${field} is not valid`, { code: 'ERR_INPUT_INVALID', field })
  }
  const isWhole = (value: number, least: number, most: number): boolean =>
    Number.isInteger(value) && value >= least && value <= most
  check('kind', batch.kind === 'ecg' || batch.kind === 'vitals')
  check('start', isWhole(batch.startMs, 0, timeMax))
  if (batch.kind === 'vitals') {
    checkVitals(batch, check)
    return
  }
  const { leads, samples } = batch
  check('leads', leads.length > 0 && leads.length <= leadsMax && new Set(leads).size === leads.length)
  check('samples', samples.length % leads.length === 0)
  check('rate', isWhole(batch.rateMilliHz, 1, rateMilliMax))
  check('gain', isWhole(batch.gainMilli, 1, gainMilliMax))
  check('base', isWhole(batch.baseline, -baselineOffset, baselineOffset - 1))
}

/**
 * Most bytes that `encodeBatch` makes for one period: what the fixed size of a stream has to hold before it is sealed.
 *
 * @param rateMilliHz - samples a second of each lead, or values a second of each sign, in thousandths.
 * @param leads - number of leads, or of signs.
 */
export function batchSizeMax(stream: {
  kind: ReadingBatch['kind']
  rateMilliHz: number
  leads: number
  periodMs: number
}): number {
  const { kind, rateMilliHz, leads, periodMs } = stream
  // One more than the product: a period may begin just before a sample and end just after one.
  const count = (Math.ceil((rateMilliHz * periodMs) / 1_000_000) + 1) * leads
  // A row: array head 1, time 5, sign 2, value 5. Heads, keys and numbers of the map: below 160; a lead's name: 66.
  return kind === 'vitals' ? 64 + 13 * count : 160 + 66 * leads + 2 * count
}
