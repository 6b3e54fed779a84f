/** The key with which her node signs every day, and that a thief of it has too: her root key, which is in her vault, replaces it. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { onLedger } from './ledger-act.ts'
import { usePatient } from './node.ts'

/** What it is for, and the button. */
export function HouseholdKey(): JSX.Element {
  const { base } = usePatient()
  const [isAsked, setAsked] = useState(false)
  const [isDone, setDone] = useState(false)
  const replace = async (): Promise<void> => {
    await onLedger(base, 'update.counter', async () => {
      const { transactionId } = await call<{ transactionId: string }>(`${base}/op-key`, { method: 'POST', body: {} })
      return transactionId
    })
    setDone(true)
    setAsked(false)
  }
  return (
    <>
      <p>{t('patient.key.words')}</p>
      {isDone && (
        <p class="notice good" role="status">
          ✓ {t('patient.key.done')} <a href={hrefOf(['devices'])}>{t('patient.key.devices')}</a>
        </p>
      )}
      <button type="button" class="danger" onClick={() => setAsked(true)}>
        {t('patient.key.replace')}
      </button>
      {isAsked && (
        <ConfirmDialog
          title={t('patient.key.title')}
          action={t('patient.key.action')}
          isDanger
          onClose={() => setAsked(false)}
          onConfirm={replace}
        >
          <p>{t('patient.key.what')}</p>
          <p>{t('patient.key.harmless')}</p>
        </ConfirmDialog>
      )}
    </>
  )
}
