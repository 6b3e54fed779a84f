/** Made intervals of normal hearts: over 23 hours with slow waves, day and night, noise, early beats and beats that a detector missed; and of a heart at rest, breath by breath. None of them fibrillates. */
import type { RrInterval } from '@healthblock/diagnosis/annotate'
import type { Annotation } from '@healthblock/diagnosis/wfdb'
import { createChance } from './chance.ts'

/** Samples a second in which the intervals count. */
export const madeRate = 250
const hours = 23
const meanSeconds = 0.9

/** How a heart beats; shares of the interval, or of the beats. */
export interface MadeHeart {
  readonly name: string
  /** Swing with the breath, and how unsteady the breath is (steps of its rate from beat to beat, Hz). */
  readonly breath: number
  readonly unsteady?: number
  /** What nobody can foresee. */
  readonly noise?: number
  readonly ventricular?: number
  readonly supraventricular?: number
  readonly missed?: number
}

/** The hearts that are judged. */
export const madeHearts: readonly MadeHeart[] = [
  { name: 'calm', breath: 0.05 },
  { name: 'breath swings it by 15 %', breath: 0.15 },
  { name: 'breath swings it by 25 %', breath: 0.25 },
  { name: 'unsteady breath, 12 %', breath: 0.12, unsteady: 0.03 },
  { name: 'restless breath, 20 %', breath: 0.2, unsteady: 0.05 },
  { name: 'noise of 4 %', breath: 0.05, noise: 0.04 },
  { name: '3 % ventricular beats', breath: 0.05, ventricular: 0.03 },
  { name: '10 % ventricular beats', breath: 0.05, ventricular: 0.1 },
  { name: '10 % supraventricular beats', breath: 0.05, supraventricular: 0.1 },
  { name: 'breath of 10 %, 5 % ventricular beats', breath: 0.1, ventricular: 0.05 },
  { name: 'breath of 15 %, 3 % supraventricular beats', breath: 0.15, supraventricular: 0.03 },
  { name: '2 % of the beats missed', breath: 0.05, missed: 0.02 },
]

/** The intervals of one heart. */
export function makeHeart(heart: MadeHeart, seed: number): RrInterval[] {
  const { breath, unsteady = 0.008, noise = 0.008, ventricular = 0, supraventricular = 0, missed = 0 } = heart
  const { uniform, normal } = createChance(seed)
  const intervals: RrInterval[] = []
  let [at, drift, slow, breathHz, breathPhase, wavePhase, next] = [0, 0, 0, 0.25, 0, 0, 1]
  while (at < hours * 3600) {
    const night = Math.cos((2 * Math.PI * at) / 86_400)
    drift += 0.0015 * normal() - 0.002 * drift
    slow += 0.004 * normal() - 0.02 * slow
    breathHz = Math.max(0.08, breathHz + unsteady * normal() - 0.05 * (breathHz - 0.25))
    const swing = breath * (0.6 + 0.4 * night) * Math.sin(breathPhase) + 0.03 * Math.sin(wavePhase)
    const usual = meanSeconds * (1 + 0.15 * night) * (1 + drift)
    let seconds = usual * (1 + swing + slow + noise * normal()) * next
    next = 1
    if (uniform() < ventricular) {
      // The beat behind a ventricular one comes when it would have come.
      const share = 0.55 + 0.25 * uniform()
      next = 2 - share
      seconds *= share
    } else if (uniform() < supraventricular) {
      next = 1.1
      seconds *= 0.6 + 0.25 * uniform()
    }
    if (uniform() < missed) seconds += usual
    breathPhase += 2 * Math.PI * breathHz * seconds
    wavePhase += 2 * Math.PI * (0.09 + 0.01 * normal()) * seconds
    const [start, end] = [Math.round(at * madeRate), Math.round((at + seconds) * madeRate)]
    intervals.push({ start, end, seconds: (end - start) / madeRate })
    at += seconds
  }
  return intervals
}

/** A heart at rest, each of whose breaths is another. */
export interface BreathingHeart {
  /** Beats and breaths a minute. */
  readonly beats: number
  readonly breaths: number
  /** Swing of the interval each way, as a share of its mean. */
  readonly swing: number
  /** Standard deviation of the length and of the depth of a breath, as a share of their means. */
  readonly spread: number
  readonly hours: number
}

/** The intervals of one: shorter over the two fifths of each breath that draw it in, longer over the rest. */
export function makeBreathingHeart(heart: BreathingHeart, seed: number): RrInterval[] {
  const { beats, breaths, swing, spread } = heart
  const { normal } = createChance(seed)
  const [usual, usualBreath, drawnIn] = [60 / beats, 60 / breaths, 0.4]
  const intervals: RrInterval[] = []
  let [at, phase, breath, depth, slow, wave] = [0, 0, usualBreath, 1, 0, 0]
  while (at < heart.hours * 3600) {
    slow += 0.004 * normal() - 0.02 * slow
    const side =
      phase < drawnIn ? Math.cos((Math.PI * phase) / drawnIn) : -Math.cos((Math.PI * (phase - drawnIn)) / (1 - drawnIn))
    const seconds = usual * (1 + swing * depth * side + 0.03 * Math.sin(wave) + slow + 0.01 * normal())
    wave += 2 * Math.PI * (0.09 + 0.01 * normal()) * seconds
    phase += seconds / breath
    while (phase >= 1) {
      const last = breath
      breath = usualBreath * Math.max(0.5, 1 + spread * normal())
      depth = Math.max(0.3, 1 + spread * normal())
      phase = ((phase - 1) * last) / breath
    }
    const [start, end] = [Math.round(at * madeRate), Math.round((at + seconds) * madeRate)]
    intervals.push({ start, end, seconds: (end - start) / madeRate })
    at += seconds
  }
  return intervals
}

/** Share of the time of these intervals that `changes` calls fibrillation. */
export function fibrillatingShare(intervals: readonly RrInterval[], changes: readonly Annotation[]): number {
  const end = intervals.at(-1)?.end ?? 0
  const samples = changes.map(({ sample, aux }, i) => (aux === '(AFIB' ? (changes[i + 1]?.sample ?? end) - sample : 0))
  return end === 0 ? 0 : samples.reduce((sum, length) => sum + length, 0) / end
}
