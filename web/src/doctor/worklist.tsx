/** The first screen: who needs me first. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useRef } from 'preact/hooks'
import type { Live } from '../frame/live.ts'
import { Shown } from '../frame/notice.tsx'
import { useNow } from '../frame/now.ts'
import type { Resource } from '../frame/resource.ts'
import { go } from '../frame/router.ts'
import { useRows } from '../frame/rows.ts'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import { type AlarmAct, useAlarmActs } from './alarm-acts.tsx'
import { AlarmRow, placeOf } from './alarm-row.tsx'
import { useKeys } from './keys.ts'
import { KeysLine } from './keys-line.tsx'
import type { Alarm, PatientSummary } from './model.ts'
import { NotifyButton } from './notify.tsx'
import { inOrder, stateOf } from './order.ts'
import { alarmName, kindsOf, NotADevice, patientText, petnamesOf } from './words.tsx'

/** Rows of the list that are drawn at once; more on request, so many a frame. */
const drawn = { first: 100, eachFrame: 60 }

/** Where in a list the reader stands: with the focus, else where it was last. Acts are done to the row that has it, and to no other. */
function usePosition(ordered: readonly Alarm[]): {
  list: { current: HTMLOListElement | null }
  /** Goes some rows on; the first time to the first one. */
  move: (rows: number) => void
  /** The row that has the focus; when none has, it is given to one first, and nothing else happens. */
  chosen: () => Alarm | undefined
  /** Something is being done about this one: when it leaves its place for that, the focus goes to the one that came after it. A stable function. */
  actsOn: (alarm: Alarm) => void
} {
  const list = useRef<HTMLOListElement>(null)
  const last = useRef<number>(undefined)
  const acted = useRef<{ readonly id: number; readonly nextId: number | undefined }>(undefined)
  const latest = useRef(ordered)
  latest.current = ordered
  const placeOfId = (id: number | undefined): number => latest.current.findIndex((one) => one.id === id)
  const focus = (index: number): void => {
    const place = Math.min(ordered.length - 1, Math.max(0, index))
    const alarm = ordered[place]
    if (alarm === undefined) return
    last.current = place
    const link = list.current?.querySelector<HTMLElement>(`[data-alarm="${alarm.id}"]`)
    link?.focus()
    link?.scrollIntoView({ block: 'nearest' })
  }
  const focused = (): number => {
    const row = document.activeElement?.closest('.alarm')?.querySelector<HTMLElement>('[data-alarm]')
    const place = placeOfId(Number(row?.dataset.alarm))
    if (place >= 0) last.current = place
    return place
  }
  const order = ordered.map(({ id }) => id).join(' ')
  useEffect(() => {
    // What others did moves the focus nowhere: a key that was meant for one row would be done to another.
    if (acted.current === undefined) return
    const { id, nextId } = acted.current
    const place = placeOfId(id)
    if (place >= 0 && ordered[place + 1]?.id === nextId) return
    acted.current = undefined
    const { activeElement, body } = document
    if (activeElement !== body && list.current?.contains(activeElement) !== true) return
    const next = placeOfId(nextId)
    focus(next >= 0 ? next : ordered.length - 1)
  }, [order])
  const actsOn = useCallback((alarm: Alarm) => {
    const place = placeOfId(alarm.id)
    acted.current = { id: alarm.id, nextId: latest.current[place + 1]?.id }
  }, [])
  return {
    ...{ list, actsOn },
    move: (rows) => {
      const place = focused()
      focus(place >= 0 ? place + rows : (last.current ?? 0))
    },
    chosen: () => {
      const place = focused()
      if (place < 0) focus(last.current ?? 0)
      return ordered[place]
    },
  }
}

/** The list, moved through with the keyboard. */
export function Worklist(props: {
  doctor: string
  live: Live
  alarms: Resource<readonly Alarm[]>
  patients: Resource<readonly PatientSummary[]>
}): JSX.Element {
  const { doctor, live, alarms, patients } = props
  const nowMs = useNow()
  const names = petnamesOf(patients.value)
  const ordered = inOrder(alarms.value ?? [], nowMs)
  const { shown, more } = useRows(ordered.length, drawn)
  const kinds = kindsOf(patients.value ?? [])
  const closed = new Set(patients.value?.filter(({ state }) => state !== 'live').map(({ patient }) => patient))
  const { busy, begin, undo, notices } = useAlarmActs(doctor, alarms, (alarm) => ({
    what: alarmName(alarm, kinds),
    name: patientText(alarm.patient, names.get(alarm.patient)),
  }))
  const { list, move, chosen, actsOn } = usePosition(ordered)
  const act = useCallback(
    (alarm: Alarm | undefined, what: AlarmAct) => {
      if (alarm !== undefined) actsOn(alarm)
      begin(alarm, what)
    },
    [actsOn, begin],
  )
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    a: () => act(chosen(), 'acknowledge'),
    e: () => act(chosen(), 'escalate'),
    s: () => act(chosen(), 'snooze'),
    u: undo,
    Enter: () => {
      const alarm = chosen()
      if (alarm !== undefined) go(...placeOf(alarm))
    },
  })
  return (
    <>
      <div class="row screen-head">
        <h1>{t('doctor.worklist')}</h1>
        <NotifyButton live={live} />
      </div>
      {notices}
      <Shown resource={alarms} isEmpty={(value) => value.length === 0} empty={<Nothing patients={patients.value} />}>
        {() => (
          <>
            <ol class="worklist" ref={list}>
              {ordered.slice(0, shown).map((alarm) => (
                <AlarmRow
                  key={alarm.id}
                  {...{ alarm, what: alarmName(alarm, kinds), petname: names.get(alarm.patient), isNamed: true }}
                  isClosed={closed.has(alarm.patient)}
                  {...{ state: stateOf(alarm, nowMs), ago: formatAgo(alarm.from, nowMs) }}
                  {...{ isBusy: busy.has(alarm.id), onAct: act }}
                />
              ))}
            </ol>
            {ordered.length > shown && (
              <button type="button" onClick={() => more()}>
                {t('doctor.more', { count: ordered.length - shown })}
              </button>
            )}
            <KeysLine words="doctor.keys" />
          </>
        )}
      </Shown>
      <NotADevice />
    </>
  )
}

/** Nothing waits: either all is quiet, or nobody gave access yet. */
function Nothing(props: { patients: readonly PatientSummary[] | undefined }): JSX.Element {
  // Until they are here nobody knows how many there are.
  const count = props.patients?.filter(({ state }) => state === 'live').length
  return (
    <>
      <p class="quiet">{t('doctor.quiet')}</p>
      {count !== undefined && <p>{count === 0 ? t('doctor.quiet.nobody') : t('doctor.quiet.watched', { count })}</p>}
    </>
  )
}
