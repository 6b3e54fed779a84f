/** What waits of one patient, on her own page: who opened an alarm can say there that she takes care of it. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import type { AlarmActs } from './alarm-acts.tsx'
import { AlarmRow } from './alarm-row.tsx'
import type { Alarm } from './model.ts'
import { stateOf } from './order.ts'
import { alarmName } from './words.tsx'

/** As many as leave the ECG in sight. */
const shownFirst = 2

/** Her alarms, the most urgent first; nothing where there are none. */
export function PatientAlarms(props: {
  /** Hers alone, in order. */
  alarms: readonly Alarm[]
  kinds: ReadonlyMap<string, string>
  acts: AlarmActs
  nowMs: number
}): JSX.Element {
  const { alarms, kinds, acts, nowMs } = props
  const [isWhole, setWhole] = useState(false)
  const shown = isWhole ? alarms : alarms.slice(0, shownFirst)
  return (
    <>
      {acts.notices}
      {alarms.length > 0 && (
        <section class="patient-alarms" aria-label={t('doctor.alarms')}>
          <ol class="worklist">
            {shown.map((alarm) => (
              <AlarmRow
                key={alarm.id}
                {...{ alarm, what: alarmName(alarm, kinds), petname: undefined, isNamed: false }}
                {...{ state: stateOf(alarm, nowMs), ago: formatAgo(alarm.from, nowMs) }}
                {...{ isBusy: acts.busy.has(alarm.id), onAct: acts.begin }}
              />
            ))}
          </ol>
          {alarms.length > shown.length && (
            <button type="button" class="link" onClick={() => setWhole(true)}>
              {t('doctor.more', { count: alarms.length - shown.length })}
            </button>
          )}
        </section>
      )}
    </>
  )
}
