/** A finding as the nodes' lists tell it, to the doctor and to the patient alike. */
import { type Finding, findingKinds } from './findings.ts'

/** A finding for a list: moments are ISO 8601. */
export interface FindingView {
  readonly code: string
  /** SNOMED CT concept, where one fits. */
  readonly snomed?: string
  readonly from: string
  readonly to: string
  readonly severity: string
  /** Thousandths of a probability, or of what the code measures. */
  readonly score: number
  readonly sentence: string
  readonly open: boolean
}

const iso = (ms: number): string => new Date(ms).toISOString()

/** The finding without what it rests on. */
export function viewFinding({ code, fromMs, toMs, severity, score, sentence, isOpen }: Finding): FindingView {
  const { snomed } = findingKinds[code]
  return {
    ...{ code, ...(snomed === undefined ? {} : { snomed }), from: iso(fromMs), to: iso(toMs) },
    ...{ severity, score, sentence, open: isOpen },
  }
}
