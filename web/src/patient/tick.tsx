/** What an act does becomes true step by step. */
import type { ComponentChildren, JSX } from 'preact'
import { t } from '../frame/texts.ts'
import { formatInstant } from '../frame/time.ts'

/** Where a step stands. */
export type TickState = 'waiting' | 'checking' | 'true' | 'false'

/** One of them. It is true only when what it says was checked here, or is the word of whom it names. */
export function Tick(props: {
  title: string
  words: string
  at: string | null
  state: TickState
  children: ComponentChildren
}): JSX.Element {
  const { title, words, at, state, children } = props
  const marks = { waiting: '…', checking: '…', true: '✓', false: '!' }
  return (
    <li class={`tick ${state}`} data-state={state}>
      <span class="mark" aria-hidden="true">
        {marks[state]}
      </span>
      <div>
        <div class="row">
          <h2>{title}</h2>
          <span class="soft">{at !== null && state === 'true' ? formatInstant(at) : t(`patient.tick.${state}`)}</span>
        </div>
        <p>{words}</p>
        {children}
      </div>
    </li>
  )
}
