/** Ending an access: the question, and the three ticks that become true, each with its proof. */
import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { ApiError, call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { go, hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { ProofResult, useProof } from '../proof/proof.tsx'
import type { Exposure, Grant, Revocation } from './model.ts'
import { receiptSource, usePatient } from './node.ts'
import { Tick, type TickState } from './tick.tsx'
import { exposureWords, readableWords } from './words.ts'

/** Rows of an exposure report in words. */
export function ExposureList(props: { rows: readonly Exposure[] }): JSX.Element {
  return (
    <ul class="exposure">
      {props.rows.map((row) => (
        <li key={`${row.grant ?? ''}${row.kind}`}>{exposureWords(row)}</li>
      ))}
    </ul>
  )
}

/** A look at what an act did whose answer was lost is not waited for longer. */
const lookTimeoutMs = 5_000

/**
 * Ends a doctor's access. Where no answer comes, or it was ended already, the node may have done it: then what ended it is looked for.
 *
 * @returns the transaction that ended it.
 */
async function endAccess(base: string, doctor: string): Promise<string> {
  try {
    const { transactionId } = await call<Revocation>(`${base}/revocations`, { method: 'POST', body: { doctor } })
    return transactionId
  } catch (cause) {
    if (!(cause instanceof ApiError && ['ERR_OFFLINE', 'ERR_LATE', 'ERR_GRANT_NONE'].includes(cause.code))) throw cause
    const all = await call<readonly Grant[]>(`${base}/grants`, { timeoutMs: lookTimeoutMs }).catch(() => [])
    const own = all.filter((grant) => grant.doctor === doctor)
    const by = own.findLast(({ closedBy }) => closedBy !== null)?.closedBy
    if (own.some(({ state }) => state === 'open') || by === undefined || by === null) throw cause
    return by
  }
}

/** Asks once, in words that say what will happen. */
export function RevokeDialog(props: { doctor: string; isOpen: boolean; onClose: () => void }): JSX.Element {
  const { base, nameOf } = usePatient()
  const { doctor, isOpen, onClose } = props
  const [isActing, setActing] = useState(false)
  // It ended while the question stood: in another tab, or by itself.
  const isOver = !isOpen && !isActing
  const name = nameOf(doctor)
  const exposure = useResource<readonly Exposure[]>(`${base}/exposure?doctor=${doctor}`)
  const open = exposure.value?.filter(({ state }) => state === 'open') ?? []
  return (
    <ConfirmDialog
      title={t('patient.revoke.title', { name })}
      action={t(isOver ? 'patient.revoke.show' : 'patient.revoke.action')}
      isDanger={!isOver}
      onClose={onClose}
      onConfirm={async () => {
        setActing(true)
        try {
          go(['ended', await endAccess(base, doctor)])
        } catch (cause) {
          setActing(false)
          throw cause
        }
      }}
    >
      {isOver && (
        <p class="notice late" role="status">
          {t('patient.revoke.over')}
        </p>
      )}
      <p>{t('patient.revoke.future', { name })}</p>
      <p>{t('patient.revoke.past')}</p>
      <Shown resource={exposure}>
        {() => (
          <ul class="exposure">
            {readableWords(open).map((words) => (
              <li key={words}>{words}</li>
            ))}
          </ul>
        )}
      </Shown>
      <p class="soft">{t('patient.revoke.again')}</p>
    </ConfirmDialog>
  )
}

function Ticks(props: { revocation: Revocation }): JSX.Element {
  const { base } = usePatient()
  const { transactionId, changedAt, recordedAt, refusedEverywhereAt } = props.revocation
  const source = useMemo(() => receiptSource(base, transactionId), [base, transactionId])
  const recorded = useProof(recordedAt === null ? undefined : `${transactionId} recorded`, source)
  const refused = useProof(refusedEverywhereAt === null ? undefined : `${transactionId} refused`, source)
  const stateOf = (at: string | null, proof: typeof recorded, isShown: boolean): TickState => {
    if (at === null) return 'waiting'
    if (proof.state === 'checking') return 'checking'
    return proof.state === 'holds' && isShown ? 'true' : 'false'
  }
  const isRefused = refused.state === 'holds' && refused.receipt.facts.anchor !== undefined
  const isClosing = recorded.state === 'holds' && recorded.receipt.facts.type === 'key'
  return (
    <ol class="ticks" aria-live="polite">
      <Tick title={t('patient.tick.keys')} words={t('patient.tick.keysWords')} at={changedAt} state="true">
        <details>
          <summary>{t('patient.tick.why')}</summary>
          <p>{t('patient.tick.keysWhy')}</p>
        </details>
      </Tick>
      <Tick
        title={t('patient.tick.record')}
        words={t('patient.tick.recordWords')}
        at={recordedAt}
        state={stateOf(recordedAt, recorded, isClosing)}
      >
        {recordedAt !== null && (
          <details>
            <summary>{t('proof.show')}</summary>
            <ProofResult proof={recorded} />
          </details>
        )}
      </Tick>
      <Tick
        title={t('patient.tick.refused')}
        words={t('patient.tick.refusedWords')}
        at={refusedEverywhereAt}
        state={stateOf(refusedEverywhereAt, refused, isRefused)}
      >
        {refusedEverywhereAt !== null && (
          <details>
            <summary>{t('proof.show')}</summary>
            <ProofResult proof={refused} />
          </details>
        )}
      </Tick>
    </ol>
  )
}

/** What came of a revocation; its address can be kept and opened again. */
export function EndedScreen(props: { transactionId: string }): JSX.Element {
  const { base, live, nameOf } = usePatient()
  const { transactionId } = props
  const path = `${base}/revocations/${encodeURIComponent(transactionId)}`
  const revocation = useResource<Revocation>(path, { live, on: ['revocation'], everyMs: 1_000 })
  const grants = useResource<readonly Grant[]>(`${base}/grants`)
  const closed = grants.value?.filter(({ closedBy }) => closedBy === transactionId) ?? []
  const ids = new Set(closed.map(({ grant }) => grant))
  const doctor = closed[0]?.doctor
  const exposure = useResource<readonly Exposure[]>(
    doctor === undefined ? undefined : `${base}/exposure?doctor=${doctor}`,
  )
  const name = doctor === undefined ? '' : nameOf(doctor)
  return (
    <>
      <p>
        <a href={hrefOf([])}>← {t('patient.back')}</a>
      </p>
      <h1>{doctor === undefined ? t('patient.ended.title') : t('patient.ended.named', { name })}</h1>
      <Shown resource={revocation}>
        {(value) => (
          <>
            <Ticks revocation={value} />
            <section class="card">
              <h2>{t('patient.ended.held')}</h2>
              <Shown resource={exposure}>
                {(rows) => <ExposureList rows={rows.filter(({ grant }) => grant !== null && ids.has(grant))} />}
              </Shown>
              {value.recordedAt !== null && (
                <p class="actions">
                  <a class="button" href={`${base}/receipts/${transactionId}`} download>
                    {t('patient.receipt.download')}
                  </a>
                  <a class="button" href={hrefOf(['receipt', transactionId])}>
                    {t('patient.receipt.print')}
                  </a>
                </p>
              )}
              <p class="soft small">{t('patient.receipt.words')}</p>
            </section>
          </>
        )}
      </Shown>
    </>
  )
}
