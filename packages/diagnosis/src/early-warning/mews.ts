import { band, type Risk, type ScoreResult, sumParts, type VitalSet } from './vitals.ts'

/** Signs of MEWS. */
export type MewsPart = 'respiratoryRate' | 'systolicPressure' | 'pulse' | 'consciousness' | 'temperature' | 'urine'

const reading = { name: 'MEWS', yearsLeast: 16, riskOf } as const
const consciousnessPoints = { A: 0, C: 1, V: 1, P: 2, U: 3 } as const

const whole = (value: number | undefined) => (value === undefined ? undefined : Math.round(value))
const tenth = (value: number | undefined) => (value === undefined ? undefined : Math.round(value * 10) / 10)

function riskOf(total: number, parts: Partial<Record<MewsPart, number>>): Risk {
  if (total >= 5) return 'high'
  if (total >= 3) return 'medium'
  return Object.values(parts).includes(3) ? 'low-medium' : 'low'
}

/**
 * Modified Early Warning Score for adults, after Subbe 2001 with the urine output of the openEHR guideline MEWS.v1.2. Urine is optional: it counts when given
 * and is not listed as missing.
 *
 * @returns `total` null and `notApplicable` for an age below 16, or when no sign was measured. An unknown age counts as adult.
 * @see SPEC.md §5
 */
export function scoreMews(set: VitalSet): ScoreResult<MewsPart> {
  const points: Record<Exclude<MewsPart, 'urine'>, number | undefined> = {
    respiratoryRate: band(
      whole(set.respiratoryRate),
      [
        [8, 2],
        [14, 0],
        [20, 1],
        [29, 2],
      ],
      3,
    ),
    systolicPressure: band(
      whole(set.systolicPressure),
      [
        [70, 3],
        [80, 2],
        [100, 1],
        [199, 0],
      ],
      2,
    ),
    pulse: band(
      whole(set.pulse),
      [
        [40, 2],
        [50, 1],
        [100, 0],
        [110, 1],
        [129, 2],
      ],
      3,
    ),
    consciousness: set.consciousness === undefined ? undefined : consciousnessPoints[set.consciousness],
    temperature: band(
      tenth(set.temperature),
      [
        [34.9, 2],
        [38.4, 0],
      ],
      2,
    ),
  }
  return sumParts<MewsPart>(
    set.urineMl === undefined
      ? (points as Record<MewsPart, number | undefined>)
      : { ...points, urine: urinePoints(set.urineMl) },
    set.ageYears,
    reading,
  )
}

function urinePoints(urineMl: number): number {
  return urineMl < 200 ? 3 : urineMl < 500 ? 2 : urineMl <= 1000 || urineMl > 2500 ? 1 : 0
}
