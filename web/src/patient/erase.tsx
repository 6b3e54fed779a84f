/** Erasing a period of one's own readings: which, then what that does and does not do, and only then the act. */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Failure, useAct } from '../frame/act.tsx'
import { ApiError, call } from '../frame/api.ts'
import { EvidenceFields, postWithEvidence } from '../frame/evidence.tsx'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { go, hrefOf, usePlace } from '../frame/router.ts'
import { SaidError } from '../frame/said-error.ts'
import { t } from '../frame/texts.ts'
import { formatMoment, formatRange } from '../frame/time.ts'
import { erasedWords } from './erased.tsx'
import type { ErasurePreview, ErasureReader } from './model.ts'
import { usePatient } from './node.ts'
import { type PeriodDraft, PeriodFields, periodOf } from './period.tsx'
import { streamKinds } from './words.ts'

/** Records that are on their way are waited for, and a rotation may come before. */
const eraseTimeoutMs = 120_000

/** What is asked for, as it stands in the address: the same address means the same period, however late it is opened. */
interface Asked {
  readonly from: number
  readonly until: number
  readonly streams: readonly string[]
}

function askedIn(query: Readonly<Record<string, string>>): Asked | undefined {
  const [from, until] = [Number(query.from), Number(query.until)]
  const streams = streamKinds.filter((kind) => query.streams?.split(',').includes(kind) === true)
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(until) || from < 0 || until <= from) return undefined
  return streams.length === 0 ? undefined : { from, until, streams }
}

function useFocusOnTitle() {
  const title = useRef<HTMLHeadingElement>(null)
  useEffect(() => title.current?.focus(), [])
  return title
}

function WhichStep(): JSX.Element {
  const title = useFocusOnTitle()
  const [draft, setDraft] = useState<PeriodDraft>({ length: 'own', from: '', until: '', kinds: ['ecg', 'vitals'] })
  const { error, act } = useAct(() => {
    const { from, until } = periodOf(draft)
    go(['erase', 'sure'], { from: String(from), until: String(until), streams: draft.kinds.join() })
  })
  const isReady = draft.kinds.length > 0
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (isReady) void act()
      }}
    >
      <p class="soft">{t('patient.erase.step', { step: 1 })}</p>
      <h1 ref={title} tabIndex={-1}>
        {t('patient.erase.which')}
      </h1>
      <PeriodFields
        {...{ draft, kinds: streamKinds, kindsLabel: t('patient.erase.kinds') }}
        lengths={['own', 'hour', 'day', 'all']}
        onChange={setDraft}
      />
      <p class="soft">{t('patient.erase.whole')}</p>
      <Failure error={error} />
      {!isReady && <p class="soft">{t('patient.period.noKind')}</p>}
      <div class="actions">
        <a class="button" href={hrefOf(['data'])}>
          {t('patient.back')}
        </a>
        <button type="submit" class="primary" disabled={!isReady}>
          {t('patient.next')}
        </button>
      </div>
    </form>
  )
}

function readerWords({ doctor, hasAccess, fetched }: ErasureReader, nameOf: (account: string) => string): string {
  const name = nameOf(doctor)
  const copies = fetched > 0 ? t('patient.erase.fetched', { name, count: fetched }) : ''
  const access = hasAccess ? t('patient.erase.canFetch', { name }) : ''
  return [copies, access].filter((words) => words !== '').join(' ')
}

/** What was measured in the period, came late, and is not among what goes. */
function Late(props: { late: ErasurePreview['late'] }): JSX.Element | null {
  const { late } = props
  if (late === null) return null
  return <p class="notice late">{t('patient.erase.late', { count: late.records, until: formatMoment(late.until) })}</p>
}

/** What it does, before it is done. */
function Effects(props: { preview: ErasurePreview }): JSX.Element {
  const { nameOf } = usePatient()
  const { from, until, streams, readers, diagnoses } = props.preview
  return (
    <>
      <section class="card">
        <h2>{t('patient.erase.goes')}</h2>
        {/* From the beginning of time: whoever erases all does not read of 1970. */}
        {Date.parse(from) > 0 && <p>{t('patient.erase.hours', { range: formatRange(from, until) })}</p>}
        <ul class="exposure">
          {streams.map((stream) => (
            <li key={stream.kind}>{erasedWords(stream)}</li>
          ))}
        </ul>
        <p>{t('patient.erase.keys')}</p>
        <p>{t('patient.erase.stores')}</p>
      </section>
      <section class="card">
        <h2>{t('patient.erase.others')}</h2>
        {readers.length === 0 ? (
          <p>{t('patient.erase.nobody')}</p>
        ) : (
          <ul class="exposure">
            {readers.map((reader) => (
              <li key={reader.doctor}>{readerWords(reader, nameOf)}</li>
            ))}
          </ul>
        )}
        <p>{t('patient.erase.told')}</p>
      </section>
      <section class="card">
        <h2>{t('patient.erase.staysTitle')}</h2>
        <p>{t('patient.erase.stays')}</p>
        {diagnoses > 0 && <p>{t('patient.erase.findings', { count: diagnoses })}</p>}
        <p>{t('patient.erase.backups')}</p>
      </section>
    </>
  )
}

interface Erased {
  readonly transactionId: string | null
  readonly isRepeated: boolean
}

/** Does it; where no answer comes, the node may have done it: then that is looked for. */
async function erase(base: string, asked: Asked, fields: FormData): Promise<Erased> {
  const act = { path: `${base}/erasures`, body: asked, fields }
  try {
    return await postWithEvidence<Erased>(`${base}/second-factor`, { ...act, timeoutMs: eraseTimeoutMs })
  } catch (cause) {
    if (!(cause instanceof ApiError && ['ERR_OFFLINE', 'ERR_LATE'].includes(cause.code))) throw cause
    const seen = await call<ErasurePreview>(`${base}/erasures/preview?${queryOf(asked)}`).catch(() => undefined)
    if (seen === undefined || seen.erasedBy === null) throw cause
    return { transactionId: seen.erasedBy, isRepeated: false }
  }
}

function queryOf({ from, until, streams }: Asked): URLSearchParams {
  return new URLSearchParams({ from: String(from), until: String(until), streams: streams.join() })
}

function ActFields(props: { asked: Asked }): JSX.Element {
  const { base, factor } = usePatient()
  const [isKnown, setKnown] = useState(false)
  const { isBusy, error, act } = useAct<[FormData]>(async (fields) => {
    try {
      const { transactionId, isRepeated } = await erase(base, props.asked, fields)
      if (transactionId === null) throw new SaidError(t('patient.erase.empty'))
      go(['erased', transactionId], isRepeated ? { again: '1' } : {}, true)
    } catch (cause) {
      // It was turned on elsewhere meanwhile: the next drawing asks for it.
      if (cause instanceof ApiError && cause.code === 'ERR_CODE_NEEDED') await factor.reload()
      throw cause
    }
  })
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (isKnown) void act(new FormData(event.currentTarget))
      }}
    >
      <label class="check">
        <input
          type="checkbox"
          name="known"
          checked={isKnown}
          onChange={(event) => setKnown(event.currentTarget.checked)}
        />
        {t('patient.erase.known')}
      </label>
      {factor.value !== undefined && <EvidenceFields view={factor.value} />}
      <Failure error={error} />
      <div role="status">
        {isBusy && (
          <>
            <progress aria-label={t('patient.erase.working')} />
            <p>{t('patient.erase.working')}</p>
          </>
        )}
      </div>
      <div class="actions">
        <a class="button" href={hrefOf(['erase'])}>
          {t('patient.back')}
        </a>
        <button type="submit" class="danger" disabled={!isKnown} aria-disabled={isBusy}>
          {isBusy ? t('working') : t('patient.erase.action')}
        </button>
      </div>
    </form>
  )
}

function SureStep(props: { asked: Asked }): JSX.Element {
  const { base } = usePatient()
  const { asked } = props
  const title = useFocusOnTitle()
  const preview = useResource<ErasurePreview>(`${base}/erasures/preview?${queryOf(asked)}`)
  return (
    <>
      <p class="soft">{t('patient.erase.step', { step: 2 })}</p>
      <h1 ref={title} tabIndex={-1}>
        {t('patient.erase.sure')}
      </h1>
      <Shown resource={preview}>
        {(value) => {
          if (value.erasedBy !== null)
            return (
              <>
                <div class="notice good">
                  <p>{t('patient.erase.already')}</p>
                  <a class="button" href={hrefOf(['erased', value.erasedBy])}>
                    {t('patient.erased.how')}
                  </a>
                </div>
                <Late late={value.late} />
              </>
            )
          if (value.streams.every(({ records }) => records === 0))
            return (
              <>
                {value.late === null ? (
                  <p class="notice late">{t('patient.erase.empty')}</p>
                ) : (
                  <Late late={value.late} />
                )}
                <a class="button" href={hrefOf(['erase'])}>
                  {t('patient.back')}
                </a>
              </>
            )
          return (
            <>
              <Effects preview={value} />
              <Late late={value.late} />
              <ActFields asked={asked} />
            </>
          )
        }}
      </Shown>
    </>
  )
}

/** Erase a period. */
export function EraseScreen(): JSX.Element {
  const { path, query } = usePlace()
  const asked = path[1] === 'sure' ? askedIn(query) : undefined
  return (
    <div class="narrow">
      {asked === undefined ? <WhichStep /> : <SureStep key={queryOf(asked).toString()} asked={asked} />}
    </div>
  )
}
