import { band, type Risk, type ScoreResult, sumParts, type VitalSet } from './vitals.ts'

/** Signs of NEWS2. */
export type News2Part =
  | 'respiratoryRate'
  | 'spo2'
  | 'supplementalOxygen'
  | 'systolicPressure'
  | 'pulse'
  | 'consciousness'
  | 'temperature'

const reading = { name: 'NEWS2', yearsLeast: 16, riskOf } as const

// Whole numbers on the chart; a value between two bands is rounded to the chart's precision first.
const whole = (value: number | undefined) => (value === undefined ? undefined : Math.round(value))
const tenth = (value: number | undefined) => (value === undefined ? undefined : Math.round(value * 10) / 10)

function oxygenPoints(set: VitalSet): number | undefined {
  const spo2 = whole(set.spo2)
  if (set.spo2Scale !== 2)
    return band(
      spo2,
      [
        [91, 3],
        [93, 2],
        [95, 1],
      ],
      0,
    )
  if (spo2 === undefined) return undefined
  if (spo2 <= 92)
    return band(
      spo2,
      [
        [83, 3],
        [85, 2],
        [87, 1],
      ],
      0,
    )
  // From 93 % scale 2 depends on oxygen: on air all is well, on oxygen it is too much. Unknown oxygen leaves it undecided.
  if (set.supplementalOxygen === undefined) return undefined
  return set.supplementalOxygen
    ? band(
        spo2,
        [
          [94, 1],
          [96, 2],
        ],
        3,
      )
    : 0
}

function riskOf(total: number, parts: Partial<Record<News2Part, number>>): Risk {
  if (total >= 7) return 'high'
  if (total >= 5) return 'medium'
  return Object.values(parts).includes(3) ? 'low-medium' : 'low'
}

/**
 * National Early Warning Score 2 for people of 16 years and more; not for pregnancy.
 *
 * @returns `total` null and `notApplicable` for an age below 16, or when no sign was measured. An unknown age counts as adult.
 * @see SPEC.md §5, Royal College of Physicians 2017
 */
export function scoreNews2(set: VitalSet): ScoreResult<News2Part> {
  const points: Record<News2Part, number | undefined> = {
    respiratoryRate: band(
      whole(set.respiratoryRate),
      [
        [8, 3],
        [11, 1],
        [20, 0],
        [24, 2],
      ],
      3,
    ),
    spo2: oxygenPoints(set),
    supplementalOxygen: set.supplementalOxygen === undefined ? undefined : set.supplementalOxygen ? 2 : 0,
    systolicPressure: band(
      whole(set.systolicPressure),
      [
        [90, 3],
        [100, 2],
        [110, 1],
        [219, 0],
      ],
      3,
    ),
    pulse: band(
      whole(set.pulse),
      [
        [40, 3],
        [50, 1],
        [90, 0],
        [110, 1],
        [130, 2],
      ],
      3,
    ),
    consciousness: set.consciousness === undefined ? undefined : set.consciousness === 'A' ? 0 : 3,
    temperature: band(
      tenth(set.temperature),
      [
        [35, 3],
        [36, 1],
        [38, 0],
        [39, 1],
      ],
      2,
    ),
  }
  return sumParts(points, set.ageYears, reading)
}
