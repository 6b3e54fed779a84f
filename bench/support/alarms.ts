/** Alarms that a doctor would be woken by: what `diagnose` tells of a record in batches of ten seconds, run by run, with the state carried on as a doctor node does. */
import type { EcgLead } from '@healthblock/diagnosis/annotate'
import { batchSampleMissing } from '@healthblock/diagnosis/batch'
import { type DiagnosisRecord, diagnose } from '@healthblock/diagnosis/diagnose'

const batchSeconds = 10
/** Batches of one run: five minutes. */
const batchesPerRun = 30
const startMs = 1_790_000_000_000
const stream = new Uint8Array(8).fill(1)

/** Batches of a record; `leads` share rate, gain and length. */
function batchesOf(leads: readonly EcgLead[], names: readonly string[]): DiagnosisRecord[] {
  const [{ rate, gain, baseline, samples }] = leads as [EcgLead]
  const size = Math.round(batchSeconds * rate)
  return Array.from({ length: Math.floor(samples.length / size) }, (_, n) => {
    const own = new Int16Array(size * leads.length)
    for (const [k, lead] of leads.entries())
      for (let i = 0; i < size; i++) {
        const value = lead.samples[n * size + i] as number
        own[i * leads.length + k] = value < -32_767 || value > 32_767 ? batchSampleMissing : value
      }
    return {
      ...{ stream, sequence: n + 1, kind: 'ecg' as const, startMs: startMs + n * batchSeconds * 1000 },
      ...{ rateMilliHz: Math.round(rate * 1000), leads: [...names], unit: 'mv' },
      ...{ gainMilli: Math.round(gain * 1000), baseline, samples: own },
    }
  })
}

/** Codes of the findings of severity high or critical, one an episode, in the order in which they are first told. */
export function alarmsOf(leads: readonly EcgLead[], names: readonly string[]): string[] {
  const batches = batchesOf(leads, names)
  const told = new Map<string, string>()
  let carriedState: Uint8Array | undefined
  for (let from = 0; from < batches.length; from += batchesPerRun) {
    const { findings, state } = diagnose({ records: batches.slice(from, from + batchesPerRun), carriedState })
    carriedState = state
    for (const { code, fromMs, severity } of findings)
      if (severity === 'high' || severity === 'critical') told.set(`${code} ${fromMs}`, code)
  }
  return [...told.values()]
}
