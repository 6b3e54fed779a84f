/** Pure logic of `ecg annotate` and `ecg rhythm`: a record in, WFDB annotations out. */
import { EcgAnalyser, type EcgEvent, type Quality, tickRate } from './ecg/analyser.ts'
import { afScoreOff, afScoreOn, Irregularity } from './ecg/irregularity.ts'
import { DiagnosisError } from './errors.ts'
import type { Annotation } from './wfdb/annotation.ts'
import { sampleMissing } from './wfdb/signal.ts'

/** One lead of a record, whole. */
export interface EcgLead {
  /** Sample units; `sampleMissing` where there is none. */
  samples: Int32Array
  /** Sample units per mV. */
  gain: number
  baseline: number
  /** Hz, 100 to 1000. */
  rate: number
}

/** The lead in microvolts, NaN where a sample is missing. */
export function microvoltsOf({ samples, gain, baseline }: EcgLead): Float64Array {
  return Float64Array.from(samples, (sample) =>
    sample === sampleMissing ? Number.NaN : ((sample - baseline) * 1000) / gain,
  )
}

/** Subtypes of `~`: clean, noisy, unreadable. */
const qualitySubtype: Record<Quality, number> = { good: 0, noisy: 1, missing: -1, flat: -1, railed: -1 }

/** Longest gap between two beats of the first lead, over the usual interval, into which beats of the second are not put. */
const gapMin = 1.6
/** Nearest to a beat of the first lead that one of the second is put, over the usual interval. */
const roomMin = 0.5
/** Share of the second lead's other beats that the first must have, within 150 ms, for the second to be trusted. */
const agreeMin = 0.97
const matchTicks = 37

type BeatEvent = Extract<EcgEvent, { type: 'beat' }>

function eventsOf(lead: EcgLead): EcgEvent[] {
  const analyser = new EcgAnalyser({ rateMilliHz: Math.round(lead.rate * 1000) })
  const events = analyser.push(microvoltsOf(lead))
  events.push(...analyser.finish())
  return events
}

const isBeatEvent = (event: EcgEvent): event is BeatEvent => event.type === 'beat'

/** Beats of the second lead that fill gaps of the first, where the leads agree on the rest. */
function fillingBeats(first: readonly BeatEvent[], second: readonly BeatEvent[]): BeatEvent[] {
  const filling: BeatEvent[] = []
  let matched = 0
  let at = 0
  for (const beat of second) {
    while (at + 1 < first.length && (first[at + 1]?.tick ?? 0) <= beat.tick) at++
    const before = first[at]?.tick ?? 0
    const after = first[at + 1]?.tick
    const nearest = Math.min(
      Math.abs(beat.tick - before),
      after === undefined ? Number.MAX_SAFE_INTEGER : after - beat.tick,
    )
    if (nearest <= matchTicks) matched++
    if (after === undefined || beat.tick < before) continue
    const usual = usualTicks(first, at)
    if (after - before >= gapMin * usual && nearest >= roomMin * usual) filling.push(beat)
  }
  return matched > 0 && matched >= agreeMin * (second.length - filling.length) ? filling : []
}

/** Median of the eight intervals before beat `at`. */
function usualTicks(beats: readonly BeatEvent[], at: number): number {
  const intervals: number[] = []
  for (let i = Math.max(1, at - 7); i <= at; i++) intervals.push((beats[i]?.tick ?? 0) - (beats[i - 1]?.tick ?? 0))
  intervals.sort((a, b) => a - b)
  return intervals[intervals.length >> 1] ?? Number.MAX_SAFE_INTEGER
}

/**
 * Annotates a lead: beats `N` `S` `V` at their R peaks, `+` with `(N`, `(AFIB`, … where the rhythm changes, `~` where a stretch that cannot be judged begins
 * (subtype -1, or 1 for noise) and ends (subtype 0).
 *
 * @param second - another lead of the same record; where the first falls silent and the two agree elsewhere, its beats are taken.
 * @returns in order of time, in samples of the record.
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` for a rate out of bounds.
 */
export function annotateEcg(lead: EcgLead, second?: EcgLead): Annotation[] {
  const events = eventsOf(lead)
  const beats = events.filter(isBeatEvent)
  const last = Math.max(0, lead.samples.length - 1)
  const found: Annotation[] = []
  const add = (tick: number, symbol: string, aux = '', subtype = 0) => {
    const sample = Math.max(0, Math.min(last, Math.round((tick * lead.rate) / tickRate)))
    found.push({ sample, symbol, subtype, channel: 0, number: 0, aux })
  }
  if (beats[0] !== undefined) add(beats[0].tick, '+', '(N')
  for (const event of events) {
    if (event.type === 'beat') add(event.tick, event.symbol)
    else if (event.type === 'rhythm') add(event.tick, '+', `(${event.rhythm}`)
    else if (event.type === 'quality') add(event.tick, '~', '', qualitySubtype[event.quality])
  }
  if (second !== undefined) {
    for (const { tick, symbol } of fillingBeats(beats, eventsOf(second).filter(isBeatEvent))) add(tick, symbol)
  }
  // A rhythm or quality that is known late may lie before a beat that is told; the order within a sample is that of the events.
  const indexed = found.map((annotation, index) => ({ annotation, index }))
  return indexed.sort(inTime).map(({ annotation }) => annotation)
}

type Indexed = { annotation: Annotation; index: number }
const inTime = (a: Indexed, b: Indexed) => a.annotation.sample - b.annotation.sample || a.index - b.index

/** One interval between two beats. */
export interface RrInterval {
  /** Sample of the beat that begins it, and of the one that ends it. */
  start: number
  end: number
  seconds: number
}

/** Most intervals of one text. */
export const intervalsMax = 10_000_000

/**
 * Parses lines "start RR_seconds end".
 *
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` naming the line for anything else, or a start that goes back.
 */
export function parseIntervals(text: string): RrInterval[] {
  const intervals: RrInterval[] = []
  let previous = 0
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue
    const words = line.trim().split(/\s+/)
    const [start, seconds, end] = words.map((word) => (/^\d+(\.\d+)?$/.test(word) ? Number(word) : Number.NaN))
    const isGood =
      words.length === 3 &&
      Number.isSafeInteger(start) &&
      Number.isSafeInteger(end) &&
      seconds !== undefined &&
      seconds < 86_400
    if (!isGood || start === undefined || end === undefined || end < start || start < previous) {
      const field = `line ${index + 1}`
      throw new DiagnosisError(`${field} is not "start RR_seconds end" in order of time`, {
        code: 'ERR_INPUT_INVALID',
        field,
      })
    }
    previous = start
    intervals.push({ start, seconds: seconds as number, end })
    if (intervals.length > intervalsMax)
      throw new DiagnosisError('too many intervals', { code: 'ERR_INPUT_INVALID', field: 'lines' })
  }
  return intervals
}

/**
 * Tells fibrillation from RR intervals alone, each decision from the intervals up to it.
 *
 * @returns `+` annotations at the beats that end the deciding intervals: `(N` first, then `(AFIB` and `(N` in turn.
 */
export function annotateIntervals(intervals: readonly RrInterval[]): Annotation[] {
  const irregularity = new Irregularity()
  const found: Annotation[] = []
  const add = (sample: number, aux: string) =>
    found.push({ sample, symbol: '+', subtype: 0, channel: 0, number: 0, aux })
  let isOn = false
  for (const [index, { start, seconds, end }] of intervals.entries()) {
    if (index === 0) add(start, '(N')
    const score = irregularity.push(Math.round(seconds * 1000))
    if (isOn ? score < afScoreOff : score > afScoreOn) {
      isOn = !isOn
      add(end, isOn ? '(AFIB' : '(N')
    }
  }
  return found
}
