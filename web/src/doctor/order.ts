/** Who comes first (services/doctor-node SPEC.md §5). */
import { type Alarm, severities } from './model.ts'

/** Where an alarm stands. */
export type AlarmState = 'escalated' | 'open' | 'snoozed' | 'acknowledged'

const states: readonly AlarmState[] = ['escalated', 'open', 'snoozed', 'acknowledged']

/** An alarm's state at a moment of the node's clock, Unix ms. */
export function stateOf(alarm: Alarm, nowMs: number): AlarmState {
  if (alarm.acknowledgedAt !== null) return 'acknowledged'
  if (alarm.escalatedAt !== null) return 'escalated'
  if (alarm.snoozedUntil !== null && Date.parse(alarm.snoozedUntil) > nowMs) return 'snoozed'
  return 'open'
}

/** Alarms in the order in which somebody should look at them. */
export function inOrder(alarms: readonly Alarm[], nowMs: number): Alarm[] {
  const rank = (alarm: Alarm): number => states.indexOf(stateOf(alarm, nowMs))
  return alarms.toSorted(
    (a, b) =>
      rank(a) - rank(b) ||
      severities.indexOf(b.severity) - severities.indexOf(a.severity) ||
      Date.parse(a.from) - Date.parse(b.from) ||
      a.id - b.id,
  )
}

/** How many wait for somebody. */
export function waitingCount(alarms: readonly Alarm[], nowMs: number): number {
  return alarms.filter((alarm) => ['escalated', 'open'].includes(stateOf(alarm, nowMs))).length
}
