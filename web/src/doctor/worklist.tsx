/** The first screen: who needs me first. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { Dialog } from '../frame/dialog.tsx'
import type { Live } from '../frame/live.ts'
import { memo } from '../frame/memo.ts'
import { messageFor, Shown } from '../frame/notice.tsx'
import type { Resource } from '../frame/resource.ts'
import { go, hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatClock } from '../frame/time.ts'
import { useKeys } from './keys.ts'
import type { Alarm, PatientSummary } from './model.ts'
import { NotifyButton } from './notify.tsx'
import { useNow } from './now.ts'
import { type AlarmState, inOrder, stateOf } from './order.ts'
import { findingName, NotADevice, PatientName, patientText, petnamesOf, SeverityTag } from './words.tsx'

type Act = 'acknowledge' | 'escalate' | 'snooze' | 'reopen'

/** Rows that are drawn at once; more on request. */
const rowsFirst = 100

/** Where a patient's page shows an alarm: a few seconds before it began. */
function placeOf(alarm: Alarm): readonly [readonly string[], Readonly<Record<string, string>>] {
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

/** A row; it is drawn again when what it shows has changed, not with every tick of the clock. */
const Row = memo(function drawRow(props: {
  alarm: Alarm
  petname: string | undefined
  state: AlarmState
  /** How long ago it began, in words. */
  ago: string
  isBusy: boolean
  onAct: (alarm: Alarm, act: Act) => void
}): JSX.Element {
  const { alarm, petname, state, ago, isBusy, onAct } = props
  const isTaken = state === 'acknowledged'
  return (
    <li class={`alarm ${alarm.severity} is-${state}`} aria-busy={isBusy}>
      <SeverityTag severity={alarm.severity} />
      <a class="alarm-main" href={hrefOf(...placeOf(alarm))} data-alarm={alarm.id}>
        <PatientName patient={alarm.patient} petname={petname} />
        <span class="alarm-what">{findingName(alarm.code)}</span>
      </a>
      <span class="alarm-when">
        <time dateTime={alarm.from} title={alarm.from}>
          {ago}
        </time>
        {alarm.endedAt !== null && <span class="soft"> · {t('doctor.ended')}</span>}
        <br />
        <StateWords alarm={alarm} state={state} />
      </span>
      <span class="alarm-acts">
        {isTaken ? (
          <button type="button" onClick={() => onAct(alarm, 'reopen')}>
            {t('doctor.reopen')}
          </button>
        ) : (
          <>
            <button type="button" class="primary" onClick={() => onAct(alarm, 'acknowledge')}>
              {t('doctor.acknowledge')}
            </button>
            {state !== 'escalated' && (
              <>
                <button type="button" onClick={() => onAct(alarm, 'escalate')}>
                  {t('doctor.escalate')}
                </button>
                <button type="button" onClick={() => onAct(alarm, 'snooze')}>
                  {t('doctor.snooze')}
                </button>
              </>
            )}
          </>
        )}
      </span>
    </li>
  )
})

/** Asks for how long; a critical alarm is not put off for long. */
function SnoozeDialog(props: {
  alarm: Alarm
  name: string
  onChoose: (minutes: number) => void
  onClose: () => void
}): JSX.Element {
  const { alarm, name, onChoose, onClose } = props
  const choices = alarm.severity === 'critical' ? [5, 15] : [5, 15, 30, 60, 120]
  return (
    <Dialog title={t('doctor.snooze.title')} onClose={onClose}>
      <p>{t('doctor.snooze.body', { what: findingName(alarm.code), name })}</p>
      <div class="row start">
        {choices.map((minutes) => (
          <button key={minutes} type="button" onClick={() => onChoose(minutes)}>
            {t('doctor.minutes', { minutes })}
          </button>
        ))}
      </div>
    </Dialog>
  )
}

/** Acts on alarms: one at a time for each, with a word of what was done and a way back. */
function useActs(alarms: Resource<readonly Alarm[]>): {
  busy: ReadonlySet<number>
  done: { alarm: Alarm; act: Act } | undefined
  error: string | undefined
  act: (alarm: Alarm, act: Act, minutes?: number) => void
} {
  const [busy, setBusy] = useState<ReadonlySet<number>>(new Set())
  const [done, setDone] = useState<{ alarm: Alarm; act: Act }>()
  const [error, setError] = useState<string>()
  const running = useRef(new Set<number>())
  const run = async (alarm: Alarm, act: Act, minutes: number | undefined): Promise<void> => {
    if (running.current.has(alarm.id)) return
    running.current.add(alarm.id)
    setBusy(new Set(running.current))
    setError(undefined)
    try {
      const body = minutes === undefined ? {} : { body: { minutes } }
      await call(`/v1/alarms/${alarm.id}/${act}`, { method: 'POST', ...body })
      setDone({ alarm, act })
      await alarms.reload()
    } catch (cause) {
      setError(messageFor(cause))
    } finally {
      running.current.delete(alarm.id)
      setBusy(new Set(running.current))
    }
  }
  return { busy, done, error, act: (alarm, act, minutes) => void run(alarm, act, minutes) }
}

/** What was done last, with its way back. */
function Done(props: { done: { alarm: Alarm; act: Act }; name: string; onUndo: () => void }): JSX.Element {
  const { alarm, act } = props.done
  return (
    <p class="notice good row" role="status">
      <span>{t(`doctor.done.${act}`, { what: findingName(alarm.code), name: props.name })}</span>
      {act !== 'reopen' && (
        <button type="button" class="link" onClick={props.onUndo}>
          {t('doctor.undo')}
        </button>
      )}
    </p>
  )
}

/** The list, moved through with the keyboard. */
export function Worklist(props: {
  live: Live
  alarms: Resource<readonly Alarm[]>
  patients: Resource<readonly PatientSummary[]>
}): JSX.Element {
  const { live, alarms, patients } = props
  const nowMs = useNow()
  const [rows, setRows] = useState(rowsFirst)
  const [snoozing, setSnoozing] = useState<Alarm>()
  const { busy, done, error, act } = useActs(alarms)
  const list = useRef<HTMLOListElement>(null)
  const selected = useRef<number>(undefined)
  const names = petnamesOf(patients.value)
  const ordered = inOrder(alarms.value ?? [], nowMs)
  const nameOf = (alarm: Alarm): string => patientText(alarm.patient, names.get(alarm.patient))
  const focus = (index: number): void => {
    const alarm = ordered[Math.min(ordered.length - 1, Math.max(0, index))]
    if (alarm === undefined) return
    selected.current = alarm.id
    const link = list.current?.querySelector<HTMLElement>(`[data-alarm="${alarm.id}"]`)
    link?.focus()
    link?.scrollIntoView({ block: 'nearest' })
  }
  const at = (): number => {
    const focused = document.activeElement?.closest('.alarm')?.querySelector<HTMLElement>('[data-alarm]')?.dataset.alarm
    const id = focused === undefined ? selected.current : Number(focused)
    return ordered.findIndex((alarm) => alarm.id === id)
  }
  const begin = (alarm: Alarm | undefined, what: Act): void => {
    if (alarm === undefined) return
    if (what === 'snooze') setSnoozing(alarm)
    else act(alarm, what)
  }
  const latest = useRef(begin)
  latest.current = begin
  const onAct = useCallback((alarm: Alarm, what: Act) => latest.current(alarm, what), [])
  const present = (): Alarm | undefined => ordered[Math.max(0, at())]
  useKeys({
    j: () => focus(at() + 1),
    k: () => focus(at() - 1),
    ArrowDown: () => focus(at() + 1),
    ArrowUp: () => focus(at() - 1),
    a: () => begin(present(), 'acknowledge'),
    e: () => begin(present(), 'escalate'),
    s: () => begin(present(), 'snooze'),
    u: () => done !== undefined && begin(done.alarm, 'reopen'),
    Enter: () => {
      const alarm = present()
      if (alarm !== undefined) go(...placeOf(alarm))
    },
  })
  // The row one stood at may have gone: the next one takes its place.
  useEffect(() => {
    if (selected.current !== undefined && document.activeElement === document.body) focus(Math.max(0, at()))
  }, [alarms.value])
  return (
    <>
      <div class="row screen-head">
        <h1>{t('doctor.worklist')}</h1>
        <NotifyButton live={live} />
      </div>
      {done !== undefined && <Done done={done} name={nameOf(done.alarm)} onUndo={() => act(done.alarm, 'reopen')} />}
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      <Shown resource={alarms} isEmpty={(value) => value.length === 0} empty={<Nothing patients={patients.value} />}>
        {() => (
          <>
            <ol class="worklist" ref={list}>
              {ordered.slice(0, rows).map((alarm) => (
                <Row
                  key={alarm.id}
                  {...{ alarm, onAct, petname: names.get(alarm.patient), isBusy: busy.has(alarm.id) }}
                  {...{ state: stateOf(alarm, nowMs), ago: formatAgo(alarm.from, nowMs) }}
                />
              ))}
            </ol>
            {ordered.length > rows && (
              <button type="button" onClick={() => setRows(ordered.length)}>
                {t('doctor.more', { count: ordered.length - rows })}
              </button>
            )}
            <p class="soft keys">{t('doctor.keys')}</p>
          </>
        )}
      </Shown>
      <NotADevice />
      {snoozing !== undefined && (
        <SnoozeDialog
          alarm={snoozing}
          name={nameOf(snoozing)}
          onClose={() => setSnoozing(undefined)}
          onChoose={(minutes) => {
            act(snoozing, 'snooze', minutes)
            setSnoozing(undefined)
          }}
        />
      )}
    </>
  )
}

/** Nothing waits: either all is quiet, or nobody gave access yet. */
function Nothing(props: { patients: readonly PatientSummary[] | undefined }): JSX.Element {
  const count = props.patients?.filter(({ state }) => state === 'live').length ?? 0
  return (
    <>
      <p class="quiet">{t('doctor.quiet')}</p>
      <p>{count === 0 ? t('doctor.quiet.nobody') : t('doctor.quiet.watched', { count })}</p>
    </>
  )
}
