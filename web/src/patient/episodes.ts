/** Findings as a patient reads them: an episode that many diagnoses tell of is one, as the newest of them has it. */
import type { Diagnosis, Finding } from './model.ts'

/** One episode, or what a doctor wrote by hand. */
export interface Episode {
  readonly key: string
  readonly diagnosis: Diagnosis
  /** Undefined for words without a finding. */
  readonly finding: Finding | undefined
}

/** What is shown. */
export interface Episodes {
  /** Newest first. */
  readonly found: readonly Episode[]
  /** Diagnoses that found nothing. */
  readonly clear: number
  /** Diagnoses that these keys do not open. */
  readonly sealed: number
}

/** @param diagnoses - oldest first. */
export function episodesOf(diagnoses: readonly Diagnosis[]): Episodes {
  const found = new Map<string, Episode>()
  let clear = 0
  let sealed = 0
  for (const diagnosis of diagnoses) {
    if (diagnosis.status === 'sealed') sealed++
    else if (diagnosis.findings.length === 0 && diagnosis.text === undefined) clear++
    else if (diagnosis.findings.length === 0) {
      const key = diagnosis.transactionId
      found.set(key, { key, diagnosis, finding: undefined })
    }
    if (diagnosis.status === 'sealed') continue
    for (const finding of diagnosis.findings) {
      const key = `${diagnosis.doctor} ${finding.code} ${finding.from}`
      // What is set anew stands last, as the newest.
      found.delete(key)
      found.set(key, { key, diagnosis, finding })
    }
  }
  // Newest first; of one diagnosis the most severe first, as it is written.
  const newest = [...found.values()].sort((a, b) =>
    a.diagnosis.at < b.diagnosis.at ? 1 : a.diagnosis.at > b.diagnosis.at ? -1 : 0,
  )
  return { found: newest, clear, sealed }
}
