/** What an ECG view is given: samples as they were measured, and what is known about them. Nothing here is smoothed or shifted. */

/** One stretch of one lead without a hole in time. */
export interface EcgSegment {
  /** Unix ms of the first sample. */
  readonly startMs: number
  /** Samples a second. */
  readonly rateHz: number
  /** `sampleMissing` in whole numbers and NaN in floats mark what was not measured. */
  readonly samples: Int16Array | Float32Array
  /** What `gain` refers to. */
  readonly unit: 'mv' | 'uv'
  /** Sample units per `unit`; 1 if absent. */
  readonly gain?: number
  /** Sample value of 0; 0 if absent. */
  readonly baseline?: number
}

/** One lead: its stretches in order of time, none over another. */
export interface EcgLead {
  readonly name: string
  readonly segments: readonly EcgSegment[]
}

/** A beat, as the analysis names it: N normal, S supraventricular, V ventricular, F fusion, Q not known. */
export interface EcgBeat {
  /** Unix ms of its R peak. */
  readonly atMs: number
  readonly label: string
}

/** A stretch of time that has a name. */
export interface EcgSpan {
  readonly fromMs: number
  readonly toMs: number
  /** What is written at its begin. */
  readonly label: string
  /** `rhythm`: a line above; `finding`: ground behind the trace; `missing`, `noise`: hatched, nothing is to be read there. */
  readonly kind: 'rhythm' | 'finding' | 'missing' | 'noise'
}

/** A stretch of time, Unix ms, the end not included. */
export interface TimeRange {
  readonly fromMs: number
  readonly toMs: number
}

/** What stands for a missing sample among whole numbers. */
export const sampleMissing = -32768

/** Unix ms after the last sample. */
export function endMsOf({ startMs, samples, rateHz }: EcgSegment): number {
  return startMs + (samples.length * 1000) / rateHz
}

/** Millivolts of a sample; NaN if it is missing. */
export function millivoltsOf(segment: EcgSegment, index: number): number {
  const raw = segment.samples[index]
  if (raw === undefined || (raw === sampleMissing && segment.samples instanceof Int16Array)) return Number.NaN
  const value = (raw - (segment.baseline ?? 0)) / (segment.gain ?? 1)
  return segment.unit === 'uv' ? value / 1000 : value
}

/** Millivolts of a lead at a moment: those of the sample that lasts then; NaN where there is none. */
export function millivoltsAt(lead: EcgLead, atMs: number): number {
  for (const segment of lead.segments) {
    if (atMs < segment.startMs || atMs >= endMsOf(segment)) continue
    return millivoltsOf(segment, Math.floor(((atMs - segment.startMs) * segment.rateHz) / 1000))
  }
  return Number.NaN
}
