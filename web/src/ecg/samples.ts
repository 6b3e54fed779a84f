/** Samples as nodes send them: base64 of little-endian int16, leads interleaved. */
import type { EcgSegment } from './signal.ts'

/** One stretch of all leads that were measured together. */
export interface SentSamples {
  readonly leads: readonly string[]
  readonly samples: string
  /** Unix ms of the first sample. */
  readonly startMs: number
  readonly rateHz: number
  /** As the record says it; anything but `uv` is millivolts. */
  readonly unit: string
  readonly gain: number
  readonly baseline: number
}

const augmented: Readonly<Record<string, string>> = { avr: 'aVR', avl: 'aVL', avf: 'aVF' }

/** A lead's name as it stands on paper: devices send it in any case. */
export function leadLabel(name: string): string {
  return augmented[name.toLowerCase()] ?? name.toUpperCase()
}

/** Each lead's segment, by its name on paper; half a sample at the end is left out. */
export function segmentsOf(sent: SentSamples): readonly (readonly [lead: string, segment: EcgSegment])[] {
  const { leads, startMs, rateHz, gain, baseline } = sent
  const text = atob(sent.samples)
  const count = leads.length
  const length = Math.floor(text.length / 2 / count)
  const unit = sent.unit === 'uv' ? 'uv' : 'mv'
  return leads.map((name, lead) => {
    const samples = new Int16Array(length)
    for (let index = 0; index < length; index++) {
      const at = 2 * (index * count + lead)
      samples[index] = text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8)
    }
    return [leadLabel(name), { startMs, rateHz, gain, baseline, unit, samples }]
  })
}
