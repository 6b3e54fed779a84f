/** What the node itself does not hear of, or cannot hand on: a screen to which nothing is added looks as calm as one of a quiet night. */
import type { JSX } from 'preact'
import type { Live } from './live.ts'
import { useNow } from './now.ts'
import { useResource } from './resource.ts'
import { t } from './texts.ts'
import { formatAgo, formatMoment } from './time.ts'

interface Standing {
  readonly ledgerAt: string | null
  readonly isLedgerLate: boolean
  /** Doctors: since when readings cannot be fetched. */
  readonly unreadSince?: string | null
  /** Patients: since when readings cannot be stored. */
  readonly unstoredSince?: string | null
}

/** What the stores do not give or take is told after so long: one that restarts is away for less. */
const storesShownMs = 30_000

/** Whose words it says it with; each is under `standing.` and this name. */
type Reader = 'doctor' | 'patient'

/** Says since when nothing new can have come, or nothing gone out, above every screen. `path` answers with a standing. */
export function StandingBanner(props: { live: Live; path: string; reader: Reader }): JSX.Element | null {
  const { live, path, reader } = props
  const nowMs = useNow()
  const { value } = useResource<Standing>(path, { live, on: [], everyMs: 15_000 })
  if (value === undefined) return null
  const words = (name: 'ledger' | 'stores', at: string): string =>
    t(`standing.${reader}.${name}`, { at: formatMoment(at), ago: formatAgo(at, nowMs) })
  const { ledgerAt, isLedgerLate, unreadSince, unstoredSince } = value
  const since = unreadSince ?? unstoredSince ?? null
  let shown: string | undefined
  if (isLedgerLate) shown = ledgerAt === null ? t(`standing.${reader}.ledger.never`) : words('ledger', ledgerAt)
  else if (since !== null && nowMs - Date.parse(since) >= storesShownMs) shown = words('stores', since)
  if (shown === undefined) return null
  return (
    <p class="banner bad" role="alert">
      {shown}
    </p>
  )
}
