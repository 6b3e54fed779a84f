/**
 * Ventricular fibrillation behind a real rhythm, made by another model than that of the training: three oscillators whose rate drifts, which wax and wane and have
 * overtones, and a little noise. How long until an alarm?
 */
import { EcgAnalyser } from '@healthblock/diagnosis/ecg'
import { createChance } from './chance.ts'

const rate = 250
const quietSeconds = 60
const fibrillationSeconds = 40
const noiseMicrovolts = 8
const rates = [3, 4, 5, 6, 7.5]
const spreads = [0.03, 0.12, 0.25]
/** Seconds in which it comes up while the old rhythm fades. */
const fadeSeconds = [0, 4]

/** Root of the mean square of what is made, microvolts. */
export const fibrillationSizes = [60, 120, 250, 500] as const

/** Seconds until an alarm: as fibrillation, and of any kind (fibrillation, ventricular tachycardia, a silent heart). */
export interface AlarmDelay {
  readonly asFibrillation: number
  readonly any: number
}

type Chance = ReturnType<typeof createChance>

/** Fibrillation of the size 1. */
function makeFibrillation(chance: Chance, hertz: number, spread: number): Float64Array {
  const oscillators = Array.from({ length: 3 }, () => ({
    hertz: hertz * (1 + spread * chance.normal()),
    phase: 2 * Math.PI * chance.uniform(),
    height: 0.5 + chance.uniform(),
    swingHertz: 0.1 + 0.4 * chance.uniform(),
    swingPhase: 2 * Math.PI * chance.uniform(),
  }))
  let last = 0
  const made = Float64Array.from({ length: fibrillationSeconds * rate }, (_, i) => {
    let sum = 0
    for (const one of oscillators) {
      one.hertz += 0.02 * hertz * spread * chance.normal() - 0.002 * (one.hertz - hertz)
      one.phase += (2 * Math.PI * one.hertz) / rate
      const swing = 1 + 0.6 * Math.sin((2 * Math.PI * one.swingHertz * i) / rate + one.swingPhase)
      sum += one.height * swing * (Math.sin(one.phase) + 0.25 * Math.sin(2 * one.phase + 1))
    }
    last += 0.1 * (sum - last)
    return last
  })
  const size = Math.sqrt(made.reduce((sum, value) => sum + value * value, 0) / made.length)
  return made.map((value) => value / size)
}

/** Seconds of fibrillation until each kind of alarm; the analyser hears second by second. */
function hear(before: Float64Array, after: Float64Array): AlarmDelay {
  const analyser = new EcgAnalyser({ rateMilliHz: rate * 1000 })
  analyser.push(before)
  let [asFibrillation, any] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let second = 0; second < fibrillationSeconds; second++) {
    for (const event of analyser.push(after.subarray(second * rate, (second + 1) * rate))) {
      const isFibrillation = event.type === 'rhythm' && event.rhythm === 'VFL'
      if (isFibrillation) asFibrillation = Math.min(asFibrillation, second + 1)
      if (isFibrillation || event.type === 'silence' || (event.type === 'rhythm' && event.rhythm === 'VT'))
        any = Math.min(any, second + 1)
    }
  }
  return { asFibrillation, any }
}

/** Puts fibrillation of one size behind a rhythm, in each way; `microvolts` = at least 110 s at 250 Hz. */
export function hearFibrillation(microvolts: Float64Array, sizeMicrovolts: number, seed: number): AlarmDelay[] {
  const chance = createChance(seed)
  const before = microvolts.subarray(0, quietSeconds * rate)
  return rates.flatMap((hertz) =>
    spreads.flatMap((spread) =>
      fadeSeconds.map((fade) => {
        const made = makeFibrillation(chance, hertz, spread)
        const after = made.map((value, i) => {
          const share = fade === 0 ? 1 : Math.min(1, i / (fade * rate))
          const old = (1 - share) * (microvolts[quietSeconds * rate + i] as number)
          return old + share * sizeMicrovolts * value + noiseMicrovolts * chance.normal()
        })
        return hear(before, after)
      }),
    ),
  )
}
