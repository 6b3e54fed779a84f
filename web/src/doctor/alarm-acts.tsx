/** What can be done about an alarm: one act at a time for each, with a word of what was done and a way back. */
import type { JSX } from 'preact'
import { useCallback, useRef, useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { Dialog } from '../frame/dialog.tsx'
import { messageFor } from '../frame/notice.tsx'
import type { Resource } from '../frame/resource.ts'
import { t } from '../frame/texts.ts'
import type { Alarm } from './model.ts'

/** What can be done about an alarm. */
export type AlarmAct = 'acknowledge' | 'escalate' | 'snooze' | 'reopen'

/** An alarm in words: what it is about, and whose it is. */
export interface AlarmWords {
  readonly what: string
  readonly name: string
}

/** Acts on the alarms of a screen. */
export interface AlarmActs {
  /** Ids of alarms that something is being done about. */
  readonly busy: ReadonlySet<number>
  /** Does it; a snooze asks for how long first. Nothing without an alarm. A stable function. */
  readonly begin: (alarm: Alarm | undefined, act: AlarmAct) => void
  /** Says that nothing was done, for this alarm took another's place just now. */
  readonly hold: () => void
  /** Takes the last act back, also one that is still on its way. */
  readonly undo: () => void
  /** What was done or went wrong, and what is asked. */
  readonly notices: JSX.Element
}

/** Asks for how long; a critical alarm is not put off for long. */
function SnoozeDialog(props: {
  alarm: Alarm
  words: AlarmWords
  onChoose: (minutes: number) => void
  onClose: () => void
}): JSX.Element {
  const { alarm, words, onChoose, onClose } = props
  const choices = alarm.severity === 'critical' ? [5, 15] : [5, 15, 30, 60, 120]
  return (
    <Dialog title={t('doctor.snooze.title')} onClose={onClose}>
      <p>{t('doctor.snooze.body', { ...words })}</p>
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

/** What was done; `late`: somebody else had the alarm in hand already. */
type DoneAct = AlarmAct | 'undo' | 'late'

function isOwn(act: DoneAct): act is 'acknowledge' | 'escalate' | 'snooze' {
  return act === 'acknowledge' || act === 'escalate' || act === 'snooze'
}

/** An alarm after an act, and which one that was. */
interface Doing {
  readonly alarm: Alarm
  readonly act: DoneAct
}

/** What was done last, with its way back. */
function Done(props: { done: Doing; words: AlarmWords; onUndo: () => void }): JSX.Element {
  const { act, alarm } = props.done
  return (
    <p class="notice good row" role="status">
      <span>{t(`doctor.done.${act}`, { ...props.words, who: alarm.acknowledgedBy ?? '' })}</span>
      {isOwn(act) && (
        <button type="button" class="link" onClick={props.onUndo}>
          {t('doctor.undo')}
        </button>
      )}
    </p>
  )
}

/** What an act is sent as: a snooze with its minutes, an undo with what it takes back. */
interface Sent {
  readonly minutes?: number
  readonly act?: AlarmAct
}

/** Acts of a doctor on a screen's alarms, which it says in its words. */
export function useAlarmActs(
  doctor: string,
  alarms: Resource<readonly Alarm[]>,
  wordsOf: (alarm: Alarm) => AlarmWords,
): AlarmActs {
  const [busy, setBusy] = useState<ReadonlySet<number>>(new Set())
  const [done, setDone] = useState<Doing>()
  const [error, setError] = useState<string>()
  const [snoozing, setSnoozing] = useState<Alarm>()
  const running = useRef(new Set<number>())
  const last = useRef<Promise<Doing | undefined>>(Promise.resolve(undefined))
  const send = async (alarm: Alarm, what: AlarmAct | 'undo', body: Sent): Promise<Doing | undefined> => {
    try {
      const sent = Object.keys(body).length === 0 ? {} : { body }
      const now = await call<Alarm>(`/v1/alarms/${alarm.id}/${what}`, { method: 'POST', ...sent })
      const doing = {
        alarm: now,
        act: what === 'acknowledge' && now.acknowledgedBy !== doctor ? 'late' : what,
      } as const
      setDone(doing)
      return doing
    } catch (cause) {
      setError(messageFor(cause))
      return undefined
    } finally {
      running.current.delete(alarm.id)
      setBusy(new Set(running.current))
    }
  }
  const act = async (alarm: Alarm, what: AlarmAct | 'undo', body: Sent = {}): Promise<void> => {
    if (running.current.has(alarm.id)) return
    running.current.add(alarm.id)
    setBusy(new Set(running.current))
    setError(undefined)
    const before = last.current
    const sending = send(alarm, what, body)
    // What failed was not done: what was done before it is the last act then.
    last.current = sending.then((doing) => doing ?? before)
    await sending
    // Refused or not: what is shown may be older than what somebody else did.
    await alarms.reload()
  }
  const latest = useRef(act)
  latest.current = act
  const begin = useCallback((alarm: Alarm | undefined, what: AlarmAct) => {
    if (alarm !== undefined && what === 'snooze') setSnoozing(alarm)
    else if (alarm !== undefined) void latest.current(alarm, what)
  }, [])
  // One's own act, and nothing that somebody else did to the alarm since.
  const takeBack = (doing: Doing | undefined): void => {
    if (doing !== undefined && isOwn(doing.act)) void latest.current(doing.alarm, 'undo', { act: doing.act })
  }
  // The key means the act before it, which the node may not have answered yet: not the one that is still shown.
  const undo = (): void => void last.current.then(takeBack)
  const notices = (
    <>
      {done !== undefined && <Done done={done} words={wordsOf(done.alarm)} onUndo={() => takeBack(done)} />}
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      {snoozing !== undefined && (
        <SnoozeDialog
          alarm={snoozing}
          words={wordsOf(snoozing)}
          onClose={() => setSnoozing(undefined)}
          onChoose={(minutes) => {
            void act(snoozing, 'snooze', { minutes })
            setSnoozing(undefined)
          }}
        />
      )}
    </>
  )
  const hold = (): void => setError(t('doctor.justcame'))
  return { busy, begin, hold, undo, notices }
}
