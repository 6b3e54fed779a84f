/** What the doctor's node itself does not hear of: a worklist that nothing is added to looks as calm as one of a quiet night. */
import type { JSX } from 'preact'
import type { Live } from '../frame/live.ts'
import { useResource } from '../frame/resource.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import { useNow } from './now.ts'

interface Standing {
  readonly ledgerAt: string | null
  readonly isLedgerLate: boolean
  readonly unreadSince: string | null
}

/** Records that cannot be fetched are told after so long: a store that restarts is away for less. */
const unreadShownMs = 30_000

/** Says since when nothing new can have come, above every screen. */
export function StandingBanner(props: { live: Live }): JSX.Element | null {
  const nowMs = useNow()
  const { value } = useResource<Standing>('/v1/standing', { live: props.live, on: [], everyMs: 15_000 })
  if (value === undefined) return null
  const { ledgerAt, isLedgerLate, unreadSince } = value
  if (isLedgerLate)
    return (
      <p class="banner bad" role="alert">
        {ledgerAt === null
          ? t('doctor.standing.ledger.never')
          : t('doctor.standing.ledger', { at: formatMoment(ledgerAt), ago: formatAgo(ledgerAt, nowMs) })}
      </p>
    )
  if (unreadSince === null || nowMs - Date.parse(unreadSince) < unreadShownMs) return null
  return (
    <p class="banner bad" role="alert">
      {t('doctor.standing.unread', { at: formatMoment(unreadSince), ago: formatAgo(unreadSince, nowMs) })}
    </p>
  )
}
