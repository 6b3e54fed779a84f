/** Pure logic of `ecg annotate` and `ecg rhythm`: a record in, WFDB annotations out. */
import { EcgAnalyser, type EcgEvent, type Quality, tickRate } from './ecg/analyser.ts'
import { Irregularity } from './ecg/irregularity.ts'
import { DiagnosisError } from './errors.ts'
import { settleFibrillation } from './fibrillation-episodes.ts'
import { fillingBeats, isBeatEvent, judgeTogether } from './leads.ts'
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

/** A beat is known some ticks after it: behind the last sample it stays at its level for so many seconds. */
const tailSeconds = 0.8
/** The first beat of a record, within so many ticks, is one when it has this share of the size of the usual one among the beats that follow. */
const headTicks = 125
const headSizeLeast = 0.5
const headBeats = 9

function eventsOf(lead: EcgLead): EcgEvent[] {
  const analyser = new EcgAnalyser({ rateMilliHz: Math.round(lead.rate * 1000) })
  const microvolts = microvoltsOf(lead)
  const events = analyser.push(microvolts)
  const end = (microvolts.length * tickRate) / lead.rate
  // Of less than a second only what is known without it is told.
  const tailSize = end < tickRate ? 0 : Math.round(tailSeconds * lead.rate)
  const tail = new Float64Array(tailSize).fill(microvolts.at(-1) ?? Number.NaN)
  // What was added says nothing of the quality of the lead.
  const late = [...analyser.push(tail), ...analyser.finish()].filter(
    ({ type, tick }) => type !== 'quality' && tick < end,
  )
  return withoutHead([...events, ...late])
}

/** What a record begins with is taken for a beat, whatever its size: no level is known yet. Takes it out when it was none. */
function withoutHead(events: EcgEvent[]): EcgEvent[] {
  const beats = events.filter(isBeatEvent).slice(0, headBeats)
  const [first, second, ...more] = beats
  if (first === undefined || second === undefined || first.tick > headTicks) return events
  const sizes = [second, ...more].map(({ size }) => size).sort((a, b) => a - b)
  if (first.size >= headSizeLeast * (sizes[sizes.length >> 1] as number)) return events
  return events.flatMap((event) => (event === first ? [] : event === second ? [{ ...second, intervalMs: 0 }] : [event]))
}

/**
 * Annotates a lead: beats `N` `S` `V` `F` `Q` at their R peaks, `+` with `(N`, `(AFIB`, … where the rhythm changes, `~` where a stretch that cannot be judged begins
 * (subtype -1, or 1 for noise) and ends (subtype 0).
 *
 * @param second - another lead of the same record: it helps to class the beats that both have, and where the first falls silent and the two agree
 *   elsewhere, its beats are taken.
 * @returns in order of time, in samples of the record.
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` for a rate out of bounds.
 */
export function annotateEcg(lead: EcgLead, second?: EcgLead): Annotation[] {
  const own = eventsOf(lead)
  const others = second === undefined ? [] : eventsOf(second).filter(isBeatEvent)
  const events = judgeTogether(own, others)
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
  for (const { tick, symbol } of fillingBeats(beats, others)) add(tick, symbol)
  // A rhythm or quality that is known late may lie before a beat that is told; the order within a sample is that of the events.
  const indexed = found.map((annotation, index) => ({ annotation, index }))
  return settleRhythms(
    indexed.sort(inTime).map(({ annotation }) => annotation),
    lead.rate,
  )
}

/** The annotations with episodes of fibrillation for what the detector told from beat to beat. */
function settleRhythms(annotations: readonly Annotation[], rate: number): Annotation[] {
  const changes = annotations.flatMap(({ symbol, sample, aux }, index) =>
    symbol === '+' ? [{ sample, aux, index }] : [],
  )
  const kept = new Map(settleFibrillation(changes, rate).map(({ index, aux }) => [index, aux]))
  return annotations.flatMap((annotation, index) => {
    if (annotation.symbol !== '+') return [annotation]
    const aux = kept.get(index)
    return aux === undefined ? [] : [{ ...annotation, aux }]
  })
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
 * Tells fibrillation from RR intervals alone, each decision from the intervals up to it; an episode that ends within thirty seconds is none, nor is a rest of less than ten.
 *
 * @param rate - samples a second; 0 = each decision as it was made, from nothing that comes later.
 * @returns `+` annotations at the beats that end the deciding intervals: `(N` first, then `(AFIB` and `(N` in turn.
 */
export function annotateIntervals(intervals: readonly RrInterval[], rate: number): Annotation[] {
  const irregularity = new Irregularity()
  const found: Annotation[] = []
  const add = (sample: number, aux: string) =>
    found.push({ sample, symbol: '+', subtype: 0, channel: 0, number: 0, aux })
  let isOn = false
  for (const [index, { start, seconds, end }] of intervals.entries()) {
    if (index === 0) add(start, '(N')
    irregularity.push(Math.round(seconds * 1000))
    if (irregularity.isAf !== isOn) {
      isOn = irregularity.isAf
      add(end, isOn ? '(AFIB' : '(N')
    }
  }
  return settleRhythms(found, rate)
}
