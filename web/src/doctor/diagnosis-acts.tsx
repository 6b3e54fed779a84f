/** Signing, correcting, withdrawing, and a diagnosis in the doctor's own words: each is asked once, and goes on record. */
import type { JSX } from 'preact'
import { saidFinding } from '../finding/said.ts'
import { ApiError, call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { useDraft } from '../frame/drafts.ts'
import { SaidError } from '../frame/said-error.ts'
import { t } from '../frame/texts.ts'
import type { Amendment, Diagnosis } from './model.ts'

/** An act on a diagnosis that the doctor is asked about. */
export interface AskedAct {
  readonly diagnosis: Diagnosis
  readonly act: Amendment['act']
}

/** The ledger's answer takes its time. */
const postTimeoutMs = 70_000
const textMax = 4_000

/** What the doctor writes, in any script. */
function OwnWords(props: { label: string; rows: number; text: string; setText: (text: string) => void }): JSX.Element {
  const { label, rows, text, setText } = props
  return (
    <label>
      {label}
      <textarea
        rows={rows}
        maxLength={textMax}
        dir="auto"
        value={text}
        onInput={(event) => setText((event.currentTarget as HTMLTextAreaElement).value)}
      />
    </label>
  )
}

/** The text without blanks around it. @throws {Error} for the reader, if there is none. */
function required(text: string): string {
  if (text.trim() === '') throw new SaidError(t('doctor.correct.empty'))
  return text.trim()
}

/** Signs, corrects or withdraws, asked once. A refusal of the ledger is said in words. */
export function AmendDialog(props: {
  diagnosis: Diagnosis
  act: AskedAct['act']
  doctor: string
  onDone: () => void
  onClose: () => void
}): JSX.Element {
  const { diagnosis, act, doctor } = props
  const [text, setText] = useDraft(doctor, `${act} ${diagnosis.transactionId}`)
  return (
    <ConfirmDialog
      title={t(`doctor.${act}.title`)}
      action={t(`doctor.${act}`)}
      isDanger={act === 'withdraw'}
      onClose={props.onClose}
      onConfirm={async () => {
        const body = { act, ...(act === 'sign' ? {} : { text: act === 'correct' ? required(text) : text.trim() }) }
        await post(`/v1/diagnoses/${diagnosis.transactionId}/amend`, body)
        setText('')
        props.onDone()
      }}
    >
      <p>{t(`doctor.${act}.body`)}</p>
      <ul>
        {diagnosis.findings.slice(0, 5).map(({ code, sentence }) => (
          <li key={`${code}${sentence}`}>{saidFinding(code, sentence) ?? sentence}</li>
        ))}
        {diagnosis.text !== undefined && <li class="written">{diagnosis.text}</li>}
      </ul>
      {act !== 'sign' && (
        <OwnWords
          label={t(act === 'correct' ? 'doctor.correct.label' : 'doctor.withdraw.label')}
          {...{ rows: 4, text, setText }}
        />
      )}
    </ConfirmDialog>
  )
}

/** Posts, and says what the ledger's refusal means. */
async function post(path: string, body: unknown): Promise<void> {
  try {
    await call(path, { method: 'POST', body, timeoutMs: postTimeoutMs })
  } catch (cause) {
    if (!(cause instanceof ApiError) || cause.code !== 'ERR_REFUSED') throw cause
    const { rule } = (cause.problem.refused ?? {}) as { rule?: string }
    const isAccess = rule === 'D.live' || rule === 'D.grant'
    throw new SaidError(isAccess ? t('doctor.refused.access') : t('doctor.refused.rule', { rule: rule ?? '?' }))
  }
}

/** A diagnosis in the doctor's own words, about what is shown. */
export function ByHandDialog(props: {
  patient: string
  stream: string
  sequences: readonly number[]
  doctor: string
  onDone: () => void
  onClose: () => void
}): JSX.Element {
  const { patient, stream, sequences, doctor } = props
  const [text, setText] = useDraft(doctor, `by hand ${patient}`)
  const [from, to] = [sequences[0] ?? 1, sequences.at(-1) ?? 1]
  return (
    <ConfirmDialog
      title={t('doctor.byhand.title')}
      action={t('doctor.byhand.post')}
      onClose={props.onClose}
      onConfirm={async () => {
        await post('/v1/diagnoses', { patient, in: [{ stream, from, to }], text: required(text) })
        setText('')
        props.onDone()
      }}
    >
      <p>{t('doctor.byhand.body', { count: sequences.length })}</p>
      <OwnWords label={t('doctor.byhand.label')} {...{ rows: 6, text, setText }} />
    </ConfirmDialog>
  )
}
