/** Diagnoses of a patient: the machine's, preliminary until signed, and the doctor's own. */
import type { JSX } from 'preact'
import { useCallback, useState } from 'preact/hooks'
import { ApiError, call, callBytes } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { memo } from '../frame/memo.ts'
import { messageFor } from '../frame/notice.tsx'
import { hrefOf } from '../frame/router.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { useDraft } from './drafts.ts'
import type { Amendment, Diagnosis, FindingView } from './model.ts'
import { findingName, SeverityTag, statusName } from './words.tsx'

type Act = Amendment['act']

/** The ledger's answer takes its time. */
const postTimeoutMs = 70_000
const textMax = 4_000
/** Diagnoses that are drawn at once; more on request. */
const shownFirst = 50

/** What a finding's link puts into the viewer: a little before it began. */
function FindingRow(props: { finding: FindingView; onJump: (atMs: number) => void }): JSX.Element {
  const { finding, onJump } = props
  return (
    <li class="finding">
      <SeverityTag severity={finding.severity} />
      <div>
        <strong>{findingName(finding.code)}</strong>
        <p>{finding.sentence}</p>
        <p class="soft">
          {formatMoment(finding.from)}
          {finding.open ? ` · ${t('doctor.finding.lasts')}` : ''}
          {finding.evidence.length > 0 && ` · ${t('doctor.finding.evidence', { count: finding.evidence.length })}`}
        </p>
      </div>
      <button type="button" onClick={() => onJump(Date.parse(finding.from) - 2_000)}>
        {t('doctor.finding.jump')}
      </button>
    </li>
  )
}

function AmendmentRow(props: { amendment: Amendment }): JSX.Element {
  const { act, at, status, text } = props.amendment
  return (
    <li>
      {t(`doctor.amended.${act}`)} · {formatMoment(at)} · {statusName(status)}
      {text !== undefined && <p class="written">{text}</p>}
    </li>
  )
}

/** Puts a diagnosis as FHIR into the reader's downloads. */
async function downloadFhir(id: string): Promise<void> {
  const bytes = await callBytes(`/v1/diagnoses/${id}/fhir`, { headers: { accept: 'application/fhir+json' } })
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/fhir+json' }))
  const link = document.createElement('a')
  link.href = url
  link.download = `diagnosis-${id.slice(0, 8)}.fhir.json`
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

/** Signs, corrects or withdraws, asked once. A refusal of the ledger is said in words. */
function AmendDialog(props: {
  diagnosis: Diagnosis
  act: Act
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
        if (act === 'correct' && text.trim() === '') throw new Error(t('doctor.correct.empty'))
        const body = { act, ...(act === 'sign' ? {} : { text: text.trim() }) }
        await post(`/v1/diagnoses/${diagnosis.transactionId}/amend`, body)
        setText('')
        props.onDone()
      }}
    >
      <p>{t(`doctor.${act}.body`)}</p>
      <ul>
        {diagnosis.findings.slice(0, 5).map(({ code, sentence }) => (
          <li key={`${code}${sentence}`}>{sentence}</li>
        ))}
        {diagnosis.text !== undefined && <li class="written">{diagnosis.text}</li>}
      </ul>
      {act !== 'sign' && (
        <label>
          {t(act === 'correct' ? 'doctor.correct.label' : 'doctor.withdraw.label')}
          <textarea
            rows={4}
            maxLength={textMax}
            dir="auto"
            value={text}
            onInput={(event) => setText((event.currentTarget as HTMLTextAreaElement).value)}
          />
        </label>
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
    throw new Error(isAccess ? t('doctor.refused.access') : t('doctor.refused.rule', { rule: rule ?? '?' }))
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
        if (text.trim() === '') throw new Error(t('doctor.correct.empty'))
        await post('/v1/diagnoses', { patient, in: [{ stream, from, to }], text: text.trim() })
        setText('')
        props.onDone()
      }}
    >
      <p>{t('doctor.byhand.body', { count: sequences.length })}</p>
      <label>
        {t('doctor.byhand.label')}
        <textarea
          rows={6}
          maxLength={textMax}
          dir="auto"
          value={text}
          onInput={(event) => setText((event.currentTarget as HTMLTextAreaElement).value)}
        />
      </label>
    </ConfirmDialog>
  )
}

const DiagnosisCard = memo(function drawCard(props: {
  diagnosis: Diagnosis
  onAct: (diagnosis: Diagnosis, act: Act) => void
  onJump: (atMs: number) => void
}): JSX.Element {
  const { diagnosis, onAct, onJump } = props
  const { transactionId, status, findings, amendments } = diagnosis
  const [error, setError] = useState<string>()
  const isOpen = status === 'preliminary' || status === 'signed' || status === 'corrected'
  const isByHand = diagnosis.algorithm === 'by hand'
  const print = hrefOf(['patients', diagnosis.patient, 'print', transactionId])
  return (
    <article class={`diagnosis is-${status.replace(' ', '-')}`}>
      <header class="row">
        <h3>
          <span class={`tag status-${status.replace(' ', '-')}`}>{statusName(status)}</span>{' '}
          {isByHand ? t('doctor.byhand.title') : t('doctor.bymachine')} · <time>{formatMoment(diagnosis.at)}</time>
        </h3>
        <div class="row">
          {status === 'preliminary' && !isByHand && (
            <button type="button" class="primary" onClick={() => onAct(diagnosis, 'sign')}>
              {t('doctor.sign')}
            </button>
          )}
          {isOpen && (
            <>
              <button type="button" onClick={() => onAct(diagnosis, 'correct')}>
                {t('doctor.correct')}
              </button>
              <button type="button" onClick={() => onAct(diagnosis, 'withdraw')}>
                {t('doctor.withdraw')}
              </button>
            </>
          )}
        </div>
      </header>
      {diagnosis.note !== undefined && <p class="notice bad">{noteWords(diagnosis)}</p>}
      {diagnosis.text !== undefined && <p class="written">{diagnosis.text}</p>}
      {findings.length === 0 && diagnosis.text === undefined && <p class="soft">{t('doctor.finding.none')}</p>}
      <ul class="findings">
        {findings.map((finding) => (
          <FindingRow key={`${finding.code} ${finding.from}`} finding={finding} onJump={onJump} />
        ))}
      </ul>
      {amendments.length > 0 && (
        <ul class="amendments">
          {amendments.map((amendment) => (
            <AmendmentRow key={amendment.transactionId} amendment={amendment} />
          ))}
        </ul>
      )}
      <footer class="row start">
        <a href={print}>{t('doctor.print')}</a>
        <button
          type="button"
          class="link"
          onClick={() => void downloadFhir(transactionId).catch((cause: unknown) => setError(messageFor(cause)))}
        >
          {t('doctor.fhir')}
        </button>
        <details>
          <summary>{t('details')}</summary>
          <p class="soft details">
            {diagnosis.algorithm} · <code>{transactionId}</code>
          </p>
        </details>
        {error !== undefined && <span class="notice bad">{error}</span>}
      </footer>
    </article>
  )
})

/** Why a diagnosis is not on record, with the moment in the reader's zone. */
export function noteWords({ note = '' }: Pick<Diagnosis, 'note'>): string {
  const ended = /^access ended at (\S+), not recorded$/.exec(note)
  if (ended?.[1] !== undefined) return t('doctor.note.ended', { when: formatMoment(ended[1]) })
  const rule = /^refused by rule (\S+), not recorded$/.exec(note)
  return rule?.[1] === undefined ? note : t('doctor.refused.rule', { rule: rule[1] })
}

/** All of them, newest first. */
export function Findings(props: {
  diagnoses: readonly Diagnosis[]
  doctor: string
  onJump: (atMs: number) => void
  onChange: () => void
}): JSX.Element {
  const { diagnoses, doctor, onJump, onChange } = props
  const [asked, setAsked] = useState<{ diagnosis: Diagnosis; act: Act }>()
  const [shown, setShown] = useState(shownFirst)
  const [done, setDone] = useState<TextKey>()
  const ask = useCallback((diagnosis: Diagnosis, act: Act) => setAsked({ diagnosis, act }), [])
  const ordered = diagnoses.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
  return (
    <>
      {done !== undefined && (
        <p class="notice good" role="status">
          {t(done)}
        </p>
      )}
      {ordered.length === 0 && <p class="soft">{t('doctor.findings.none')}</p>}
      {ordered.slice(0, shown).map((diagnosis) => (
        <DiagnosisCard key={diagnosis.transactionId} diagnosis={diagnosis} onJump={onJump} onAct={ask} />
      ))}
      {ordered.length > shown && (
        <button type="button" onClick={() => setShown(shown + 200)}>
          {t('doctor.more', { count: ordered.length - shown })}
        </button>
      )}
      {asked !== undefined && (
        <AmendDialog
          {...asked}
          doctor={doctor}
          onClose={() => setAsked(undefined)}
          onDone={() => {
            setDone(`doctor.${asked.act}.done`)
            setAsked(undefined)
            onChange()
          }}
        />
      )}
    </>
  )
}
