/** Limits of glucose, temperature and blood pressure: set for a patient by the doctor, with published defaults. */
import type { VitalSign } from './batch.ts'
import type { Episodes, Evidence, FindingCode, Severity } from './findings.ts'
import type { Parameters } from './parameters.ts'

interface Limit {
  sign: VitalSign
  code: FindingCode
  parameter: keyof Parameters
  /** Thousandths of the sign's unit that one step of the parameter stands for. */
  step: number
  isBelow: boolean
  /** How far back across the limit, in thousandths, a value must come for the finding to end. */
  back: number
  /** From here on the finding is severe, in thousandths. */
  severe: number
}

/**
 * Defaults in `parameters.ts`: glucose as the American Diabetes Association grades it (level 2 below 54, hyperglycaemia level 2 above 250 mg/dL), fever and
 * hypothermia at 38.0 and 35.0 °C, pressure at 180/110 and 90 mmHg (grade 3 hypertension of the European societies; the usual limit of shock).
 */
const limits: readonly Limit[] = [
  {
    sign: 'glucose',
    code: 'vitals.hypoglycaemia',
    parameter: 'glucoseLow',
    step: 1000,
    isBelow: true,
    back: 5000,
    severe: 54_000,
  },
  {
    sign: 'glucose',
    code: 'vitals.hyperglycaemia',
    parameter: 'glucoseHigh',
    step: 1000,
    isBelow: false,
    back: 10_000,
    severe: 400_000,
  },
  {
    sign: 'temperature',
    code: 'vitals.hypothermia',
    parameter: 'temperatureLow',
    step: 100,
    isBelow: true,
    back: 300,
    severe: 32_000,
  },
  {
    sign: 'temperature',
    code: 'vitals.fever',
    parameter: 'temperatureHigh',
    step: 100,
    isBelow: false,
    back: 300,
    severe: 40_000,
  },
  {
    sign: 'systolic-pressure',
    code: 'vitals.hypotension',
    parameter: 'systolicLow',
    step: 1000,
    isBelow: true,
    back: 5000,
    severe: 70_000,
  },
  {
    sign: 'systolic-pressure',
    code: 'vitals.hypertension',
    parameter: 'systolicHigh',
    step: 1000,
    isBelow: false,
    back: 5000,
    severe: 220_000,
  },
  {
    sign: 'diastolic-pressure',
    code: 'vitals.diastolic-hypertension',
    parameter: 'diastolicHigh',
    step: 1000,
    isBelow: false,
    back: 5000,
    severe: 130_000,
  },
]

/** Holds the median of a minute, in thousandths, against the patient's limits. */
export function checkLimits(
  episodes: Episodes,
  parameters: Parameters,
  seen: { sign: VitalSign; milli: number; atMs: number; evidence: Evidence },
): void {
  const { sign, milli, atMs, evidence } = seen
  for (const limit of limits) {
    if (limit.sign !== sign) continue
    const at = parameters[limit.parameter] * limit.step
    const isOver = limit.isBelow ? milli < at : milli > at
    const isBack = limit.isBelow ? milli >= at + limit.back : milli <= at - limit.back
    const isSevere = limit.isBelow ? milli < limit.severe : milli > limit.severe
    const severity: Severity = isSevere ? 'high' : 'medium'
    if (isOver || (!isBack && episodes.isOpen(limit.code)))
      episodes.see({ code: limit.code, fromMs: atMs, toMs: atMs, severity, value: milli, evidence })
    else episodes.end(limit.code, atMs)
  }
}
