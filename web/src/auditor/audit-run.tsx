/** Starting an audit, following it, ending it; and the standing watch. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { Failure, useAct } from '../frame/act.tsx'
import { call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import { Findings } from './audit-report.tsx'
import { type Audit, type Audits, type ChainName, chainNames } from './model.ts'
import { chainWords, count, secondsWords } from './words.ts'

function ProgressLine(props: { audit: Audit; chain: ChainName }): JSX.Element {
  const progress = props.audit.progress?.[props.chain]
  const name = chainWords(props.chain)
  if (progress === undefined) {
    return (
      <div class="progress">
        <span>{name}</span>
        <progress aria-label={name} max={1} value={0} />
        <span class="soft">{t('auditor.progress.waiting')}</span>
      </div>
    )
  }
  const { done, total, entriesPerSecond, secondsLeft } = progress
  const percent = total === 0 ? 100 : Math.floor((100 * done) / total)
  const words = [
    `${percent} %`,
    t('auditor.progress.of', { done: count(done), total: count(total) }),
    ...(done < total && entriesPerSecond !== null
      ? [t('auditor.progress.rate', { rate: count(Math.round(entriesPerSecond)) })]
      : []),
    ...(done < total && secondsLeft !== null ? [t('auditor.progress.left', { left: secondsWords(secondsLeft) })] : []),
  ]
  return (
    <div class="progress">
      <span>{name}</span>
      <progress aria-label={name} max={Math.max(1, total)} value={done} />
      <span>{words.join(' · ')}</span>
    </div>
  )
}

/** True once every entry was replayed: what is left takes its time, and shows no figures. */
function isReplayed({ progress }: Audit): boolean {
  return chainNames.every((chain) => {
    const one = progress?.[chain]
    return one !== undefined && one.done >= one.total
  })
}

function Running(props: { audit: Audit; onChanged: () => Promise<void> }): JSX.Element {
  const { audit, onChanged } = props
  const [isAsking, setAsking] = useState(false)
  return (
    <section class="card" aria-label={t('auditor.running')}>
      <div class="row">
        <h2>{t('auditor.running')}</h2>
        <button type="button" onClick={() => setAsking(true)}>
          {t('auditor.cancel')}
        </button>
      </div>
      <p class="soft">
        {t('auditor.startedby', { by: audit.by, ago: formatAgo(audit.started) })} · {t('auditor.running.reload')}
      </p>
      {chainNames.map((chain) => (
        <ProgressLine audit={audit} chain={chain} key={chain} />
      ))}
      {isReplayed(audit) && <p>{t('auditor.progress.comparing')}</p>}
      {audit.findings.length > 0 && (
        <Findings findings={audit.findings} title={t('auditor.findings.sofar')} none={t('auditor.findings.none')} />
      )}
      {isAsking && (
        <ConfirmDialog
          title={t('auditor.cancel.title')}
          action={t('auditor.cancel')}
          isDanger
          onClose={() => setAsking(false)}
          onConfirm={async () => {
            await call('/v1/audits/cancel', { method: 'POST', body: {} })
            await onChanged()
            setAsking(false)
          }}
        >
          <p>{t('auditor.cancel.words')}</p>
        </ConfirmDialog>
      )}
    </section>
  )
}

function Start(props: { canGoOn: boolean; onChanged: () => Promise<void> }): JSX.Element {
  const { canGoOn, onChanged } = props
  const [isGoingOn, setGoingOn] = useState(false)
  const { isBusy, error, act } = useAct(async () => {
    await call('/v1/audits', { method: 'POST', body: { fromBeginning: !(isGoingOn && canGoOn) } })
    await onChanged()
  })
  return (
    <form
      class="card start"
      onSubmit={(event) => {
        event.preventDefault()
        void act()
      }}
    >
      <button type="submit" class="primary" aria-disabled={isBusy}>
        {isBusy ? t('working') : t('auditor.run')}
      </button>
      {canGoOn && (
        <fieldset>
          <legend class="hidden">{t('auditor.run.how')}</legend>
          <label>
            <input type="radio" name="how" checked={!isGoingOn} onChange={() => setGoingOn(false)} />
            <span>{t('auditor.run.beginning')}</span>
          </label>
          <label>
            <input type="radio" name="how" checked={isGoingOn} onChange={() => setGoingOn(true)} />
            <span>{t('auditor.run.goon')}</span>
          </label>
        </fieldset>
      )}
      <Failure error={error} />
    </form>
  )
}

/** What runs now, or how to begin. */
export function AuditRun(props: { audits: Audits; onChanged: () => Promise<void> }): JSX.Element {
  const { audits, onChanged } = props
  if (audits.running !== null) return <Running audit={audits.running} onChanged={onChanged} />
  return <Start canGoOn={audits.audits.length > 0} onChanged={onChanged} />
}

function watchWords(watch: Audit | null): string {
  if (watch === null) return t('auditor.watch.off')
  const since = t('auditor.watch.since', { since: formatMoment(watch.started), by: watch.by })
  if (watch.reason !== null) return `${since} ${t('auditor.watch.failed', { reason: watch.reason })}`
  if (watch.report === null) return `${since} ${t('auditor.watch.first')}`
  const { userchain, docchain } = watch.report.chains
  return `${since} ${t('auditor.watch.seen', { userchain: count(userchain.size), docchain: count(docchain.size) })}`
}

/** The standing watch: on or off, how far it sees, and what it alarmed about. */
export function WatchCard(props: { watch: Audit | null; onChanged: () => Promise<void> }): JSX.Element {
  const { watch, onChanged } = props
  const { isBusy, error, act } = useAct(async () => {
    await call('/v1/audits/watch', { method: 'PUT', body: { on: watch === null } })
    await onChanged()
  })
  return (
    <>
      <section class="card" aria-label={t('auditor.watch')}>
        <div class="row">
          <h2>
            {t('auditor.watch')}{' '}
            <span class={watch === null ? 'tag' : 'tag good'}>{t(watch === null ? 'auditor.off' : 'auditor.on')}</span>
          </h2>
          <button type="button" onClick={() => void act()} aria-disabled={isBusy}>
            {isBusy ? t('working') : t(watch === null ? 'auditor.watch.turnon' : 'auditor.watch.turnoff')}
          </button>
        </div>
        <p class="soft">{watchWords(watch)}</p>
        <Failure error={error} />
      </section>
      {watch !== null && watch.findings.length > 0 && (
        <Findings
          findings={[...watch.findings].reverse()}
          title={t('auditor.alarms')}
          none={t('auditor.findings.none')}
        />
      )}
    </>
  )
}
