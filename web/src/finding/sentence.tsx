/** The sentence of a finding, and the one that is on record where it is another. */
import './finding.css'
import type { JSX } from 'preact'
import { t } from '../frame/texts.ts'
import { saidFinding } from './said.ts'

/** In the reader's language; what was signed is a step away, on paper beside it. */
export function FindingSentence(props: { code: string; sentence: string; isPrinted?: boolean }): JSX.Element {
  const { code, sentence, isPrinted = false } = props
  const said = saidFinding(code, sentence)
  if (said === undefined) return <p lang="en">{sentence}</p>
  if (said === sentence) return <p>{said}</p>
  return (
    <>
      <p>{said}</p>
      {isPrinted ? (
        <p class="soft">
          {t('finding.aswritten')}: <span lang="en">{sentence}</span>
        </p>
      ) : (
        <details class="as-written soft">
          <summary>{t('finding.aswritten')}</summary>
          <p lang="en">{sentence}</p>
        </details>
      )}
    </>
  )
}
