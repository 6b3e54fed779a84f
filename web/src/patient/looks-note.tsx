/** What a look is about, and how far the list of looks can be trusted. */
import type { JSX } from 'preact'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import type { Lookers } from './model.ts'
import { streamName } from './words.ts'

/** "Heart (ECG)", "A finding". */
export function lookedAt(kind: string): string {
  if (kind === 'finding' || kind === 'other') return t(`patient.looks.kind.${kind}`)
  return streamName(kind)
}

/** Where this comes from, how old it is, and what it cannot show. */
export function LooksNote(props: { lookers: Lookers | undefined; isEverybody?: boolean }): JSX.Element {
  const { asOf, unreachable } = props.lookers ?? { asOf: null, unreachable: 0 }
  return (
    <p class="soft small">
      {t('patient.looks.honest')} {asOf !== null && t('patient.looks.asOf', { ago: formatAgo(asOf) })}{' '}
      {unreachable > 0 && t('patient.looks.unreachable', { count: unreachable })}{' '}
      {props.isEverybody !== true && <a href={hrefOf(['looks'])}>{t('patient.looks.everybody')}</a>}
    </p>
  )
}
