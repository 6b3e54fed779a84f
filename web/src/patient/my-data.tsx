/** What is recorded about her, as a file to take elsewhere; and the way to erase of it what is to be gone. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Failure, useAct } from '../frame/act.tsx'
import { Shown } from '../frame/notice.tsx'
import { formatValue } from '../frame/number.ts'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { beginDownload, type DownloadView, downloadOf, onDownload } from './downloads.ts'
import { erasedWords } from './erased.tsx'
import type { Erasure } from './model.ts'
import { usePatient } from './node.ts'
import { type PeriodDraft, PeriodFields, periodOf } from './period.tsx'

const downloadKinds = ['ecg', 'vitals'] as const
const refreshMs = 30_000

/** "1.2 MB" */
function sizeWords(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB'] as const
  const step = bytes < 1_000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3))
  return `${formatValue(bytes / 1_000 ** step)} ${units[step]}`
}

/** How far the browser is, and what then lies on its disk. */
function Progress(props: { view: DownloadView }): JSX.Element {
  const { state, records, recordsTotal, sizeBytes } = props.view
  const size = sizeWords(sizeBytes)
  if (state === 'done') return <p class="notice good">✓ {t('patient.download.done', { size, count: records })}</p>
  if (state === 'broken' || state === 'lost') return <p class="notice bad">{t(`patient.download.${state}`)}</p>
  const words =
    state === 'waiting'
      ? t('patient.download.waiting')
      : t('patient.download.running', { records, count: recordsTotal, size })
  return (
    <>
      <progress
        aria-label={t('patient.download.progress')}
        max={Math.max(1, recordsTotal)}
        value={state === 'waiting' ? 0 : records}
      />
      <p class="soft">{words}</p>
    </>
  )
}

function Download(): JSX.Element {
  const { base, session } = usePatient()
  const [draft, setDraft] = useState<PeriodDraft>({ length: 'all', from: '', until: '', kinds: downloadKinds })
  const [view, setView] = useState(downloadOf(session.name))
  useEffect(() => onDownload(() => setView(downloadOf(session.name))), [session.name])
  const isRunning = view?.state === 'waiting' || view?.state === 'running'
  const { error, act } = useAct(() => {
    const { from, until } = periodOf(draft)
    const query = new URLSearchParams({ from: String(from), until: String(until), streams: draft.kinds.join() })
    beginDownload(session.name, base, query)
  })
  return (
    <section class="card">
      <h2>{t('patient.download.title')}</h2>
      <p>{t('patient.download.what')}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (!isRunning && draft.kinds.length > 0) void act()
        }}
      >
        <PeriodFields
          {...{ draft, kinds: downloadKinds, kindsLabel: t('patient.download.kinds') }}
          lengths={['day', 'month', 'all', 'own']}
          onChange={setDraft}
        />
        <p class="notice late">{t('patient.download.open')}</p>
        <Failure error={error} />
        {draft.kinds.length === 0 && <p class="soft">{t('patient.period.noKind')}</p>}
        <button type="submit" class="primary" aria-disabled={isRunning || draft.kinds.length === 0}>
          {isRunning ? t('working') : t('patient.download.action')}
        </button>
      </form>
      <div class={view === undefined ? '' : 'download'} role="status">
        {view !== undefined && <Progress view={view} />}
      </div>
    </section>
  )
}

function ErasureRow(props: { erasure: Erasure }): JSX.Element {
  const { transactionId, askedAt, streams, state } = props.erasure
  return (
    <li class="row found">
      <div>
        <strong>{t('patient.erased.at', { at: formatMoment(askedAt) })}</strong>
        {streams.map((stream) => (
          <p key={stream.kind} class="soft">
            {erasedWords(stream)}
          </p>
        ))}
      </div>
      <span class="soft">{t(`patient.timeline.${state}`)}</span>
      <a class="button" href={hrefOf(['erased', transactionId])}>
        {t('patient.erased.how')}
        <span class="hidden"> {t('patient.erased.at', { at: formatMoment(askedAt) })}</span>
      </a>
    </li>
  )
}

/** Her data, hers to take and to erase. */
export function MyDataScreen(): JSX.Element {
  const { base } = usePatient()
  const erasures = useResource<readonly Erasure[]>(`${base}/erasures`, { everyMs: refreshMs })
  return (
    <div class="narrow">
      <h1>{t('patient.data.title')}</h1>
      <Download />
      <section class="card">
        <h2>{t('patient.erase.title')}</h2>
        <p>{t('patient.erase.intro')}</p>
        <p>
          <a class="button danger" href={hrefOf(['erase'])}>
            {t('patient.erase.begin')}
          </a>
        </p>
        <Shown resource={erasures}>
          {(list) =>
            list.length === 0 ? (
              <p class="soft">{t('patient.erased.none')}</p>
            ) : (
              <ul class="plain">
                {list.map((erasure) => (
                  <ErasureRow key={erasure.transactionId} erasure={erasure} />
                ))}
              </ul>
            )
          }
        </Shown>
      </section>
    </div>
  )
}
