/** Diagnoses of a patient: the machine's, preliminary until signed, and the doctor's own. */
import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { FindingSentence } from '../finding/sentence.tsx'
import { Failure } from '../frame/act.tsx'
import { callBytes } from '../frame/api.ts'
import { memo } from '../frame/memo.ts'
import { messageFor } from '../frame/notice.tsx'
import type { Paged } from '../frame/paged.ts'
import { hrefOf } from '../frame/router.ts'
import { useRows } from '../frame/rows.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { formatInstant, formatMoment } from '../frame/time.ts'
import { AmendDialog, type AskedAct } from './diagnosis-acts.tsx'
import type { Amendment, Diagnosis, FindingView } from './model.ts'
import { findingName, SeverityTag, statusName } from './words.tsx'

type Act = AskedAct['act']

/** Diagnoses that are drawn at once; more on request, so many a frame. */
const drawn = { first: 20, eachFrame: 2 }
/** Asked for at a time: as many as the node gives. */
const moreEach = 200

/** True for what the machine found and nobody has answered for yet. */
export function isUnsigned({ status, algorithm }: Diagnosis): boolean {
  return status === 'preliminary' && algorithm !== 'by hand'
}

/** How a diagnosis stands: the machine's is preliminary until it is signed; the doctor's own was hers from the beginning. */
export function standingOf({ status, algorithm }: Diagnosis): string {
  return status === 'preliminary' && algorithm === 'by hand' ? 'on record' : status
}

/** Diagnoses as the list has them. */
export function newestFirst(diagnoses: readonly Diagnosis[]): Diagnosis[] {
  return diagnoses.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
}

/** A finding in words, with the way to its place on the ECG: a little before it began. */
function FindingRow(props: { finding: FindingView; onJump: ((atMs: number) => void) | undefined }): JSX.Element {
  const { finding, onJump } = props
  const { code, severity, sentence, from, open, evidence } = finding
  return (
    <li class="finding">
      <SeverityTag severity={severity} />
      <div>
        <strong>{findingName(code)}</strong>
        <FindingSentence code={code} sentence={sentence} />
        <p class="soft finding-facts">
          <span>{formatInstant(from)}</span>
          {open && <span>{t('doctor.finding.lasts')}</span>}
          {evidence.length > 0 && <span>{t('doctor.finding.evidence', { count: evidence.length })}</span>}
          {onJump !== undefined && (
            <button type="button" class="link" onClick={() => onJump(Date.parse(from) - 2_000)}>
              {t('doctor.finding.jump')}
            </button>
          )}
        </p>
      </div>
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

const DiagnosisCard = memo(function drawCard(props: {
  diagnosis: Diagnosis
  onAct: (diagnosis: Diagnosis, act: Act) => void
  onJump: ((atMs: number) => void) | undefined
}): JSX.Element {
  const { diagnosis, onAct, onJump } = props
  const { transactionId, status, findings, amendments } = diagnosis
  const [error, setError] = useState<string>()
  const isOpen = status === 'preliminary' || status === 'signed' || status === 'corrected'
  const isByHand = diagnosis.algorithm === 'by hand'
  const standing = standingOf(diagnosis)
  const print = hrefOf(['patients', diagnosis.patient, 'print', transactionId])
  return (
    <article class={`diagnosis is-${status.replace(' ', '-')}`}>
      <header class="row">
        <h3>
          <span class={`tag status-${standing.replace(' ', '-')}`}>{statusName(standing)}</span>{' '}
          {isByHand ? t('doctor.byhand.title') : t('doctor.bymachine')} · <time>{formatMoment(diagnosis.at)}</time>
        </h3>
        <div class="row">
          {isUnsigned(diagnosis) && (
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
        <a class="no-print" href={print}>
          {t('doctor.print')}
        </a>
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

/** All of them, newest first; `asked` is what the doctor is asked about now. */
export function Findings(props: {
  diagnoses: readonly Diagnosis[]
  /** Those that the page has not asked for yet. */
  older: Pick<Paged<unknown>, 'isMore' | 'more'>
  doctor: string
  asked: AskedAct | undefined
  onAct: (diagnosis: Diagnosis, act: Act) => void
  /** Undefined where there is no ECG to go to. */
  onJump: ((atMs: number) => void) | undefined
  onClose: () => void
  onChange: () => void
}): JSX.Element {
  const { diagnoses, older, doctor, asked, onAct, onJump, onClose, onChange } = props
  const [done, setDone] = useState<TextKey>()
  const ordered = useMemo(() => newestFirst(diagnoses), [diagnoses])
  const { shown, more } = useRows(ordered.length, drawn)
  return (
    <>
      {done !== undefined && (
        <p class="notice good" role="status">
          {t(done)}
        </p>
      )}
      {ordered.length === 0 && <p class="soft">{t('doctor.findings.none')}</p>}
      {ordered.slice(0, shown).map((diagnosis) => (
        <DiagnosisCard key={diagnosis.transactionId} diagnosis={diagnosis} onJump={onJump} onAct={onAct} />
      ))}
      {ordered.length > shown && (
        <button type="button" onClick={() => more(moreEach)}>
          {t('doctor.more', { count: ordered.length - shown })}
        </button>
      )}
      {ordered.length <= shown && older.isMore && (
        <button
          type="button"
          aria-disabled={older.more.isBusy}
          onClick={() => {
            more(moreEach)
            void older.more.act()
          }}
        >
          {older.more.isBusy ? t('working') : t('doctor.older')}
        </button>
      )}
      <Failure error={older.more.error} />
      {asked !== undefined && (
        <AmendDialog
          {...asked}
          {...{ doctor, onClose }}
          onDone={() => {
            setDone(`doctor.${asked.act}.done`)
            onClose()
            onChange()
          }}
        />
      )}
    </>
  )
}
