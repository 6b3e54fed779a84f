/** What the other leads of a batch show while the judged one shows nothing: a heart that beats in one lead does not stand still. */
import { batchSampleMissing, type EcgBatch } from './batch.ts'

/** A complex rises or falls by so much within so long. */
const stepMicrovolts = 200
const stepSeconds = 0.024
/** Windows whose medians are compared: what is shorter, as the spike of a pacemaker, is no beat. */
const windowSeconds = 0.012
/** Nearest that two complexes follow each other. */
const gapSeconds = 0.25
/** Longest time for one complex, and the fewest and most of them that are a heart and not noise. */
const secondsPerBeatMost = 2
const beatsPerSecondMost = 3.5

function medianAt(batch: EcgBatch, lead: number, from: number, count: number): number {
  const values: number[] = []
  for (let i = from; i < from + count; i++) {
    const value = batch.samples[i * batch.leads.length + lead] as number
    if (value !== batchSampleMissing) values.push(value)
  }
  values.sort((a, b) => a - b)
  return values[values.length >> 1] ?? Number.NaN
}

function countSteps(batch: EcgBatch, lead: number, from: number, to: number): number {
  const rate = batch.rateMilliHz / 1000
  const size = Math.max(1, Math.round(windowSeconds * rate))
  const apart = Math.max(1, Math.round(stepSeconds * rate))
  const least = (stepMicrovolts * batch.gainMilli) / 1_000_000
  let count = 0
  let last = -1e9
  for (let i = from; i + apart + size <= to; i += Math.max(1, size >> 1)) {
    if (i - last < gapSeconds * rate) continue
    const step = medianAt(batch, lead, i + apart, size) - medianAt(batch, lead, i, size)
    if (Math.abs(step) < least || Number.isNaN(step)) continue
    count++
    last = i
  }
  return count
}

/** True when another lead has complexes as a heart makes them between two frames of the batch. */
export function beatsElsewhere(batch: EcgBatch, judged: number, from: number, to: number): boolean {
  const frames = Math.floor(batch.samples.length / batch.leads.length)
  const [begin, end] = [Math.max(0, Math.min(frames, from)), Math.max(0, Math.min(frames, to))]
  const seconds = ((end - begin) * 1000) / batch.rateMilliHz
  return batch.leads.some((_, lead) => {
    if (lead === judged || seconds <= 0) return false
    const count = countSteps(batch, lead, begin, end)
    return count > 0 && count * secondsPerBeatMost >= seconds && count <= 1 + beatsPerSecondMost * seconds
  })
}
