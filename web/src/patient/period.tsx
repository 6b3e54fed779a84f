/** A period of one's own readings, and of which kinds: for what is downloaded, and for what is erased. */
import type { JSX } from 'preact'
import { nodeNowMs } from '../frame/api.ts'
import { SaidError } from '../frame/said-error.ts'
import { t } from '../frame/texts.ts'
import { streamName } from './words.ts'

/** How long a period is, counted back from now; `own` has a begin and an end. */
export type PeriodLength = 'hour' | 'day' | 'month' | 'all' | 'own'

/** What is chosen. `from` and `until` are as the fields of the browser have them, in its own zone. */
export interface PeriodDraft {
  readonly length: PeriodLength
  readonly from: string
  readonly until: string
  readonly kinds: readonly string[]
}

const hourMs = 3_600_000
const lengthsMs = { hour: hourMs, day: 24 * hourMs, month: 30 * 24 * hourMs } as const

/** The period in Unix ms. @throws {SaidError} for one that is not typed in full, or ends before it begins. */
export function periodOf({ length, from, until }: PeriodDraft): { from: number; until: number } {
  const nowMs = nodeNowMs()
  if (length === 'all') return { from: 0, until: nowMs }
  if (length !== 'own') return { from: nowMs - lengthsMs[length], until: nowMs }
  const [fromMs, untilMs] = [Date.parse(from), Date.parse(until)]
  if (Number.isNaN(fromMs) || Number.isNaN(untilMs)) throw new SaidError(t('patient.period.both'))
  if (fromMs >= untilMs) throw new SaidError(t('patient.period.order'))
  return { from: Math.max(0, fromMs), until: untilMs }
}

function MomentField(props: {
  label: string
  name: string
  value: string
  onType: (value: string) => void
}): JSX.Element {
  return (
    <label>
      {props.label}
      <input
        type="datetime-local"
        name={props.name}
        value={props.value}
        required
        onInput={(event) => props.onType(event.currentTarget.value)}
      />
    </label>
  )
}

/** The fields. */
export function PeriodFields(props: {
  draft: PeriodDraft
  lengths: readonly PeriodLength[]
  kinds: readonly string[]
  kindsLabel: string
  onChange: (draft: PeriodDraft) => void
}): JSX.Element {
  const { draft, onChange } = props
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
  return (
    <div class="columns">
      <fieldset class="choice">
        <legend>{t('patient.period.which')}</legend>
        {props.lengths.map((length) => (
          <label key={length} class="check">
            <input
              type="radio"
              name="length"
              value={length}
              checked={draft.length === length}
              onChange={() => onChange({ ...draft, length })}
            />
            {t(`patient.period.${length}`)}
          </label>
        ))}
        {draft.length === 'own' && (
          <>
            <MomentField
              label={t('patient.period.from')}
              name="from"
              value={draft.from}
              onType={(from) => onChange({ ...draft, from })}
            />
            <MomentField
              label={t('patient.period.until')}
              name="until"
              value={draft.until}
              onType={(until) => onChange({ ...draft, until })}
            />
            <p class="soft">{t('patient.period.zone', { zone })}</p>
          </>
        )}
      </fieldset>
      <fieldset class="choice">
        <legend>{props.kindsLabel}</legend>
        {props.kinds.map((kind) => (
          <label key={kind} class="check">
            <input
              type="checkbox"
              name={kind}
              checked={draft.kinds.includes(kind)}
              onChange={({ currentTarget: { checked } }) =>
                onChange({
                  ...draft,
                  kinds: props.kinds.filter((one) => (one === kind ? checked : draft.kinds.includes(one))),
                })
              }
            />
            {streamName(kind)}
          </label>
        ))}
      </fieldset>
    </div>
  )
}
