/** Words for what is missing, late or wrong. */
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { ApiError } from './api.ts'
import type { Live, LiveState } from './live.ts'
import type { Resource } from './resource.ts'
import { SaidError } from './said-error.ts'
import { currentLanguage, type TextKey, t } from './texts.ts'
import { formatAgo } from './time.ts'

/** What was typed into a field that the node does not take, by the last part of its place in the request; undefined for what nobody typed. */
function typedField(field: unknown): string | undefined {
  const key = `error.field.${String(field).split(/[/.]/).at(-1)}` as TextKey
  const text = t(key)
  return text === key ? undefined : text
}

/**
 * Words for anything thrown. What has a code is told in the reader's language; what none of ours has words for, in the node's own.
 */
export function messageFor(error: unknown): string {
  if (error instanceof ApiError) {
    const { field } = error.problem
    const typed = error.code === 'ERR_REQUEST_INVALID' ? typedField(field) : undefined
    if (typed !== undefined) return t('error.invalid', { what: typed })
    for (const key of [`error.${error.code}.${String(field)}`, `error.${error.code}`]) {
      const text = t(key as TextKey)
      if (text !== key) return text
    }
  }
  if (error instanceof SaidError) return error.message
  const words = error instanceof Error ? error.message : String(error)
  if (currentLanguage() === 'en') return words
  return t(error instanceof ApiError ? 'error.other' : 'error.program', { words })
}

/** The whole screen of an address at which there is nothing. */
export function NoSuchPlace(): JSX.Element {
  return (
    <div class="empty">
      <h1>{t('place.unknown')}</h1>
    </div>
  )
}

/** What did not work, and the way to try it again. */
export function Failed(props: { words: string; onRetry: () => void }): JSX.Element {
  return (
    <div class="notice bad" role="alert">
      <p>{props.words}</p>
      <button type="button" onClick={props.onRetry}>
        {t('retry')}
      </button>
    </div>
  )
}

/** Shows a resource: what is there, else why not, never a spinner without an end. */
export function Shown<T>(props: {
  resource: Resource<T>
  /** What to say when there is nothing. */
  empty?: ComponentChildren
  isEmpty?: (value: T) => boolean
  children: (value: T) => ComponentChildren
}): JSX.Element {
  const { value, error, isLoading, reload } = props.resource
  if (value === undefined && error !== undefined) {
    return <Failed words={messageFor(error)} onRetry={() => void reload()} />
  }
  if (value === undefined) return <p class="waiting">{isLoading ? t('loading') : ''}</p>
  const old = error !== undefined && props.resource.atMs !== undefined
  return (
    <>
      {old && (
        <p class="notice late" role="status">
          {t('stale', { ago: formatAgo(props.resource.atMs as number) })}
        </p>
      )}
      {props.isEmpty?.(value) === true ? <div class="empty">{props.empty}</div> : props.children(value)}
    </>
  )
}

/** A banner while the line to the node is down, with the age of what is shown. */
export function StaleBanner(props: { live: Live }): JSX.Element | null {
  const [state, setState] = useState<LiveState>()
  const [, setNow] = useState(0)
  useEffect(() => props.live.watch(setState), [props.live])
  const isAway = state !== undefined && !state.isConnected
  useEffect(() => {
    if (!isAway) return undefined
    const timer = setInterval(() => setNow((count) => count + 1), 1_000)
    return () => clearInterval(timer)
  }, [isAway])
  if (!isAway) return null
  return (
    <p class="banner late" role="status">
      {t('stale', { ago: formatAgo(state.heardAtMs) })} {t('stale.retrying')}
    </p>
  )
}
