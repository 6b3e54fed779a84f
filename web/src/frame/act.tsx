/** Something that a reader does: once, however often it is pressed; what went wrong is said, and what was typed stays. */
import type { ComponentChildren, JSX } from 'preact'
import { useCallback, useRef, useState } from 'preact/hooks'
import { messageFor } from './notice.tsx'
import { t } from './texts.ts'

/** An act and where it stands. */
export interface Act<A extends unknown[]> {
  readonly isBusy: boolean
  readonly error: string | undefined
  /** Does it; while it is done, a second press does nothing. */
  readonly act: (...values: A) => Promise<void>
  /** Says something else, or takes back what was said. */
  readonly setError: (message: string | undefined) => void
}

/** Runs `work` one at a time. What it throws is told in the reader's words. */
export function useAct<A extends unknown[]>(work: (...values: A) => Promise<void> | void): Act<A> {
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<string>()
  const isRunning = useRef(false)
  const act = async (...values: A): Promise<void> => {
    // The state is that of the last drawing: two presses may come before the next one.
    if (isRunning.current) return
    isRunning.current = true
    setBusy(true)
    setError(undefined)
    try {
      await work(...values)
    } catch (cause) {
      setError(messageFor(cause))
    } finally {
      isRunning.current = false
      setBusy(false)
    }
  }
  return { isBusy, error, act, setError: useCallback(setError, []) }
}

/** What went wrong, if anything did. */
export function Failure(props: { error: string | undefined }): JSX.Element | null {
  if (props.error === undefined) return null
  return (
    <p class="notice bad" role="alert">
      {props.error}
    </p>
  )
}

/** A small form with one act. */
export function ActForm(props: {
  action: string
  onAct: (fields: FormData) => Promise<void>
  isDanger?: boolean
  children?: ComponentChildren
}): JSX.Element {
  const { isBusy, error, act } = useAct(props.onAct)
  return (
    <form
      class="act"
      onSubmit={(event) => {
        event.preventDefault()
        void act(new FormData(event.currentTarget))
      }}
    >
      {props.children}
      <Failure error={error} />
      <button type="submit" class={props.isDanger === true ? 'danger' : 'primary'} aria-disabled={isBusy}>
        {isBusy ? t('working') : props.action}
      </button>
    </form>
  )
}

/** The text of a form's field. */
export function textOf(fields: FormData, name: string): string {
  return String(fields.get(name) ?? '').trim()
}
