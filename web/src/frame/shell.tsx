/** What all portals share: logging in, the head of the page, its places, the idle lock. */
import { type ComponentChildren, Fragment, type JSX, type RefObject, render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Failure, textOf, useAct } from './act.tsx'
import {
  ApiError,
  checkSession,
  clockOffMs,
  logIn,
  logOut,
  onClock,
  onSession,
  onUseElsewhere,
  resumeSession,
  type SessionView,
  tellUse,
} from './api.ts'
import { messageFor } from './notice.tsx'
import { hrefOf, usePlace } from './router.ts'
import { askKey, hasSecurityKeys, type KeyQuestion, namedAddress } from './security-key.ts'
import { currentLanguage, type Language, languages, onLanguage, preferredLanguage, t, useLanguage } from './texts.ts'
import { applyTheme, nextTheme, type Theme, themeChoice } from './theme.ts'
import { formatDuration } from './time.ts'

/** A clock that is off by less disturbs nobody. */
const clockOffShownMs = 60_000

/** A place of the navigation. */
export interface NavigationItem {
  readonly path: readonly string[]
  readonly label: string
  /** A number that matters, for example of open alarms. */
  readonly count?: number
}

/** The code of the app; and where to go with a key that is of no use at this address. */
function CodeAtDoor(props: { input: RefObject<HTMLInputElement | null>; isRequired: boolean }): JSX.Element {
  const named = namedAddress()
  return (
    <>
      <label class="code">
        {t('login.code')}
        <input
          ref={props.input}
          name="code"
          inputMode="numeric"
          autocomplete="one-time-code"
          pattern="\d{6}"
          required={props.isRequired}
        />
      </label>
      {named !== undefined && (
        <p class="soft">
          {t('login.named')} <a href={named}>{named}</a>
        </p>
      )}
    </>
  )
}

/** Name and passphrase; then the second factor, if one is on: a key that is asked at once, or a code. */
function LoginForm(props: { title: string; reason: string | undefined; nameLabel: string }): JSX.Element {
  const [ways, setWays] = useState<{ readonly key: boolean; readonly code: boolean }>({ key: false, code: false })
  const name = useRef<HTMLInputElement>(null)
  const code = useRef<HTMLInputElement>(null)
  useEffect(() => (ways.code ? code : name).current?.focus(), [ways.code])
  const { isBusy, error, act, setError } = useAct<[FormData]>(async (fields): Promise<void> => {
    const login = { name: String(fields.get('name')), passphrase: String(fields.get('passphrase')) }
    try {
      const typed = textOf(fields, 'code')
      await logIn(typed === '' ? login : { ...login, code: typed })
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      if (cause.code === 'ERR_PASSPHRASE_WRONG') return setError(t('login.wrong'))
      if (cause.code !== 'ERR_CODE_NEEDED') throw cause
      const question = cause.problem.keys as KeyQuestion | undefined
      const isKey = question !== undefined && hasSecurityKeys()
      setWays((before) => ({ key: isKey, code: before.code || !isKey }))
      if (isKey) await logIn({ ...login, key: await askKey(question) })
    }
  })
  return (
    <main class="login" id="main">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault()
          void act(new FormData(event.currentTarget))
        }}
      >
        <h1>{props.title}</h1>
        {props.reason !== undefined && (
          <p class="notice late" role="status">
            {props.reason}
          </p>
        )}
        <label>
          {props.nameLabel}
          <input ref={name} name="name" autocomplete="username" required maxLength={128} />
        </label>
        <label>
          {t('login.passphrase')}
          <input name="passphrase" type="password" autocomplete="current-password" required maxLength={1024} />
        </label>
        {ways.code && <CodeAtDoor input={code} isRequired={!ways.key} />}
        <Failure error={error} />
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {isBusy ? t('working') : t('login.submit')}
        </button>
        {ways.key && !ways.code && (
          <button type="button" class="link" onClick={() => setWays({ key: true, code: true })}>
            {t('evidence.use.code')}
          </button>
        )}
      </form>
    </main>
  )
}

function Preferences(props: { id?: string; isOpen?: boolean }): JSX.Element {
  const [theme, setTheme] = useState<Theme>(themeChoice())
  return (
    <div class={props.isOpen === true ? 'preferences open' : 'preferences'} id={props.id}>
      <label>
        <span class="hidden">{t('language')}</span>
        <select
          value={currentLanguage()}
          onChange={(event) => void useLanguage((event.currentTarget as HTMLSelectElement).value as Language)}
        >
          {Object.entries(languages).map(([code, name]) => (
            <option key={code} value={code}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        onClick={() => {
          const next = nextTheme(theme)
          applyTheme(next)
          setTheme(next)
        }}
      >
        {t(`theme.${theme}`)}
      </button>
    </div>
  )
}

/** The reader is warned when no more than this is left. */
const warnedSeconds = 60
/** What is done in one tab is told to the others, and to the node, at most so often. */
const tellUseMs = 5_000
const tellNodeMs = 60_000

/** Two clocks: one may be set back, and the other stands still while a machine sleeps. */
function readClocks(): readonly [number, number] {
  return [Date.now(), performance.now()]
}

/** Ends the session after so long without a key, a click or a touch, in whichever tab. A minute before, it says so. */
function IdleLock(props: { idleSeconds: number }): JSX.Element | null {
  const [left, setLeft] = useState(props.idleSeconds)
  useEffect(() => {
    let last = readClocks()
    let [toldTabsMs, toldNodeMs] = [Number.NEGATIVE_INFINITY, performance.now()]
    const onUse = (): void => {
      last = readClocks()
      const [, nowMs] = last
      if (nowMs - toldTabsMs >= tellUseMs) {
        toldTabsMs = nowMs
        tellUse()
      }
      if (nowMs - toldNodeMs < tellNodeMs) return
      toldNodeMs = nowMs
      // Who writes for a long time asks the node nothing, and is no less there.
      void checkSession(true)
    }
    const kinds = ['pointerdown', 'keydown', 'wheel', 'touchstart'] as const
    for (const kind of kinds) window.addEventListener(kind, onUse, { passive: true })
    const stopElsewhere = onUseElsewhere(() => {
      last = readClocks()
    })
    const timer = setInterval(() => {
      const idleMs = Math.max(...readClocks().map((now, clock) => now - (last[clock] as number)))
      const seconds = props.idleSeconds - Math.floor(idleMs / 1000)
      // Above the warning nothing is drawn, and nothing need be drawn anew.
      setLeft(Math.min(seconds, warnedSeconds + 1))
      if (seconds <= 0) void logOut().catch(() => {})
    }, 1_000)
    return () => {
      for (const kind of kinds) window.removeEventListener(kind, onUse)
      stopElsewhere()
      clearInterval(timer)
    }
  }, [props.idleSeconds])
  if (left > warnedSeconds) return null
  return (
    <p class="banner late" role="alert">
      {t('idle.soon', { seconds: Math.max(0, left) })}
    </p>
  )
}

/** Says so when the reader's clock is off: what she compares with her watch would not fit. */
function ClockBanner(): JSX.Element | null {
  const [offMs, setOff] = useState(clockOffMs())
  useEffect(() => onClock(() => setOff(clockOffMs())), [])
  if (Math.abs(offMs) < clockOffShownMs) return null
  return (
    <p class="banner late" role="status">
      {t(offMs > 0 ? 'clock.slow' : 'clock.fast', { time: formatDuration(Math.abs(offMs)) })}
    </p>
  )
}

/** The page of somebody who is logged in. */
export function Shell(props: {
  session: SessionView
  navigation: readonly NavigationItem[]
  banner?: ComponentChildren
  children: ComponentChildren
}): JSX.Element {
  const { path } = usePlace()
  const [isOpen, setOpen] = useState(false)
  const current = path[0] ?? ''
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        {t('skip')}
      </button>
      <header class="head">
        <a class="brand" href="#/">
          HealthBlock
        </a>
        <nav aria-label={t('navigation')}>
          <ul>
            {props.navigation.map((item) => (
              <li key={item.path.join('/')}>
                <a href={hrefOf(item.path)} aria-current={(item.path[0] ?? '') === current ? 'page' : undefined}>
                  {item.label}
                  {item.count !== undefined && item.count > 0 && <span class="count">{item.count}</span>}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <Preferences id="preferences" isOpen={isOpen} />
        <div class="who">
          <span>
            <bdi>{props.session.name}</bdi>
          </span>
          <button type="button" onClick={() => void logOut().catch(() => {})}>
            {t('logout')}
          </button>
        </div>
        <button
          type="button"
          class="narrow-only"
          aria-expanded={isOpen}
          aria-controls="preferences"
          onClick={() => setOpen(!isOpen)}
        >
          {t('view')}
        </button>
      </header>
      <IdleLock idleSeconds={props.session.idleSeconds} />
      <ClockBanner />
      {props.banner}
      <main id="main" tabIndex={-1}>
        {props.children}
      </main>
    </>
  )
}

function Portal(props: {
  title: () => string
  nameLabel: () => string
  body: (session: SessionView) => JSX.Element
}): JSX.Element | null {
  const [session, setSession] = useState<SessionView | 'asking' | undefined>('asking')
  const [reason, setReason] = useState<string>()
  const [, setTurn] = useState(0)
  useEffect(() => onLanguage(() => setTurn((turn) => turn + 1)), [])
  useEffect(() => {
    resumeSession().then(
      (found) => found === undefined && setSession(undefined),
      (error: unknown) => {
        setReason(messageFor(error))
        setSession(undefined)
      },
    )
    return onSession((found) => {
      setSession((before) => {
        // The end of one session may be told twice: by another tab, and by the node.
        if (found !== undefined) setReason(undefined)
        else if (before !== undefined && before !== 'asking') setReason(t('login.ended'))
        return found
      })
    })
  }, [])
  useEffect(() => {
    document.title = props.title()
  })
  if (session === 'asking') return null
  if (session === undefined) {
    return (
      <>
        <LoginForm title={props.title()} reason={reason} nameLabel={props.nameLabel()} />
        <footer class="login-foot">
          <Preferences />
        </footer>
      </>
    )
  }
  // Nothing that one person began is left for the next one who logs in in another tab.
  return <Fragment key={`${session.role} ${session.name}`}>{props.body(session)}</Fragment>
}

/** Shows a portal: the login, and `body` for who is logged in. */
export async function startPortal(options: {
  title: () => string
  nameLabel: () => string
  body: (session: SessionView) => JSX.Element
}): Promise<void> {
  applyTheme(themeChoice())
  await useLanguage(preferredLanguage()).catch(() => {})
  const page = document.getElementById('page')
  if (page !== null) render(<Portal {...options} />, page)
}
