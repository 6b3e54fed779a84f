import { expect, test } from 'vitest'
import type { Alarm, Severity } from './model.ts'
import { inOrder, stateOf, waitingCount } from './order.ts'

const nowMs = Date.parse('2026-11-27T12:00:00Z')
const ago = (minutes: number): string => new Date(nowMs - minutes * 60_000).toISOString()

function alarmOf(id: number, severity: Severity, minutes: number, more: Partial<Alarm> = {}): Alarm {
  return {
    ...{
      id,
      patient: 'ab',
      code: 'ecg.tachycardia',
      stream: null,
      sentence: null,
      severity,
      from: ago(minutes),
      toldAt: ago(minutes),
      endedAt: null,
    },
    ...{ acknowledgedAt: null, acknowledgedBy: null, escalatedAt: null, escalatedBy: null },
    ...{ snoozedUntil: null, snoozedBy: null, ...more },
  }
}

test('escalated first, then what nobody has in hand, the most severe and then the oldest', () => {
  const alarms = [
    alarmOf(1, 'medium', 5),
    alarmOf(2, 'critical', 1),
    alarmOf(3, 'high', 2),
    alarmOf(4, 'high', 40),
    alarmOf(5, 'critical', 90, { acknowledgedAt: ago(3) }),
    alarmOf(6, 'critical', 9, { snoozedUntil: ago(-5) }),
    alarmOf(7, 'low', 1, { escalatedAt: ago(1) }),
    alarmOf(8, 'high', 10, { snoozedUntil: ago(1) }),
  ]
  expect(inOrder(alarms, nowMs).map(({ id }) => id)).toEqual([7, 2, 4, 8, 3, 1, 6, 5])
  expect(waitingCount(alarms, nowMs)).toBe(6)
})

test('what was put off is back when its time is over, and an acknowledged one stays where it is', () => {
  const alarm = alarmOf(1, 'high', 5, { snoozedUntil: ago(-10) })
  expect(stateOf(alarm, nowMs)).toBe('snoozed')
  expect(stateOf(alarm, nowMs + 600_000)).toBe('open')
  expect(stateOf({ ...alarm, acknowledgedAt: ago(1), escalatedAt: ago(2) }, nowMs)).toBe('acknowledged')
})
