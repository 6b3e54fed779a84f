/** Which lead of a batch is judged. An electrode that fell off must not silence a patient whose other leads are there. */
import { batchSampleMissing, type EcgBatch } from './batch.ts'

/** Leads in the order in which they are taken: first those in which the table of beats was trained, then those that look most like them. */
const preferred = ['ii', 'mlii', 'i', 'v5', 'v4', 'v6', 'avf', 'v3', 'v2', 'iii', 'v1', 'avl', 'avr']
/** A lead is of use when at most this share of it is missing, and it moves by so many microvolts. */
const missingShareMax = 0.25
const rangeMinMicrovolts = 20

/** True when a lead of the batch can be judged at all: there, and not flat. */
export function isLeadOfUse(batch: EcgBatch, lead: number): boolean {
  const { leads, samples, gainMilli } = batch
  const count = Math.floor(samples.length / leads.length)
  let [missing, low, high] = [0, 32_767, -32_768]
  for (let i = 0; i < count; i++) {
    const sample = samples[i * leads.length + lead] as number
    if (sample === batchSampleMissing) missing++
    else {
      if (sample < low) low = sample
      if (sample > high) high = sample
    }
  }
  return missing <= missingShareMax * count && (high - low) * 1_000_000 >= rangeMinMicrovolts * gainMilli
}

const rankOf = (name: string, lead: number) => {
  const at = preferred.indexOf(name)
  return at < 0 ? preferred.length + lead : at
}

/** Indexes of the leads of a batch, the best first: those that are of use before those that are not, and of these the preferred ones first. */
export function rankLeads(batch: EcgBatch): number[] {
  if (batch.leads.length === 1) return [0]
  const all = batch.leads.map((name, lead) => ({
    lead,
    rank: rankOf(name, lead) + (isLeadOfUse(batch, lead) ? 0 : 1000),
  }))
  return all.sort((a, b) => a.rank - b.rank).map(({ lead }) => lead)
}

/** Index of the best lead of a batch. */
export const chooseLead = (batch: EcgBatch): number => rankLeads(batch)[0] ?? 0
