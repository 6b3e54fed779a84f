/** What became of a transaction: signed, then on record, or refused and by which rule. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { messageFor } from '../frame/notice.tsx'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { count } from './words.ts'

/** After so long the page says that it is late, and stops asking. */
const waitMs = 60_000
const everyMs = 400

interface Status {
  readonly status: 'unknown' | 'pending' | 'committed' | 'refused' | 'deferred'
  readonly index?: number
  readonly height?: number
  readonly rule?: string
}

/** Follows a transaction of Userchain until it is final. */
export function CommitTicks(props: { id: string; onRecorded?: () => void }): JSX.Element {
  const { id, onRecorded } = props
  const [status, setStatus] = useState<Status>({ status: 'pending' })
  const [isLate, setLate] = useState(false)
  const [error, setError] = useState<string>()
  useEffect(() => {
    const begun = Date.now()
    let timer: ReturnType<typeof setTimeout> | undefined
    let isWanted = true
    const ask = async (): Promise<void> => {
      try {
        const now = await call<Status>(`/v1/userchain/transactions/${id}`, { isBackground: true })
        if (!isWanted) return
        setStatus(now)
        setError(undefined)
        if (now.status === 'committed') onRecorded?.()
        if (now.status === 'committed' || now.status === 'refused') return
      } catch (cause) {
        if (!isWanted) return
        setError(messageFor(cause))
      }
      if (Date.now() - begun > waitMs) setLate(true)
      else timer = setTimeout(() => void ask(), everyMs)
    }
    void ask()
    return () => {
      isWanted = false
      clearTimeout(timer)
    }
  }, [id])
  const isRecorded = status.status === 'committed'
  return (
    <ul class="plain ticks" aria-live="polite">
      <li class="done">{t('auditor.tick.signed')}</li>
      {isRecorded && (
        <li class="done">
          <a href={hrefOf(['explorer', 'userchain', 'entry', String(status.index ?? 0)])}>
            {t('auditor.tick.recorded', { height: count(status.height ?? 0), index: count(status.index ?? 0) })}
          </a>
        </li>
      )}
      {status.status === 'refused' && <li class="failed">{t('auditor.tick.refused', { rule: status.rule ?? '' })}</li>}
      {!isRecorded && status.status !== 'refused' && (
        <li class="open">{isLate ? t('auditor.tick.late') : (error ?? t('auditor.tick.waiting'))}</li>
      )}
    </ul>
  )
}
