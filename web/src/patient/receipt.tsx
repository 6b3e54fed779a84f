/** A receipt on paper: what it proves in words, and the checkpoint as a QR code for whoever checks it elsewhere. */
import type { JSX } from 'preact'
import { useMemo } from 'preact/hooks'
import { Qr } from '../frame/qr.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import type { ReceiptFacts } from '../proof/check.ts'
import { ProofResult, useProof, wordsOf } from '../proof/proof.tsx'
import type { Grant } from './model.ts'
import { receiptSource, usePatient } from './node.ts'

/** Most characters of a QR code of this error correction that cameras read from paper. */
const qrTextMax = 2_000

/** The newest checkpoint of a receipt; without its signatures where they would not fit. */
function checkpointOf({ transaction, anchor }: ReceiptFacts): string {
  const { checkpoint } = anchor ?? transaction
  return checkpoint.length <= qrTextMax ? checkpoint : checkpoint.split('\n').slice(0, 3).join('\n')
}

/** The page to print. */
export function ReceiptScreen(props: { transactionId: string }): JSX.Element {
  const { base, session, nameOf } = usePatient()
  const { transactionId } = props
  const source = useMemo(() => receiptSource(base, transactionId), [base, transactionId])
  const proof = useProof(transactionId, source)
  const grants = useResource<readonly Grant[]>(`${base}/grants`)
  const ended = grants.value?.find(({ closedBy }) => closedBy === transactionId)
  return (
    <>
      <p class="screen-only">
        <a href={hrefOf(['ended', transactionId])}>← {t('patient.back')}</a>
      </p>
      <article class="card paper">
        <h1>{t('patient.receipt.title')}</h1>
        {proof.state === 'holds' ? (
          <>
            <p>
              <bdi>{session.name}</bdi> · {formatMoment(proof.receipt.facts.transaction.signedAt)}
            </p>
            {ended !== undefined && <p>{t('patient.ended.named', { name: nameOf(ended.doctor) })}</p>}
            <ul class="proof-steps">
              {wordsOf(proof.receipt.facts).map((words) => (
                <li key={words}>{words}</li>
              ))}
            </ul>
            <figure class="checkpoint">
              <Qr text={checkpointOf(proof.receipt.facts)} label={t('patient.receipt.qr')} sizePx={300} />
              <figcaption class="soft">{t('patient.receipt.qrWords')}</figcaption>
            </figure>
            <dl class="ids">
              <dt>{t('patient.receipt.ledger')}</dt>
              <dd>{proof.receipt.ledgerId}</dd>
              <dt>{t('patient.receipt.transaction')}</dt>
              <dd>{transactionId}</dd>
            </dl>
            <button type="button" class="primary" onClick={() => window.print()}>
              {t('patient.print')}
            </button>
          </>
        ) : (
          <ProofResult proof={proof} />
        )}
      </article>
    </>
  )
}
