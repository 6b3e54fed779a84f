/** The first screen: what was checked, what was found, and what was not checked. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import type { Live } from '../frame/live.ts'
import { messageFor, NoSuchPlace, Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import { AuditResult } from './audit-report.tsx'
import { AuditRun, WatchCard } from './audit-run.tsx'
import type { Audit, AuditSummary, Audits } from './model.ts'
import { count, secondsWords } from './words.ts'

const heads = { clean: 'good', findings: 'bad' } as const

/** The answer, in a line. */
function Verdict(props: { last: AuditSummary | undefined; isRunning: boolean }): JSX.Element {
  const { last, isRunning } = props
  if (last === undefined) {
    return (
      <div class="verdict">
        <h1>{t(isRunning ? 'auditor.verdict.first' : 'auditor.verdict.never')}</h1>
        <p class="soft">{t('auditor.verdict.never.words')}</p>
      </div>
    )
  }
  const isDone = last.outcome === 'clean' || last.outcome === 'findings'
  const { chains } = last
  const parts = [
    formatAgo(last.ended ?? last.started),
    ...(chains === null
      ? []
      : [t('auditor.reached', { userchain: count(chains.userchain.size), docchain: count(chains.docchain.size) })]),
    t('auditor.by', { by: last.by }),
    ...(last.transactions === null ? [] : [t('auditor.transactions', { count: last.transactions })]),
    ...(last.seconds === null ? [] : [t('auditor.took', { time: secondsWords(last.seconds) })]),
  ]
  return (
    <div class={`verdict ${isDone ? heads[last.outcome as 'clean' | 'findings'] : 'late'}`}>
      <h1>
        {t(`auditor.verdict.${last.outcome as Exclude<AuditSummary['outcome'], 'running'>}`, { count: last.findings })}
      </h1>
      <p>{parts.join(' · ')}</p>
      {last.reason !== null && <p lang="en">{last.reason}</p>}
    </div>
  )
}

function History(props: { first: Audits }): JSX.Element {
  const [more, setMore] = useState<readonly AuditSummary[]>([])
  const [next, setNext] = useState(props.first.next)
  const [error, setError] = useState<string>()
  const shown = new Map([...more, ...props.first.audits].map((audit) => [audit.number, audit]))
  const list = [...shown.values()].sort((a, b) => b.number - a.number)
  const load = async (): Promise<void> => {
    setError(undefined)
    try {
      const page = await call<Audits>(`/v1/audits?before=${next}`)
      setMore([...more, ...page.audits])
      setNext(page.next)
    } catch (cause) {
      setError(messageFor(cause))
    }
  }
  return (
    <section class="card" aria-label={t('auditor.history')}>
      <h2>{t('auditor.history')}</h2>
      <ul class="plain history">
        {list.map((audit) => (
          <li key={audit.number}>
            <a href={hrefOf(['audits', String(audit.number)])}>
              {t(audit.kind === 'watch' ? 'auditor.history.watch' : 'auditor.history.audit', { number: audit.number })}
            </a>
            <span>{formatMoment(audit.started)}</span>
            <span>{t('auditor.by', { by: audit.by })}</span>
            <span class={`tag ${audit.outcome === 'clean' ? 'good' : audit.outcome === 'findings' ? 'bad' : ''}`}>
              {t(`auditor.outcome.${audit.outcome}`, { count: audit.findings })}
            </span>
          </li>
        ))}
      </ul>
      {next !== null && (
        <button type="button" onClick={() => void load()}>
          {t('auditor.more')}
        </button>
      )}
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
    </section>
  )
}

/** The newest audit that has ended, whole. */
function LastResult(props: { number: number; live: Live }): JSX.Element {
  const audit = useResource<Audit>(`/v1/audits/${props.number}`, { live: props.live, on: [] })
  return <Shown resource={audit}>{(value) => <AuditResult audit={value} />}</Shown>
}

/** The audit screen. */
export function AuditScreen(props: { live: Live }): JSX.Element {
  const { live } = props
  const resource = useResource<Audits>('/v1/audits', { live, on: ['audit'], everyMs: 15_000 })
  return (
    <Shown resource={resource}>
      {(audits) => {
        const last = audits.audits.find(({ kind, outcome }) => kind === 'audit' && outcome !== 'running')
        return (
          <>
            <Verdict last={last} isRunning={audits.running !== null} />
            <AuditRun audits={audits} onChanged={resource.reload} />
            {last !== undefined && <LastResult number={last.number} live={live} />}
            <WatchCard watch={audits.watch} onChanged={resource.reload} />
            {audits.audits.length > 0 && <History first={audits} />}
          </>
        )
      }}
    </Shown>
  )
}

/** One audit of the past, or the one that runs. */
export function AuditPage(props: { number: string; live: Live }): JSX.Element {
  const isNumber = /^[1-9]\d{0,9}$/.test(props.number)
  const audit = useResource<Audit>(isNumber ? `/v1/audits/${props.number}` : undefined, {
    ...{ live: props.live, on: ['audit'] },
  })
  if (!isNumber) return <NoSuchPlace />
  return (
    <Shown resource={audit}>
      {(value) => (
        <>
          <p>
            <a href={hrefOf([])}>{t('auditor.back.audits')}</a>
          </p>
          <div class="verdict">
            <h1>
              {t(value.kind === 'watch' ? 'auditor.history.watch' : 'auditor.history.audit', { number: value.number })}
            </h1>
            <p>
              {[
                t(`auditor.outcome.${value.outcome}`, {
                  count: count(value.report?.findings.length ?? value.findings.length),
                }),
                formatMoment(value.started),
                t('auditor.by', { by: value.by }),
                t(value.isFromBeginning ? 'auditor.frombeginning' : 'auditor.wenton'),
              ].join(' · ')}
            </p>
            {value.reason !== null && <p lang="en">{value.reason}</p>}
          </div>
          <AuditResult audit={value} />
        </>
      )}
    </Shown>
  )
}
