/** Giving access: whom, are these her words, what and how long, and what that means; then the second factor. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { type Act, Failure, useAct } from '../frame/act.tsx'
import { ApiError, call, nodeNowMs } from '../frame/api.ts'
import { EvidenceFields, postWithEvidence } from '../frame/evidence.tsx'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { go, hrefOf, usePlace } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { type Draft, draftOf, dropDraft, keepDraft, windowOf } from './draft.ts'
import type { Contact, Directory, Exposure } from './model.ts'
import { usePatient } from './node.ts'
import { ExposureList } from './revoke.tsx'
import { isolated, purposeName, purposes, streamKinds, streamName } from './words.ts'

interface StepProps {
  readonly draft: Draft
  readonly change: (part: Partial<Draft>) => void
}

const searchMs = 250
const steps = ['who', 'words', 'what', 'sure'] as const
type Step = (typeof steps)[number]

/** The title of a step takes the focus, so that a screen reader begins there. */
function StepTitle(props: { step: Step }): JSX.Element {
  const title = useRef<HTMLHeadingElement>(null)
  useEffect(() => title.current?.focus(), [props.step])
  return (
    <>
      <p class="soft">{t('patient.give.step', { step: steps.indexOf(props.step) + 1, steps: steps.length })}</p>
      <h1 ref={title} tabIndex={-1}>
        {t(`patient.give.${props.step}`)}
      </h1>
    </>
  )
}

function titleOf(contact: Contact): string {
  return contact.petname ?? contact.name ?? t('patient.unnamed')
}

function FoundContact(props: { contact: Contact; onPick: () => void }): JSX.Element {
  const { contact, onPick } = props
  const title = titleOf(contact)
  return (
    <li class="row found">
      <div>
        <strong>
          <bdi>{title}</bdi>
        </strong>
        {contact.petname !== null && contact.name !== null && contact.petname !== contact.name && (
          <span class="soft">
            {' '}
            (<bdi>{contact.name}</bdi>)
          </span>
        )}
        <p class="soft">
          {t(contact.role === 2 ? 'patient.role.doctor' : 'patient.role.other')}
          {' · '}
          {t(contact.isLicensed ? 'patient.licence.good' : 'patient.licence.none')}
          {contact.comparedAt !== null && ` · ${t('patient.words.compared')}`}
        </p>
        {!contact.isCardRight && <p class="notice bad">{t('patient.words.cardWrong')}</p>}
      </div>
      <button type="button" onClick={onPick} disabled={!contact.isLicensed || !contact.isCardRight}>
        {t('patient.give.pick')}
        <span class="hidden"> {title}</span>
      </button>
    </li>
  )
}

function WhoStep({ change }: StepProps): JSX.Element {
  const { base } = usePatient()
  const [typed, setTyped] = useState('')
  const [query, setQuery] = useState('')
  useEffect(() => {
    const timer = setTimeout(() => setQuery(typed), searchMs)
    return () => clearTimeout(timer)
  }, [typed])
  const directory = useResource<Directory>(`${base}/directory?q=${encodeURIComponent(query)}`)
  return (
    <>
      <StepTitle step="who" />
      <label>
        {t('patient.give.search')}
        <input
          type="search"
          value={typed}
          maxLength={128}
          onInput={(event) => setTyped(event.currentTarget.value)}
          autocomplete="off"
        />
      </label>
      <Shown resource={directory} isEmpty={({ found }) => found.length === 0} empty={<p>{t('patient.give.nobody')}</p>}>
        {({ found, isMore, unreachable }) => (
          <>
            <ul class="plain card">
              {found.map((contact) => (
                <FoundContact
                  key={contact.account}
                  contact={contact}
                  onPick={() => {
                    change({ contact, petname: titleOf(contact), isCompared: contact.comparedAt !== null })
                    go(['give', 'words'])
                  }}
                />
              ))}
            </ul>
            {isMore && <p class="soft">{t('patient.give.more')}</p>}
            {unreachable > 0 && <p class="notice late">{t('patient.give.unreachable', { count: unreachable })}</p>}
          </>
        )}
      </Shown>
    </>
  )
}

function WordsStep({ draft, change }: StepProps): JSX.Element {
  const { contact, petname, isCompared } = draft
  if (contact === undefined) return <WhoStep draft={draft} change={change} />
  const name = isolated(titleOf(contact))
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        go(['give', 'what'])
      }}
    >
      <StepTitle step="words" />
      <p>{t('patient.words.why', { name })}</p>
      {contact.isKeyChanged && <p class="notice bad">{t('patient.words.changed')}</p>}
      <ol class="six">
        {contact.words.map((word) => (
          <li key={word} lang="en">
            {word}
          </li>
        ))}
      </ol>
      <label class="check">
        <input
          type="checkbox"
          checked={isCompared}
          onChange={(event) => change({ isCompared: event.currentTarget.checked })}
        />
        {t('patient.words.same', { name })}
      </label>
      <p class="soft">{t('patient.words.else')}</p>
      <label>
        {t('patient.words.petname')}
        <input
          name="petname"
          value={petname}
          required
          maxLength={128}
          dir="auto"
          onInput={(event) => change({ petname: event.currentTarget.value })}
        />
      </label>
      <Buttons back={['give']} isReady={isCompared && petname.trim() !== ''} why={t('patient.words.first')} />
    </form>
  )
}

function Buttons(props: { back: readonly string[]; isReady: boolean; why: string }): JSX.Element {
  return (
    <>
      {!props.isReady && (
        <p class="soft" id="why-not">
          {props.why}
        </p>
      )}
      <div class="actions">
        <a class="button" href={hrefOf(props.back)}>
          {t('patient.back')}
        </a>
        <button type="submit" class="primary" disabled={!props.isReady}>
          {t('patient.next')}
        </button>
      </div>
    </>
  )
}

function Choice<V extends string | number>(props: {
  label: string
  name: string
  value: V
  of: readonly V[]
  words: (value: V) => string
  onChoose: (value: V) => void
}): JSX.Element {
  return (
    <fieldset class="choice">
      <legend>{props.label}</legend>
      {props.of.map((value) => (
        <label key={value} class="check">
          <input
            type="radio"
            name={props.name}
            value={value}
            checked={props.value === value}
            onChange={() => props.onChoose(value)}
          />
          {props.words(value)}
        </label>
      ))}
    </fieldset>
  )
}

function WhatStep({ draft, change }: StepProps): JSX.Element {
  const { streams } = draft
  const toggle = (kind: string, isOn: boolean): void =>
    change({ streams: streamKinds.filter((one) => (one === kind ? isOn : streams.includes(one))) })
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        go(['give', 'sure'])
      }}
    >
      <StepTitle step="what" />
      <div class="columns">
        <fieldset class="choice">
          <legend>{t('patient.give.streams')}</legend>
          {streamKinds.map((kind) => (
            <label key={kind} class="check">
              <input
                type="checkbox"
                name={kind}
                checked={streams.includes(kind)}
                onChange={(event) => toggle(kind, event.currentTarget.checked)}
              />
              {streamName(kind)}
            </label>
          ))}
        </fieldset>
        <Choice
          label={t('patient.give.past')}
          name="past"
          value={draft.past}
          of={['none', 'day', 'month', 'all']}
          words={(past) => t(`patient.past.${past}`)}
          onChoose={(past) => change({ past })}
        />
        <Choice
          label={t('patient.give.end')}
          name="end"
          value={draft.end}
          of={['day', 'month', 'year', 'never']}
          words={(end) => t(`patient.end.${end}`)}
          onChoose={(end) => change({ end })}
        />
        <Choice
          label={t('patient.give.purpose')}
          name="purpose"
          value={draft.purpose}
          of={purposes}
          words={purposeName}
          onChoose={(purpose) => change({ purpose })}
        />
      </div>
      <p class="soft">{t('patient.give.public')}</p>
      <Buttons back={['give', 'words']} isReady={streams.length > 0} why={t('patient.give.noStream')} />
    </form>
  )
}

/** The act itself: done once, however often it is pressed. */
function useGiving(draft: Draft, contact: Contact, window: { from: number; until?: number }): Act<[FormData]> {
  const { base, session, reloadNames, factor } = usePatient()
  return useAct<[FormData]>(async (fields) => {
    const name = draft.petname.trim()
    await call(`${base}/contacts/${contact.account}`, { method: 'PUT', body: { name, compared: draft.isCompared } })
    const { streams, purpose } = draft
    const body = { doctor: contact.account, streams, purpose, ...window }
    try {
      await postWithEvidence(`${base}/second-factor`, { path: `${base}/grants`, body, fields })
    } catch (error) {
      // It was turned on elsewhere meanwhile: the next drawing asks for it.
      if (error instanceof ApiError && error.code === 'ERR_CODE_NEEDED') await factor.reload()
      throw error
    }
    dropDraft(session.name)
    reloadNames()
    go([])
  })
}

/** The second factor, or that there is none. */
function EvidenceOrAdvice(): JSX.Element | null {
  const { factor } = usePatient()
  if (factor.value === undefined) return null
  if (factor.value.on) return <EvidenceFields view={factor.value} />
  return (
    <p class="notice late">
      {t('patient.give.noFactor')} <a href={hrefOf(['safety'])}>{t('patient.safety.title')}</a>
    </p>
  )
}

function SureStep({ draft }: StepProps): JSX.Element {
  const { base } = usePatient()
  const [startMs] = useState(nodeNowMs)
  const contact = draft.contact as Contact
  const window = useMemo(() => windowOf(draft, startMs), [draft, startMs])
  const { act, error, isBusy } = useGiving(draft, contact, window)
  const query = new URLSearchParams({
    ...{ doctor: contact.account, streams: draft.streams.join(), from: String(window.from) },
    ...(window.until === undefined ? {} : { until: String(window.until) }),
  })
  const exposure = useResource<readonly Exposure[]>(`${base}/exposure?${query}`)
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void act(new FormData(event.currentTarget))
      }}
    >
      <StepTitle step="sure" />
      <section class="card">
        <h2>
          <bdi>{draft.petname}</bdi>
        </h2>
        <Shown resource={exposure}>
          {(rows) => {
            const before = rows.filter(({ state }) => state === 'before')
            const early = before.find(({ records }) => records > 0)
            return (
              <>
                <ExposureList rows={before} />
                {draft.past === 'none' && early !== undefined && (
                  <p class="soft">{t('patient.give.grid', { from: formatMoment(early.from) })}</p>
                )}
              </>
            )
          }}
        </Shown>
        <p class="soft">{t('patient.give.purposeIs', { purpose: purposeName(draft.purpose) })}</p>
      </section>
      <p>{t('patient.give.undo')}</p>
      <EvidenceOrAdvice />
      <Failure error={error} />
      <div class="actions">
        <a class="button" href={hrefOf(['give', 'what'])}>
          {t('patient.back')}
        </a>
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {isBusy ? t('working') : t('patient.give.do')}
        </button>
      </div>
    </form>
  )
}

/** Give access. */
export function GiveScreen(): JSX.Element {
  const { session } = usePatient()
  const { path } = usePlace()
  const [draft, setDraft] = useState(() => draftOf(session.name))
  const change = (part: Partial<Draft>): void => {
    const next = { ...draft, ...part }
    keepDraft(session.name, next)
    setDraft(next)
  }
  const step = path[1] ?? 'who'
  // An address that was kept, without what was chosen before it, begins at the beginning.
  const isEarly = draft.contact === undefined || (step === 'sure' && draft.streams.length === 0)
  const props = { draft, change }
  return (
    <div class="narrow">
      {step === 'words' && !isEarly ? (
        <WordsStep {...props} />
      ) : step === 'what' && !isEarly ? (
        <WhatStep {...props} />
      ) : step === 'sure' && !isEarly ? (
        <SureStep {...props} />
      ) : (
        <WhoStep {...props} />
      )}
    </div>
  )
}
