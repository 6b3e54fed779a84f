/** Vital signs over time, and NEWS2 as a nurse would have written it down: made for one answer, from what opens now. */
import type { ReadingBatch, VitalSign } from '@healthblock/diagnosis/batch'
import type { Parameters } from '@healthblock/diagnosis/diagnose'
import { type Consciousness, scoreNews2, type VitalSet } from '@healthblock/diagnosis/early-warning'

/** Medians of each minute, `[Unix ms, value]`, by sign. */
export type SignTrends = Partial<Record<VitalSign, [number, number][]>>

/** One column of the chart. */
export interface News2Column {
  readonly at: number
  readonly total: number | null
  readonly risk: string | null
  /** Points of each sign that was there. */
  readonly points: Readonly<Record<string, number>>
  readonly values: Readonly<Record<string, number | string | boolean>>
  readonly missing: readonly string[]
}

const minuteMs = 60_000
const hourMs = 3_600_000
/** How old a value may be, as in packages/diagnosis SPEC §5. */
const ageMaxMs: Partial<Record<VitalSign, number>> = {
  ...{ 'heart-rate': 5 * minuteMs, pulse: 5 * minuteMs, 'respiratory-rate': 5 * minuteMs, spo2: 5 * minuteMs },
  ...{ temperature: 12 * hourMs, 'systolic-pressure': 12 * hourMs },
  ...{ consciousness: 12 * hourMs, 'supplemental-oxygen': 12 * hourMs },
}
const levels: readonly Consciousness[] = ['A', 'C', 'V', 'P', 'U']
/** Columns of the chart. */
const columnsMax = 12

/** The median of each minute of each sign. */
export function trendsOf(batches: readonly ReadingBatch[]): SignTrends {
  const minutes = new Map<VitalSign, Map<number, number[]>>()
  for (const batch of batches) {
    if (batch.kind !== 'vitals') continue
    for (const { atMs, sign, value } of batch.rows) {
      const bySign = minutes.get(sign) ?? new Map<number, number[]>()
      minutes.set(sign, bySign)
      const minute = Math.floor(atMs / minuteMs)
      const values = bySign.get(minute) ?? []
      bySign.set(minute, values)
      values.push(value)
    }
  }
  const trends: SignTrends = {}
  for (const [sign, bySign] of minutes) {
    trends[sign] = [...bySign]
      .sort(([a], [b]) => a - b)
      .map(([minute, values]) => {
        values.sort((a, b) => a - b)
        return [minute * minuteMs, values[(values.length - 1) >> 1] as number]
      })
  }
  return trends
}

/** The newest value of a sign at a moment that is not too old. */
function valueAt(trends: SignTrends, sign: VitalSign, atMs: number): number | undefined {
  const found = trends[sign]?.findLast(([at]) => at <= atMs)
  return found !== undefined && atMs - found[0] <= (ageMaxMs[sign] ?? 0) ? found[1] : undefined
}

/** What NEWS2 is made of, at a moment. */
function vitalSetAt(trends: SignTrends, atMs: number): VitalSet {
  const pulse = valueAt(trends, 'pulse', atMs) ?? valueAt(trends, 'heart-rate', atMs)
  const level = valueAt(trends, 'consciousness', atMs)
  const oxygen = valueAt(trends, 'supplemental-oxygen', atMs)
  const respiratoryRate = valueAt(trends, 'respiratory-rate', atMs)
  const spo2 = valueAt(trends, 'spo2', atMs)
  const systolicPressure = valueAt(trends, 'systolic-pressure', atMs)
  const temperature = valueAt(trends, 'temperature', atMs)
  const consciousness = level === undefined ? undefined : levels[level]
  return {
    ...(respiratoryRate === undefined ? {} : { respiratoryRate }),
    ...(spo2 === undefined ? {} : { spo2 }),
    ...(oxygen === undefined ? {} : { supplementalOxygen: oxygen > 0 }),
    ...(systolicPressure === undefined ? {} : { systolicPressure }),
    ...(pulse === undefined ? {} : { pulse }),
    ...(consciousness === undefined ? {} : { consciousness }),
    ...(temperature === undefined ? {} : { temperature }),
  }
}

/** What the doctor set of the patient: age and scale. */
function settingsOf({ ageYears, spo2Scale }: Parameters): VitalSet {
  return { ...(ageYears === 255 ? {} : { ageYears }), spo2Scale: spo2Scale === 2 ? 2 : 1 }
}

/** The chart between two moments, by the scale and age that the doctor set: columns evenly apart, whole minutes, those alone where anything is known. */
export function news2Of(
  trends: SignTrends,
  range: { fromMs: number; toMs: number },
  limits: Parameters,
): News2Column[] {
  const times = Object.values(trends).flatMap((values) => values.map(([at]) => at))
  if (times.length === 0) return []
  const lastMs = times.reduce((a, b) => Math.max(a, b))
  const firstMs = Math.max(
    range.fromMs,
    times.reduce((a, b) => Math.min(a, b)),
  )
  const stepMs = Math.max(minuteMs, Math.ceil((lastMs - firstMs) / (columnsMax - 1) / minuteMs) * minuteMs)
  const columns: News2Column[] = []
  for (let at = lastMs; at >= firstMs && columns.length < columnsMax; at -= stepMs) {
    const set = vitalSetAt(trends, at)
    if (Object.keys(set).length === 0) continue
    const { total, risk, parts, missing } = scoreNews2({ ...set, ...settingsOf(limits) })
    columns.unshift({ at, total, risk, points: parts as Record<string, number>, values: { ...set }, missing })
  }
  return columns
}
