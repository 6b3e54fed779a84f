/** An alarm, with the button that says that it was seen. */
import type { JSX } from 'preact'
import { Failure, useAct } from '../frame/act.tsx'
import { call } from '../frame/api.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import type { Alarm } from './model.ts'
import { usePatient } from './node.ts'
import { findingName, severityName } from './words.ts'

/** The code of an alarm about somebody who fetched without access; it is about that account. */
export const lookAlarmCode = 'look.ungranted'

/** Alarms about keys and devices that somebody else used: what they mean, and where she does something about it. */
const advised = {
  'keys.foreign': { words: 'patient.alarm.keysForeign', place: 'safety', link: 'patient.key.title' },
  'keys.replaced': { words: 'patient.alarm.keysReplaced', place: 'safety', link: 'patient.key.title' },
  'device.foreign': { words: 'patient.alarm.deviceForeign', place: 'devices', link: 'patient.devices' },
} as const

function isAdvised(code: string): code is keyof typeof advised {
  return Object.hasOwn(advised, code)
}

function Advice(props: { code: string }): JSX.Element | null {
  if (!isAdvised(props.code)) return null
  const { words, place, link } = advised[props.code]
  return (
    <p>
      {t(words)} <a href={hrefOf([place])}>{t(link)}</a>
    </p>
  )
}

/** How urgent something is. */
export function SeverityTag(props: { severity: string }): JSX.Element {
  return <span class={`tag severity ${props.severity}`}>{severityName(props.severity)}</span>
}

/** One alarm of a list. */
export function AlarmRow(props: { alarm: Alarm; onSeen: () => Promise<void> }): JSX.Element {
  const { base, nameOf } = usePatient()
  const { alarm, onSeen } = props
  const { isBusy, error, act } = useAct(async () => {
    await call(`${base}/alarms/${alarm.id}/acknowledge`, { method: 'POST', body: {} })
    await onSeen()
  })
  const isLook = alarm.code === lookAlarmCode
  const name = findingName(alarm.code)
  return (
    <li class="row alarm">
      <div>
        <SeverityTag severity={alarm.severity} /> <strong>{name}</strong>
        {isLook && (
          <p>
            {t('patient.looks.alarm', { name: nameOf(alarm.about ?? '') })}{' '}
            <a href={hrefOf(['looks', alarm.about ?? ''])}>{t('patient.looks.which')}</a>
          </p>
        )}
        <Advice code={alarm.code} />
        <p class="soft">
          {formatMoment(alarm.at)} ({formatAgo(alarm.at)})
          {alarm.endedAt !== null && !isLook && ` · ${t('patient.alarm.over')}`}
        </p>
        <Failure error={error} />
      </div>
      <button type="button" onClick={() => void act()} aria-disabled={isBusy}>
        {t('patient.alarm.seen')}
        <span class="hidden">: {name}</span>
      </button>
    </li>
  )
}
