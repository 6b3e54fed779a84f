/** What waits of one patient, on her own page: who opened an alarm can say there that she takes care of it. */
import type { JSX } from 'preact'
import { useRows } from '../frame/rows.ts'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import type { AlarmActs } from './alarm-acts.tsx'
import { AlarmRow } from './alarm-row.tsx'
import type { Alarm } from './model.ts'
import { stateOf } from './order.ts'
import { alarmName } from './words.tsx'

/** As many as leave the ECG in sight; more on request, so many a frame. */
const drawn = { first: 2, eachFrame: 60 }

/** Her alarms, the most urgent first; nothing where there are none. */
export function PatientAlarms(props: {
  /** Hers alone, in order. */
  alarms: readonly Alarm[]
  kinds: ReadonlyMap<string, string>
  acts: AlarmActs
  nowMs: number
}): JSX.Element {
  const { alarms, kinds, acts, nowMs } = props
  const { shown, more } = useRows(alarms.length, drawn)
  return (
    <>
      {acts.notices}
      {alarms.length > 0 && (
        <section class="patient-alarms" aria-label={t('doctor.alarms')}>
          <ol class="worklist">
            {alarms.slice(0, shown).map((alarm) => (
              <AlarmRow
                key={alarm.id}
                {...{ alarm, what: alarmName(alarm, kinds), petname: undefined, isNamed: false }}
                {...{ state: stateOf(alarm, nowMs), ago: formatAgo(alarm.from, nowMs) }}
                {...{ isBusy: acts.busy.has(alarm.id), onAct: acts.begin }}
              />
            ))}
          </ol>
          {alarms.length > shown && (
            <button type="button" class="link" onClick={() => more()}>
              {t('doctor.more', { count: alarms.length - shown })}
            </button>
          )}
        </section>
      )}
    </>
  )
}
