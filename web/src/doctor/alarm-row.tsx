/** An alarm as a row: on the worklist, and on the page of its patient. */
import type { JSX } from 'preact'
import { saidFinding } from '../finding/said.ts'
import { memo } from '../frame/memo.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatClock, formatMoment } from '../frame/time.ts'
import type { AlarmAct } from './alarm-acts.tsx'
import type { Alarm } from './model.ts'
import type { AlarmState } from './order.ts'
import { PatientName, SeverityTag } from './words.tsx'

/** Where a patient's page shows an alarm: a few seconds before it began. */
export function placeOf(alarm: Alarm): readonly [readonly string[], Readonly<Record<string, string>>] {
  return [['patients', alarm.patient], { at: alarm.from }]
}

/** What somebody did about an alarm, in words. */
function StateWords(props: { alarm: Alarm; state: AlarmState }): JSX.Element | null {
  const { alarm, state } = props
  const who = alarm.acknowledgedBy ?? alarm.escalatedBy ?? alarm.snoozedBy ?? ''
  if (state === 'acknowledged') return <span class="soft">{t('doctor.state.acknowledged', { who })}</span>
  if (state === 'escalated') return <strong class="escalated">{t('doctor.state.escalated', { who })}</strong>
  if (state === 'open') return null
  return <span class="soft">{t('doctor.state.snoozed', { who, until: formatClock(alarm.snoozedUntil ?? 0) })}</span>
}

function Acts(props: { alarm: Alarm; state: AlarmState; onAct: (alarm: Alarm, act: AlarmAct) => void }): JSX.Element {
  const { alarm, state, onAct } = props
  const act = (what: AlarmAct, isFirst = false): JSX.Element => (
    <button type="button" class={isFirst ? 'primary' : ''} onClick={() => onAct(alarm, what)}>
      {t(`doctor.${what}`)}
    </button>
  )
  return (
    <span class="alarm-acts">
      {state === 'acknowledged' && act('reopen')}
      {state !== 'acknowledged' && act('acknowledge', true)}
      {(state === 'open' || state === 'snoozed') && (
        <>
          {act('escalate')}
          {act('snooze')}
        </>
      )}
    </span>
  )
}

/** What was found, with its figures. */
function Says(props: { code: string; sentence: string }): JSX.Element {
  const said = saidFinding(props.code, props.sentence)
  return (
    <span class="alarm-says soft" lang={said === undefined ? 'en' : undefined}>
      {said ?? props.sentence}
    </span>
  )
}

/** A row; it is drawn again when what it shows has changed, not with every tick of the clock. */
export const AlarmRow = memo(function drawRow(props: {
  alarm: Alarm
  /** What it is about, in words. */
  what: string
  petname: string | undefined
  /** False on the patient's own page, where nobody needs to be told whose alarm it is. */
  isNamed: boolean
  /** True where access has ended: nothing of her can be opened any more. */
  isClosed?: boolean
  state: AlarmState
  /** How long ago it began, in words. */
  ago: string
  isBusy: boolean
  onAct: (alarm: Alarm, act: AlarmAct) => void
}): JSX.Element {
  const { alarm, what, petname, isNamed, isClosed = false, state, ago, isBusy, onAct } = props
  return (
    <li class={`alarm ${alarm.severity} is-${state}`} aria-busy={isBusy}>
      <SeverityTag severity={alarm.severity} />
      <a class="alarm-main" href={hrefOf(...placeOf(alarm))} data-alarm={alarm.id}>
        {isNamed && <PatientName patient={alarm.patient} petname={petname} />}
        <span class="alarm-what">
          {what}
          {isClosed && <span class="soft"> · {t('doctor.alarm.closed')}</span>}
        </span>
        {alarm.sentence !== null && <Says code={alarm.code} sentence={alarm.sentence} />}
      </a>
      <span class="alarm-when">
        <time dateTime={alarm.from} title={formatMoment(alarm.from)}>
          {ago}
        </time>
        {alarm.endedAt !== null && <span class="soft"> · {t('doctor.ended')}</span>}
        <br />
        <StateWords alarm={alarm} state={state} />
      </span>
      <Acts alarm={alarm} state={state} onAct={onAct} />
    </li>
  )
})
