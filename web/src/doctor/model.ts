/** What the doctor node tells (services/doctor-node SPEC.md §1). Moments are ISO 8601, ids lower-case hex. */

/** How urgent something is, the least urgent first. */
export const severities = ['info', 'low', 'medium', 'high', 'critical'] as const
/** A severity. */
export type Severity = (typeof severities)[number]

/** An alarm and what somebody did about it. */
export interface Alarm {
  readonly id: number
  readonly patient: string
  readonly code: string
  /** The stream that is silent or has a gap; null for what a finding says. */
  readonly stream: string | null
  /** What was found, in the program's own sentence; null where it is not known, and for what no finding is about. */
  readonly sentence: string | null
  readonly severity: Severity
  readonly from: string
  readonly toldAt: string
  readonly endedAt: string | null
  readonly acknowledgedAt: string | null
  readonly acknowledgedBy: string | null
  readonly escalatedAt: string | null
  readonly escalatedBy: string | null
  readonly snoozedUntil: string | null
  readonly snoozedBy: string | null
}

/** A stream of a patient; times are there once something was read. */
export interface StreamSummary {
  readonly stream: string
  readonly kind: string
  readonly firstAt?: string
  readonly lastAt?: string
}

/** A patient as the list has her. */
export interface PatientSummary {
  readonly patient: string
  readonly petname?: string
  readonly state: 'live' | 'suspended' | 'expired' | 'ended'
  readonly streams: readonly StreamSummary[]
  readonly openAlarms: number
  readonly unsigned: number
}

/** A finding of a diagnosis. */
export interface FindingView {
  readonly code: string
  readonly from: string
  readonly to: string
  readonly severity: Severity
  readonly sentence: string
  readonly open: boolean
  readonly evidence: readonly {
    readonly stream: string
    readonly sequence: number
    readonly from: string
    readonly to: string
  }[]
}

/** What was said of a diagnosis afterwards. */
export interface Amendment {
  readonly transactionId: string
  readonly act: 'sign' | 'correct' | 'withdraw'
  readonly at: string
  readonly status: string
  readonly text?: string
}

/** A diagnosis of this doctor. */
export interface Diagnosis {
  readonly transactionId: string
  readonly patient: string
  readonly doctor: string
  readonly at: string
  readonly algorithm: string
  readonly in: readonly { readonly stream: string; readonly from: number; readonly to: number }[]
  readonly findings: readonly FindingView[]
  readonly text?: string
  readonly status: 'pending' | 'preliminary' | 'signed' | 'corrected' | 'withdrawn' | 'not recorded'
  readonly note?: string
  readonly refused?: { readonly rule: string; readonly height: number }
  readonly amendments: readonly Amendment[]
}

/** Records that were granted and cannot be read. */
export interface Unread {
  readonly patient: string
  readonly stream: string
  readonly from: number
  readonly to: number
  readonly firstAt: string
  readonly lastAt: string
  readonly state: 'waiting' | 'unreadable' | 'gap'
  readonly reason?: string
}

/** What did not open at all. */
export interface Quarantined {
  readonly what: string
  readonly reference: string
  readonly reason: string
  readonly at: string
}

/** One column of the early-warning chart. */
export interface News2Column {
  readonly at: number
  readonly total: number | null
  readonly risk: 'low' | 'low-medium' | 'medium' | 'high' | null
  readonly points: Readonly<Record<string, number>>
  readonly values: Readonly<Record<string, number | string | boolean>>
  readonly missing: readonly string[]
}

/** Medians of minutes, and NEWS2. */
export interface Trends {
  readonly from: number
  readonly to: number
  readonly signs: Readonly<Record<string, readonly (readonly [number, number])[]>>
  readonly heartRate: readonly (readonly [number, number])[]
  readonly news2: readonly News2Column[]
  readonly isPartial: boolean
}

/** Types of events that the node sends. */
export const eventTypes = ['grant', 'reading', 'alarm', 'diagnosis', 'refused', 'unreadable'] as const
