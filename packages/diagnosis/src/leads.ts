/**
 * A whole record, judged again when all of it was seen, and two leads of it together: what one lead hides the other shows. The first leads; the second is heard where it
 * agrees with it.
 */
import type { EcgEvent } from './ecg/analyser.ts'
import { type BeatLogits, boundVentricular, classifyBeat } from './ecg/beat.ts'
import { type FusedShape, isFusion, type Mixture, meanMixture } from './ecg/fusion.ts'
import { type Rhythm, RhythmTracker } from './ecg/rhythm.ts'
import { boundLogit, knownShapeBeats, voteOf } from './ecg/vote.ts'

/** A beat as the analyser tells it. */
export type BeatEvent = Extract<EcgEvent, { type: 'beat' }>

/** Longest gap between two beats of the first lead, over the usual interval, into which beats of the second are not put. */
const gapMin = 1.6
/** Nearest to a beat of the first lead that one of the second is put, over the usual interval. */
const roomMin = 0.5
/** Share of the second lead's other beats that the first must have, within 150 ms, for the second to be trusted. */
const agreeMin = 0.97
/** The same share for the second lead's judgement of common beats to count. */
const judgeMin = 0.8
const matchTicks = 37
/** Weight of the second lead when both judge a beat: between patients 0.3 and 0.4 are equally right (two seeds of the trees), and with 0.3 as many are missed as are told wrongly. */
export const secondLeadWeight = 0.3

/** True for a beat. */
export const isBeatEvent = (event: EcgEvent): event is BeatEvent => event.type === 'beat'

/** Beats of the second lead that fill gaps of the first, where the leads agree on the rest. */
export function fillingBeats(first: readonly BeatEvent[], second: readonly BeatEvent[]): BeatEvent[] {
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

/** For each beat of the first lead the one of the second within 150 ms, if any. */
function partners(first: readonly BeatEvent[], second: readonly BeatEvent[]): Map<BeatEvent, BeatEvent> {
  const found = new Map<BeatEvent, BeatEvent>()
  let at = 0
  for (const beat of first) {
    while (at < second.length && (second[at]?.tick ?? 0) < beat.tick - matchTicks) at++
    const other = second[at]
    if (other !== undefined && Math.abs(other.tick - beat.tick) <= matchTicks) found.set(beat, other)
  }
  return found
}

/** A beat judged a second time; its shape is known when the record has three beats of it. */
export interface JudgedBeat extends BeatLogits {
  isKnown: boolean
  /** True when its shape, by all beats of it, is that of a fusion, if the beat's logit allows it. */
  fused: FusedShape
}

/** A shape of a whole record: its beats, the sum of their logits, and those that may be fusions as mixtures. */
interface SeenShape {
  sum: number
  count: number
  mixtures: Mixture[]
}

/**
 * Beats of a whole record, judged a second time: those of one shape vote together, the later ones too. What a record shows at its end is known of its begin,
 * which a stream cannot know.
 */
export function judgeAgain(beats: readonly BeatEvent[]): Map<BeatEvent, JudgedBeat> {
  // A place among the kept shapes is taken by one shape after another.
  const shapes = new Map<number, SeenShape>()
  const shapeOf = beats.map((beat) => {
    const shape = (!beat.isNew && shapes.get(beat.shape)) || { sum: 0, count: 0, mixtures: [] }
    shapes.set(beat.shape, shape)
    shape.sum += boundLogit(beat.own)
    shape.count++
    if (beat.mixture !== undefined) shape.mixtures.push(beat.mixture)
    return shape
  })
  const mixtureOf = new Map(shapeOf.map((shape) => [shape, undefined as Mixture | undefined]))
  for (const shape of mixtureOf.keys()) mixtureOf.set(shape, meanMixture(shape.mixtures, shape.count))
  return new Map(
    beats.map((beat, i) => {
      const shape = shapeOf[i] as SeenShape
      const { sum, count } = shape
      const others = count > 1 ? (sum - boundLogit(beat.own)) / (count - 1) : 0
      const voted = voteOf(beat.own, others, count - 1)
      const ventricular = boundVentricular(voted, sum / count, beat.isUsual)
      const mixture = beat.mixture === undefined ? undefined : mixtureOf.get(shape)
      const fused = { count, mean: sum / count, mixture }
      return [beat, { ...beat.logits, ventricular, isKnown: count >= knownShapeBeats, fused }]
    }),
  )
}

/**
 * The events of the first lead with beats classed by all that the record shows of their shapes, and by both leads where those agree; and the rhythms that follow from
 * these classes.
 *
 * Where the first lead cannot be judged, what may be a ventricular beat, of a shape that neither lead has three times, is not classified.
 *
 * @param events - what the analyser told of the first lead.
 * @param second - beats of the second lead, none when there is no other lead.
 */
export function judgeTogether(events: readonly EcgEvent[], second: readonly BeatEvent[]): EcgEvent[] {
  const first = events.filter(isBeatEvent)
  const logitsOf = new Map([...judgeAgain(first), ...judgeAgain(second)])
  const found = partners(first, second)
  const isHelpful = found.size >= judgeMin * Math.max(first.length, second.length)
  const isUnreadable = unreadableTicks(events)
  const tracker = new RhythmTracker()
  const out: EcgEvent[] = []
  let isFlutter = false
  let told: Rhythm = 'N'
  const tell = (tick: number) => {
    const rhythm = isFlutter ? 'VFL' : tracker.rhythm
    if (rhythm !== told) out.push({ type: 'rhythm', tick, rhythm })
    told = rhythm
  }
  for (const event of events) {
    if (event.type === 'rhythm') {
      isFlutter = event.rhythm === 'VFL'
      tell(event.tick)
    } else if (event.type !== 'beat') out.push(event)
    else {
      const partner = isHelpful ? found.get(event) : undefined
      const own = logitsOf.get(event) as JudgedBeat
      const other = (partner && logitsOf.get(partner)) ?? own
      const logits = mixLogits(own, other)
      const isDoubtful = !own.isKnown && !other.isKnown && isUnreadable(event.tick)
      const judged = { timing: event.timing, isAlone: partner === undefined, isWhole: true, isDoubtful }
      const plain = event.isPaced ? 'Q' : classifyBeat(logits, judged)
      const symbol = isFusion(logits.ventricular, own.fused) ? 'F' : plain
      // For the rhythm only a pacemaker makes what is not classified.
      const counted = plain === 'Q' && !event.isPaced ? 'V' : plain
      const { isNew, shape } = event
      if (event.intervalMs > 0)
        tracker.push(event.intervalMs, counted, {
          isNew,
          shape,
          logit: logits.ventricular,
          supraventricular: logits.supraventricular,
        })
      else tracker.restart()
      out.push({ ...event, symbol, counted, logits, rate: tracker.rate, score: tracker.score })
      tell(event.tick)
    }
  }
  return out
}

/** Tells for a tick whether the first lead can not be judged there. */
function unreadableTicks(events: readonly EcgEvent[]): (tick: number) => boolean {
  const marks = events.filter((event) => event.type === 'quality')
  const stretches = marks.flatMap(({ tick, quality }, i) =>
    quality === 'good' ? [] : [{ from: tick, to: marks[i + 1]?.tick ?? Number.POSITIVE_INFINITY }],
  )
  let at = 0
  return (tick) => {
    while (at < stretches.length && (stretches[at]?.to ?? 0) <= tick) at++
    return tick >= (stretches[at]?.from ?? Number.POSITIVE_INFINITY)
  }
}

function mixLogits(first: BeatLogits, second: BeatLogits): BeatLogits {
  const mix = (a: number, b: number) => a + secondLeadWeight * (b - a)
  return {
    ventricular: mix(first.ventricular, second.ventricular),
    supraventricular: mix(first.supraventricular, second.supraventricular),
  }
}
