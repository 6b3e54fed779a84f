/** What came of an erasure: keys destroyed, on record, and store by store. Its address can be kept and opened again. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { nodeNowMs } from '../frame/api.ts'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment, formatRange } from '../frame/time.ts'
import { ProofResult, useProof } from '../proof/proof.tsx'
import type { ErasedStream, ErasureStanding, StoreStanding } from './model.ts'
import { receiptSource, usePatient } from './node.ts'
import { Tick, type TickState } from './tick.tsx'
import { streamName } from './words.ts'

/** While something is about to change; and once it only waits for its time, when all stores need not be asked so often. */
const refreshMs = { soon: 3_000, later: 60_000 }

/** "Heart (ECG): 12 readings, measured …" */
export function erasedWords({ kind, records, measuredFrom, measuredTo }: ErasedStream): string {
  const what = streamName(kind)
  if (records === 0 || measuredFrom === null || measuredTo === null) return t('patient.erase.nothingOf', { what })
  return t('patient.erase.readings', { what, count: records, range: formatRange(measuredFrom, measuredTo) })
}

function StoreLine(props: { store: StoreStanding }): JSX.Element {
  const { place, state, removeAt } = props.store
  const words =
    state === 'serving' && removeAt !== null
      ? t('patient.store.serving', { at: formatMoment(removeAt), in: formatAgo(removeAt) })
      : t(`patient.store.${state}`)
  return (
    <li class={`store ${state}`}>
      <strong>{t('patient.store.name', { place })}</strong> {words}
    </li>
  )
}

function Ticks(props: { erasure: ErasureStanding }): JSX.Element {
  const { base } = usePatient()
  const { transactionId, askedAt, state, stores, blocks, asked } = props.erasure
  const source = useMemo(() => receiptSource(base, transactionId), [base, transactionId])
  const isRecorded = state === 'recorded'
  const recorded = useProof(isRecorded ? `${transactionId} recorded` : undefined, source)
  const isErasure = recorded.state === 'holds' && recorded.receipt.facts.type === 'erase'
  const isGone = stores.length > 0 && stores.every((store) => store.state === 'gone')
  const recordState = (): TickState => {
    if (state === 'refused') return 'false'
    if (!isRecorded) return 'waiting'
    if (recorded.state === 'checking') return 'checking'
    return isErasure ? 'true' : 'false'
  }
  const signedAt =
    recorded.state === 'holds' ? new Date(recorded.receipt.facts.transaction.signedAt).toISOString() : null
  return (
    <ol class="ticks" aria-live="polite">
      <Tick title={t('patient.erased.keys')} words={t('patient.erased.keysWords')} at={askedAt} state="true">
        <details>
          <summary>{t('patient.tick.why')}</summary>
          <p>{t('patient.erased.keysWhy')}</p>
        </details>
      </Tick>
      <Tick
        title={t('patient.tick.record')}
        words={t(state === 'refused' ? 'patient.erased.refused' : 'patient.erased.recordWords')}
        at={signedAt}
        state={recordState()}
      >
        {isRecorded && (
          <details>
            <summary>{t('proof.show')}</summary>
            <ProofResult proof={recorded} />
          </details>
        )}
      </Tick>
      <Tick
        title={t('patient.erased.removed')}
        words={t(blocks === 0 ? 'patient.erased.noBlocks' : 'patient.erased.removedWords')}
        at={null}
        state={isGone ? 'true' : 'waiting'}
      >
        {blocks > 0 && (
          <>
            <ul class="stores">
              {stores.map((store) => (
                <StoreLine key={store.place} store={store} />
              ))}
            </ul>
            {asked < blocks && <p class="soft">{t('patient.store.some', { asked, count: blocks })}</p>}
          </>
        )}
      </Tick>
    </ol>
  )
}

/** How one erasure stands. `isRepeated`: the same period was asked for once more. */
export function ErasedScreen(props: { transactionId: string; isRepeated: boolean }): JSX.Element {
  const { base } = usePatient()
  const path = `${base}/erasures/${encodeURIComponent(props.transactionId)}`
  const [everyMs, setEveryMs] = useState(refreshMs.soon)
  const erasure = useResource<ErasureStanding>(path, { everyMs })
  const { value: seen } = erasure
  useEffect(() => {
    if (seen === undefined) return
    const isSettled = seen.stores.every(({ state }) => state === 'serving' || state === 'gone')
    const isDue = seen.stores.some(
      ({ removeAt }) => removeAt !== null && Date.parse(removeAt) < nodeNowMs() + refreshMs.later,
    )
    setEveryMs(seen.state === 'recorded' && isSettled && !isDue ? refreshMs.later : refreshMs.soon)
  }, [seen])
  return (
    <div class="narrow">
      <p>
        <a href={hrefOf(['data'])}>← {t('patient.data')}</a>
      </p>
      <h1>{t('patient.erased.title')}</h1>
      {props.isRepeated && (
        <p class="notice good" role="status">
          {t('patient.erased.repeated')}
        </p>
      )}
      <Shown resource={erasure}>
        {(value) => (
          <>
            <ul class="exposure">
              {value.streams.map((stream) => (
                <li key={stream.kind}>{erasedWords(stream)}</li>
              ))}
            </ul>
            <Ticks erasure={value} />
            <section class="card">
              <p>{t('patient.erase.stays')}</p>
              <p>{t('patient.erase.backups')}</p>
              {value.state === 'recorded' && (
                <p class="actions">
                  <a class="button" href={`${base}/receipts/${value.transactionId}`} download>
                    {t('patient.receipt.download')}
                  </a>
                </p>
              )}
            </section>
          </>
        )}
      </Shown>
    </div>
  )
}
