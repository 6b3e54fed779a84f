/** The diagnosis of a patient as a function: (records, parameters, carried state) -> (findings, state). See SPEC.md §1. */
import { type CborMap, encodeCbor } from '@healthblock/encoding/cbor'
import { baselinesMax } from './baseline.ts'
import type { EcgBatch, ReadingBatch, VitalSign } from './batch.ts'
import { checkBatch, vitalSigns } from './batch.ts'
import { EcgStream, type EcgStreamState } from './ecg-stream.ts'
import { DiagnosisError } from './errors.ts'
import { createFieldReader } from './fields.ts'
import { type Episode, Episodes, type Finding, type FindingCode, findingKinds, severities } from './findings.ts'
import { type Parameters, parseParameters } from './parameters.ts'
import { type VitalsState, VitalsStream } from './vitals-stream.ts'

export { defaultParameters, type Parameters, parseParameters } from './parameters.ts'

/** A batch of readings with its place on the ledger. */
export type DiagnosisRecord = ReadingBatch & {
  /** Eight bytes. */
  stream: Uint8Array
  sequence: number
}

/** Most ECG streams of one diagnosis, so that the carried state fits its sealed size. */
export const ecgStreamsMax = 2
/** A stream that has been silent for so long gives its place to another one. */
const placeKeptMs = 600_000
/** Most records of one diagnosis. */
export const recordsMax = 4096
/** Most bytes of the carried state. */
export const stateBytesMax = 12_288

interface State {
  ecg: { stream: string; state: EcgStreamState }[]
  vitals: VitalsState
  episodes: Episode[]
}

type EpisodeRow = [string, number, number, number, number, number, number, number, number]

const timeMax = 2 ** 45
const signNames = new Map(Object.entries(vitalSigns).map(([name, { code }]) => [code as number, name as VitalSign]))

function wrong(field: string, reason: string, cause?: unknown): DiagnosisError {
  return new DiagnosisError(`carried state: ${field} ${reason}`, { code: 'ERR_STATE_INVALID', field }, { cause })
}
const read = createFieldReader(wrong)

const streamName = (stream: Uint8Array) => Array.from(stream, (byte) => byte.toString(16).padStart(2, '0')).join('')

function encodeState(state: State): Uint8Array<ArrayBuffer> {
  const ecg = state.ecg.map(({ stream, state: s }) => [
    stream,
    s.originMs,
    s.samples,
    s.rhythm,
    s.run,
    s.lead,
    s.elsewhere ? 1 : 0,
    s.analyser,
  ])
  const vitals = state.vitals.latest.map(({ sign, atMs, milli }) => [vitalSigns[sign].code, atMs, milli])
  const episodes = state.episodes.map(
    (e): EpisodeRow => [e.code, e.fromMs, e.toMs, e.severity, e.least, e.most, e.last, e.count, e.isOpen ? 1 : 0],
  )
  const usual = state.vitals.baselines.map(({ sign, part, level, spread, minutes, away }) => [
    vitalSigns[sign].code,
    part,
    level,
    spread,
    minutes,
    away,
  ])
  // Ended episodes are the least that can be lost: one that comes back begins anew.
  for (let kept = episodes; ; kept = dropEnded(kept)) {
    const bytes = encodeCbor({ v: 4, ecg, vitals, usual, episodes: kept })
    if (bytes.length <= stateBytesMax || kept.length === 0) return bytes
  }
}

/** Without the episode that ended first, or without the last one when all still run. */
function dropEnded(episodes: EpisodeRow[]): EpisodeRow[] {
  const ended = episodes.filter((row) => row[8] === 0)
  const first = ended.reduce<EpisodeRow | undefined>((a, b) => (a === undefined || b[2] < a[2] ? b : a), undefined)
  return episodes.filter((row) => row !== (first ?? episodes.at(-1)))
}

function parseEpisode(value: unknown): Episode {
  const row = read.array(value as never, 'episodes', 9)
  const code = read.text(row[0], 'episodes.code')
  if (!Object.hasOwn(findingKinds, code)) throw wrong('episodes.code', 'is not known')
  const integer = (index: number, max = timeMax) => read.integer(row[index], 'episodes', max)
  return {
    code: code as FindingCode,
    fromMs: integer(1),
    toMs: integer(2),
    severity: integer(3, severities.length - 1),
    least: integer(4),
    most: integer(5),
    last: integer(6),
    count: integer(7),
    isOpen: integer(8, 1) === 1,
  }
}

function parseState(bytes: Uint8Array): State {
  const map: CborMap = read.map(read.decode(bytes, stateBytesMax), 'state', ['v', 'ecg', 'vitals', 'usual', 'episodes'])
  if (map.v !== 4) throw wrong('v', 'is not 4')
  const ecg = read.array(map.ecg, 'ecg', ecgStreamsMax).map((item) => {
    const row = read.array(item, 'ecg', 8)
    return {
      stream: read.text(row[0], 'ecg.stream'),
      state: {
        originMs: read.integer(row[1], 'ecg.origin', timeMax),
        samples: read.integer(row[2], 'ecg.samples', timeMax),
        rhythm: read.integer(row[3], 'ecg.rhythm', 16),
        run: read.integer(row[4], 'ecg.run', 3),
        lead: read.text(row[5], 'ecg.lead'),
        elsewhere: read.integer(row[6], 'ecg.elsewhere', 1) === 1,
        analyser: read.bytes(row[7], 'ecg.analyser', 8192),
      },
    }
  })
  const signOf = (code: unknown): VitalSign => {
    const sign = signNames.get(read.integer(code as never, 'vitals.sign', 255))
    if (sign === undefined) throw wrong('vitals.sign', 'is not known')
    return sign
  }
  const baselines = read.array(map.usual, 'usual', baselinesMax).map((item) => {
    const row = read.array(item, 'usual', 6)
    const [part, level, spread, minutes, away] = [3, 1e9, 1e9, timeMax, timeMax].map((most, i) =>
      read.integer(row[i + 1], 'usual', most),
    ) as [number, number, number, number, number]
    return { sign: signOf(row[0]), part, level, spread, minutes, away }
  })
  const latest = read.array(map.vitals, 'vitals', signNames.size).map((item) => {
    const row = read.array(item, 'vitals', 3)
    return {
      sign: signOf(row[0]),
      atMs: read.integer(row[1], 'vitals.time', timeMax),
      milli: read.integer(row[2], 'vitals.value', 1e9),
    }
  })
  const episodes = read.array(map.episodes, 'episodes', 64).map(parseEpisode)
  return { ecg, vitals: { latest, baselines }, episodes }
}

/** Begins each ECG stream with what was carried of it. */
function openStreams(state: State | undefined, parameters: Parameters, episodes: Episodes): Map<string, EcgStream> {
  const streams = new Map<string, EcgStream>()
  for (const { stream, state: carried } of state?.ecg ?? []) {
    streams.set(stream, new EcgStream(parameters, episodes, carried))
  }
  return streams
}

/**
 * Diagnoses. The same input gives the same output, byte for byte, on every engine; two runs, the second with the state of the first, give the state of one run
 * over all records.
 *
 * @param input.records - in the order in which they were read; each ECG stream in the order of its sequence. At most
 *   `ecgStreamsMax` ECG streams are judged at a time: those that were read first, until they are silent for ten minutes; that another one was not is a finding.
 * @param input.carriedState - `state` of the diagnosis that this one carries on.
 * @returns Findings that began, grew or ended in these records or last still, the most severe first; and the state for the next run.
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` for records that are not accepted, `ERR_STATE_INVALID` for a state that is none.
 */
export function diagnose(input: {
  records: readonly DiagnosisRecord[]
  parameters?: Partial<Parameters>
  carriedState?: Uint8Array | undefined
}): { findings: Finding[]; state: Uint8Array<ArrayBuffer> } {
  const { records, carriedState } = input
  if (records.length > recordsMax) throw refuse('records', `are more than ${recordsMax}`)
  const parameters = parseParameters(input.parameters ?? {})
  const carried = carriedState === undefined ? undefined : parseState(carriedState)
  const episodes = new Episodes()
  episodes.restore(carried?.episodes ?? [])
  const ecg = openStreams(carried, parameters, episodes)
  const vitals = new VitalsStream(parameters, episodes, carried?.vitals)
  for (const [index, record] of records.entries()) {
    if (record.stream.length !== 8) throw refuse('stream', 'is not eight bytes')
    checkBatch(record)
    if (record.kind === 'vitals') {
      vitals.push(record, index)
      continue
    }
    const name = streamName(record.stream)
    if (!ecg.has(name)) makePlace(ecg, record.startMs)
    if (!ecg.has(name) && ecg.size >= ecgStreamsMax) {
      tellNotJudged(episodes, record, index)
      continue
    }
    const stream = ecg.get(name) ?? new EcgStream(parameters, episodes)
    ecg.set(name, stream)
    stream.push(record, index)
  }
  let nowMs = vitals.endMs
  const states: State['ecg'] = []
  for (const [stream, follower] of [...ecg].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const state = follower.carry()
    if (state !== undefined) states.push({ stream, state })
    nowMs = Math.max(nowMs, follower.endMs)
  }
  const state = encodeState({ ecg: states, vitals: vitals.carry(), episodes: episodes.carried(nowMs) })
  return { findings: episodes.findings(), state }
}

/** Takes the place of the stream that has been silent longest, when all are taken and it has been so for long. */
function makePlace(ecg: Map<string, EcgStream>, nowMs: number): void {
  if (ecg.size < ecgStreamsMax) return
  const [name, stream] = [...ecg].reduce((a, b) => (b[1].endMs < a[1].endMs ? b : a))
  if (nowMs - stream.endMs < placeKeptMs) return
  stream.close()
  ecg.delete(name)
}

function tellNotJudged(episodes: Episodes, record: EcgBatch, index: number): void {
  const count = Math.floor(record.samples.length / record.leads.length)
  const toMs = record.startMs + Math.round((count * 1_000_000) / record.rateMilliHz)
  const evidence = { record: index, first: 0, last: Math.max(0, count - 1) }
  episodes.see({ code: 'stream.not-judged', fromMs: record.startMs, toMs, severity: 'info', value: 0, evidence })
  episodes.end('stream.not-judged', toMs)
}

function refuse(field: string, reason: string): DiagnosisError {
  return new DiagnosisError(`${field} ${reason}`, { code: 'ERR_INPUT_INVALID', field })
}
