/** A doctor's licence: given, suspended, withdrawn; asked once, and followed until it is on record. */
import type { JSX } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { call, nodeNowMs } from '../frame/api.ts'
import { ConfirmDialog, Dialog } from '../frame/dialog.tsx'
import { SaidError } from '../frame/said-error.ts'
import { t } from '../frame/texts.ts'
import { CommitTicks } from './commit-ticks.tsx'
import type { Person } from './model.ts'

/** What is to be done. */
export type LicenceAct = 'give' | 'suspend' | 'withdraw'

const states: Readonly<Record<LicenceAct, number>> = { give: 1, suspend: 2, withdraw: 3 }
const yearMs = 31_557_600_000
/** The licence begins a minute ago: clocks of nodes differ. */
const leadMs = 60_000

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/** Asks, signs, and shows what became of it. */
export function LicenceDialog(props: {
  person: Person
  act: LicenceAct
  onClose: () => void
  onRecorded: () => void
}): JSX.Element {
  const { person, act, onClose, onRecorded } = props
  const [id, setId] = useState<string>()
  const until = useRef<HTMLInputElement>(null)
  const { name } = person
  const title = t(`auditor.licence.${act}.title`, { name })
  if (id !== undefined) {
    return (
      <Dialog title={t('auditor.account.licence')} onClose={onClose}>
        <p>{name}</p>
        <CommitTicks id={id} onRecorded={onRecorded} />
      </Dialog>
    )
  }
  const confirm = async (): Promise<void> => {
    const now = nodeNowMs()
    const from = act === 'give' ? now - leadMs : (person.licence?.from ?? now - leadMs)
    const given = Date.parse(`${until.current?.value ?? ''}T23:59:59Z`)
    const to = act === 'give' ? given : Math.max(person.licence?.to ?? now, now)
    if (Number.isNaN(to) || to <= now - leadMs) throw new SaidError(t('auditor.licence.until.wrong'))
    const body = { doctor: person.account, state: states[act], from: Math.round(from), to: Math.round(to) }
    const made = await call<{ transactionId: string }>('/v1/licence', { method: 'POST', body })
    setId(made.transactionId)
  }
  return (
    <ConfirmDialog
      title={title}
      action={t(`auditor.licence.${act}`)}
      isDanger={act !== 'give'}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p>{t(`auditor.licence.${act}.words`)}</p>
      {act === 'give' && (
        <label>
          {t('auditor.licence.until')}
          <input
            ref={until}
            type="date"
            min={dayOf(nodeNowMs())}
            defaultValue={dayOf(nodeNowMs() + 2 * yearMs)}
            required
          />
        </label>
      )}
    </ConfirmDialog>
  )
}
