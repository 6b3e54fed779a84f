/**
 * Hearts whose beats are wide. No record of a pacemaker is at hand: these signals are sums of Gaussian waves with spikes of one sample, and show no more than that a wide and regular rhythm
 * is not taken for extra beats.
 */
import { expect, test } from 'vitest'
import { EcgAnalyser, type EcgEvent } from './analyser.ts'

interface Made {
  rateHz: number
  seconds: number
  bpm: number
  /** Upright or upside down; microvolts of a spike 60 ms before the complex. */
  sign: number
  spike: number
  /** Every so many beats one comes early and is of another shape; 0 = none. */
  extraEvery?: number
  /** Until here the beats are narrow. */
  narrowUntil?: number
}

const wave = (t: number, middle: number, width: number) => Math.exp(-((t - middle) ** 2) / (2 * width ** 2))

function shapeOf(t: number, isExtra: boolean, isNarrow: boolean, sign: number): number {
  if (isExtra) return sign * (-1600 * wave(t, 0.02, 0.045) + 500 * wave(t, 0.3, 0.06))
  if (isNarrow) return 1000 * wave(t, 0, 0.012) - 200 * wave(t, 0.03, 0.012) + 250 * wave(t, 0.27, 0.05)
  return sign * (1100 * wave(t, 0, 0.035) - 500 * wave(t, 0.1, 0.04) - 350 * wave(t, 0.32, 0.06))
}

function make({ rateHz, seconds, bpm, sign, spike, extraEvery = 0, narrowUntil = 0 }: Made): Float64Array {
  let state = 7
  const noise = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return 25 * (state / 2 ** 31 - 1)
  }
  const samples = Float64Array.from({ length: seconds * rateHz }, noise)
  const gap = 60 / bpm
  for (let k = 1; k * gap < seconds - 1; k++) {
    const isExtra = extraEvery > 0 && k % extraEvery === 0
    const at = isExtra ? (k - 0.25) * gap : k * gap
    const isNarrow = at < narrowUntil
    for (let i = Math.floor((at - 0.3) * rateHz); i < (at + 0.5) * rateHz; i++)
      samples[i] = (samples[i] as number) + shapeOf(i / rateHz - at, isExtra, isNarrow, sign)
    if (isExtra || isNarrow) continue
    const place = Math.floor((at - 0.06) * rateHz)
    samples[place] = (samples[place] as number) + spike
  }
  return samples
}

function analyse(made: Made): EcgEvent[] {
  const analyser = new EcgAnalyser({ rateMilliHz: made.rateHz * 1000 })
  return [...analyser.push(make(made)), ...analyser.finish()]
}
const beatsOf = (events: readonly EcgEvent[]) => events.filter((event) => event.type === 'beat')

test.each([
  [250, 1, 500],
  [250, -1, 1500],
  [360, 1, 500],
  [500, 1, 1000],
])(
  'at %i Hz beats that are all wide and regular are seldom called ventricular (sign %i, spikes of %i µV)',
  (rateHz, sign, spike) => {
    const beats = beatsOf(analyse({ rateHz, seconds: 240, bpm: 70, sign, spike }))
    expect(Math.abs(beats.length - 279)).toBeLessThanOrEqual(3)
    expect(beats.filter(({ symbol }) => symbol === 'V').length / beats.length).toBeLessThan(0.1)
  },
)

test('extra beats of another shape among wide ones are ventricular', () => {
  const beats = beatsOf(analyse({ rateHz: 250, seconds: 240, bpm: 70, sign: 1, spike: 1000, extraEvery: 12 }))
  const count = beats.filter(({ symbol }) => symbol === 'V').length
  expect(count).toBeGreaterThanOrEqual(21)
  expect(count).toBeLessThanOrEqual(27)
})

test('a wide rhythm that is fast is a ventricular tachycardia or flutter for as long as it lasts', () => {
  const events = analyse({ rateHz: 250, seconds: 240, bpm: 160, sign: -1, spike: 0, narrowUntil: 60 })
  const rhythms = events.filter((event) => event.type === 'rhythm').map(({ rhythm, tick }) => [rhythm, tick / 250])
  const first = rhythms.find(([rhythm]) => rhythm === 'VT')
  expect(first?.[1]).toBeLessThan(66)
  expect(['VT', 'VFL']).toContain(rhythms.at(-1)?.[0])
})
