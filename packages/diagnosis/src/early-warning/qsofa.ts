import { type Risk, type ScoreResult, sumParts, type VitalSet } from './vitals.ts'

/** Signs of qSOFA. */
export type QsofaPart = 'respiratoryRate' | 'systolicPressure' | 'consciousness'

const reading = {
  name: 'qSOFA',
  yearsLeast: 18,
  riskOf: (total: number): Risk => (total >= 2 ? 'high' : 'low'),
} as const

// As on the chart of NEWS2: whole numbers.
const whole = (value: number | undefined) => (value === undefined ? undefined : Math.round(value))

/**
 * Quick SOFA for adults with suspected infection: one point each for 22 breaths a minute or more, systolic pressure of 100 mm[Hg] or less, altered
 * mentation. Two points or more are a high risk.
 *
 * @returns `total` null and `notApplicable` for an age below 18, or when no sign was measured. An unknown age counts as adult.
 * @see SPEC.md §5, Singer 2016
 */
export function scoreQsofa(set: VitalSet): ScoreResult<QsofaPart> {
  const { consciousness } = set
  const [respiratoryRate, systolicPressure] = [whole(set.respiratoryRate), whole(set.systolicPressure)]
  const points = {
    respiratoryRate: respiratoryRate === undefined ? undefined : respiratoryRate >= 22 ? 1 : 0,
    systolicPressure: systolicPressure === undefined ? undefined : systolicPressure <= 100 ? 1 : 0,
    consciousness: consciousness === undefined ? undefined : consciousness === 'A' ? 0 : 1,
  }
  return sumParts<QsofaPart>(points, set.ageYears, reading)
}
