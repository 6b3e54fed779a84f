/** An access that is being thought about. It outlives a session that ended in the middle, in this page and for the same person only. */
import type { Contact } from './model.ts'

/** What is chosen so far. */
export interface Draft {
  readonly contact: Contact | undefined
  readonly petname: string
  readonly isCompared: boolean
  readonly streams: readonly string[]
  readonly past: 'none' | 'day' | 'month' | 'all'
  readonly end: 'never' | 'day' | 'month' | 'year'
  readonly purpose: number
}

const empty: Draft = {
  ...{ contact: undefined, petname: '', isCompared: false, streams: ['ecg', 'vitals'] },
  ...{ past: 'none', end: 'month', purpose: 1 },
}
const drafts = new Map<string, Draft>()
const dayMs = 86_400_000
const pastMs = { none: 0, day: dayMs, month: 30 * dayMs } as const
const endMs = { day: dayMs, month: 30 * dayMs, year: 365 * dayMs } as const

/** The draft of a person. */
export function draftOf(person: string): Draft {
  return drafts.get(person) ?? empty
}

/** Keeps it. */
export function keepDraft(person: string, draft: Draft): void {
  drafts.set(person, draft)
}

/** It was done, or given up. */
export function dropDraft(person: string): void {
  drafts.delete(person)
}

/** The window in Unix ms; without `until` it has no end. */
export function windowOf({ past, end }: Draft, nowMs: number): { from: number; until?: number } {
  return {
    from: past === 'all' ? 0 : nowMs - pastMs[past],
    ...(end === 'never' ? {} : { until: nowMs + endMs[end] }),
  }
}
