/** The first screen: who can read me now, and the button that ends it. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import { AlarmRow, lookAlarmCode } from './alarm.tsx'
import { LooksNote, lookedAt } from './looks-note.tsx'
import type { Grant, Lookers } from './model.ts'
import { usePatient } from './node.ts'
import { RevokeDialog } from './revoke.tsx'
import { purposeName, streamList } from './words.ts'

const strangersShown = 5
/** Between looks whether a new access is on record. */
const underWayMs = 2_000

/** Everything that one person may read now. */
interface Reader {
  readonly doctor: string
  readonly grants: readonly Grant[]
}

function readersOf(grants: readonly Grant[]): Reader[] {
  const readers = new Map<string, Grant[]>()
  for (const grant of grants) {
    if (grant.state !== 'open') continue
    const mine = readers.get(grant.doctor)
    if (mine === undefined) readers.set(grant.doctor, [grant])
    else mine.push(grant)
  }
  return [...readers].map(([doctor, own]) => ({ doctor, grants: own })).reverse()
}

function GrantLine(props: { grant: Grant }): JSX.Element {
  const { grant } = props
  const headMs = Date.parse(grant.from) - Date.parse(grant.openedAt)
  const isPast = headMs < -3_600_000
  return (
    <dl class="facts">
      <dt>{t('patient.access.what')}</dt>
      <dd>
        {streamList(grant.streams)}
        {isPast && <span class="soft"> {t('patient.access.past', { from: formatMoment(grant.from) })}</span>}
        {headMs > 0 && <span class="soft"> {t('patient.access.later', { from: formatMoment(grant.from) })}</span>}
      </dd>
      <dt>{t('patient.access.since')}</dt>
      <dd>
        {grant.recordedAt === null
          ? t('patient.access.underWay', { asked: formatMoment(grant.openedAt) })
          : formatMoment(grant.recordedAt)}
      </dd>
      <dt>{t('patient.access.until')}</dt>
      <dd>
        {grant.until === null
          ? t('patient.access.endless')
          : `${formatMoment(grant.until)} (${formatAgo(grant.until)})`}
      </dd>
      <dt>{t('patient.access.purpose')}</dt>
      <dd>{purposeName(grant.purpose)}</dd>
    </dl>
  )
}

/** When a doctor's node last fetched, and what, as the storage nodes tell. */
function LastLook(props: { doctor: string; lookers: Lookers | undefined }): JSX.Element | null {
  const { nameOf } = usePatient()
  const { doctor, lookers } = props
  if (lookers === undefined) return null
  const last = lookers.lookers.find(({ reader }) => reader === doctor)
  if (last === undefined) return <p class="soft look">{t('patient.looks.never')}</p>
  return (
    <p class="look">
      {t('patient.looks.last', { what: lookedAt(last.kind), ago: formatAgo(last.at) })}{' '}
      <a href={hrefOf(['looks', doctor])}>
        {t('patient.looks.all')}
        <span class="hidden"> {nameOf(doctor)}</span>
      </a>
    </p>
  )
}

/** Alarms about who fetched without access stand before everything else. */
function Strangers(): JSX.Element | null {
  const { alarms } = usePatient()
  const open = alarms.value?.filter(({ code, acknowledged }) => code === lookAlarmCode && !acknowledged) ?? []
  if (open.length === 0) return null
  return (
    <section class="card alarms" aria-live="polite" aria-label={t('patient.looks.strangers')}>
      <ul class="plain">
        {open.slice(-strangersShown).map((alarm) => (
          <AlarmRow key={alarm.id} alarm={alarm} onSeen={alarms.reload} />
        ))}
      </ul>
    </section>
  )
}

function ReaderCard(props: { reader: Reader; lookers: Lookers | undefined; onRevoke: () => void }): JSX.Element {
  const { nameOf, contactOf } = usePatient()
  const { doctor, grants } = props.reader
  const contact = contactOf(doctor)
  const name = nameOf(doctor)
  return (
    <li class="card reader">
      <div class="row">
        <h2>
          <bdi>{name}</bdi>
        </h2>
        <button type="button" class="danger" onClick={props.onRevoke}>
          {t('patient.revoke')}
          <span class="hidden"> {name}</span>
        </button>
      </div>
      {grants.map((grant) => (
        <GrantLine key={grant.grant} grant={grant} />
      ))}
      <LastLook doctor={doctor} lookers={props.lookers} />
      {contact?.isKeyChanged === true && (
        <p class="notice bad" role="status">
          {t('patient.access.keyChanged')}
        </p>
      )}
    </li>
  )
}

function EndedList(props: { grants: readonly Grant[] }): JSX.Element | null {
  const { nameOf } = usePatient()
  const ended = props.grants.filter(({ state }) => state !== 'open').reverse()
  const [isAll, setAll] = useState(false)
  if (ended.length === 0) return null
  const shown = isAll ? ended : ended.slice(0, 20)
  return (
    <details class="card">
      <summary>{t('patient.access.ended', { count: ended.length })}</summary>
      <ul class="plain">
        {shown.map((grant) => (
          <li key={grant.grant} class="row ended">
            <span>
              <strong>
                <bdi>{nameOf(grant.doctor)}</bdi>
              </strong>
              <span class="soft">
                {' '}
                · {streamList(grant.streams)} · {t(`patient.state.${grant.state}`)}{' '}
                {formatMoment(grant.closedAt ?? grant.until ?? grant.openedAt)}
              </span>
            </span>
            {grant.closedBy !== null && (
              <a href={hrefOf(['ended', grant.closedBy])}>
                {t('patient.access.proof')}
                <span class="hidden"> {nameOf(grant.doctor)}</span>
              </a>
            )}
          </li>
        ))}
      </ul>
      {shown.length < ended.length && (
        <button type="button" onClick={() => setAll(true)}>
          {t('patient.more')}
        </button>
      )}
    </details>
  )
}

/** What a newcomer does first. */
function FirstSteps(): JSX.Element | null {
  const { security } = usePatient()
  if (security.value === undefined || security.value.rehearsedAt !== null) return null
  return (
    <aside class="notice late first">
      <p>
        <strong>{t('patient.first.title')}</strong> {t('patient.first.words')}
      </p>
      <a class="button" href={hrefOf(['safety'])}>
        {t('patient.first.action')}
      </a>
    </aside>
  )
}

function titleWords(count: number | undefined): string {
  if (count === undefined) return t('patient.access.title')
  return count === 0 ? t('patient.access.nobody') : t('patient.access.count', { count })
}

/** Who can read me now. */
export function AccessScreen(): JSX.Element {
  const { base, live } = usePatient()
  const [isUnderWay, setUnderWay] = useState(false)
  const grants = useResource<readonly Grant[]>(`${base}/grants`, {
    ...{ live, on: ['revocation', 'grant'], everyMs: isUnderWay ? underWayMs : 60_000 },
  })
  const isWaiting = grants.value?.some(({ state, recordedAt }) => state === 'open' && recordedAt === null) ?? false
  useEffect(() => setUnderWay(isWaiting), [isWaiting])
  const lookers = useResource<Lookers>(`${base}/lookers`, { live, on: ['look'], everyMs: 30_000 })
  const [revoking, setRevoking] = useState<string>()
  const readers = useMemo(() => readersOf(grants.value ?? []), [grants.value])
  return (
    <>
      <FirstSteps />
      <Strangers />
      <div class="row title">
        <h1>{titleWords(grants.value === undefined ? undefined : readers.length)}</h1>
        <a class="button primary" href={hrefOf(['give'])}>
          {t('patient.give')}
        </a>
      </div>
      <Shown
        resource={grants}
        isEmpty={(value) => value.length === 0}
        empty={
          <>
            <p>{t('patient.access.empty')}</p>
            <a href={hrefOf(['give'])}>{t('patient.access.emptyAction')}</a>
          </>
        }
      >
        {(value) => (
          <>
            <ul class="plain">
              {readers.map((reader) => (
                <ReaderCard
                  key={reader.doctor}
                  reader={reader}
                  lookers={lookers.value}
                  onRevoke={() => setRevoking(reader.doctor)}
                />
              ))}
            </ul>
            <EndedList grants={value} />
            <LooksNote lookers={lookers.value} />
          </>
        )}
      </Shown>
      {revoking !== undefined && (
        <RevokeDialog
          doctor={revoking}
          isOpen={readers.some(({ doctor }) => doctor === revoking)}
          onClose={() => setRevoking(undefined)}
        />
      )}
    </>
  )
}
