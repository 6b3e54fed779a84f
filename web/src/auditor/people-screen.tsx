/** The administrator's short list: whom this organisation brought in, and whether a doctor may practise. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { nodeNowMs } from '../frame/api.ts'
import type { Live } from '../frame/live.ts'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { type LicenceAct, LicenceDialog } from './licence-dialog.tsx'
import type { Person } from './model.ts'
import { SponsorForm } from './sponsor-form.tsx'

const roleDoctor = 2
/** What is typed is looked for after a pause. */
const typingMs = 250

interface People {
  readonly organisation: string
  readonly people: readonly Person[]
  readonly count: number
}

function licenceWords({ licence }: Person): string {
  if (licence === null) return t('auditor.licence.none')
  if (licence.state === 1 && licence.to < nodeNowMs()) return t('auditor.licence.over')
  const words = t(`auditor.licence.${licence.state}` as TextKey)
  return licence.state === 1
    ? `${words} ${t('auditor.people.licensed.until', { until: formatMoment(licence.to) })}`
    : words
}

function PersonRow(props: { person: Person; onAct: (act: LicenceAct) => void }): JSX.Element {
  const { person, onAct } = props
  const isDoctor = person.role === roleDoctor && person.isOnRecord
  const isActive = person.licence?.state === 1
  return (
    <li class="person">
      <div>
        <a href={hrefOf(['explorer', 'account', person.account])}>
          <bdi>{person.name}</bdi>
        </a>
        <span class="soft"> {t(`auditor.role.${person.role}` as TextKey)}</span>
        {!person.isOnRecord && <span class="tag late">{t('auditor.people.waiting')}</span>}
        {isDoctor && (
          <p class="soft">
            {t('auditor.account.licence')}: {licenceWords(person)}
          </p>
        )}
      </div>
      {isDoctor && (
        <div class="acts">
          {!isActive && (
            <button type="button" class="primary" onClick={() => onAct('give')}>
              {t('auditor.licence.give')}
            </button>
          )}
          {isActive && (
            <button type="button" onClick={() => onAct('suspend')}>
              {t('auditor.licence.suspend')}
            </button>
          )}
          {person.licence !== null && person.licence.state !== 3 && (
            <button type="button" class="danger" onClick={() => onAct('withdraw')}>
              {t('auditor.licence.withdraw')}
            </button>
          )}
        </div>
      )}
    </li>
  )
}

/** The people screen. */
export function PeopleScreen(props: { live: Live; role: string; owner: string }): JSX.Element {
  const [find, setFind] = useState('')
  const [wanted, setWanted] = useState('')
  const [asked, setAsked] = useState<{ person: Person; act: LicenceAct }>()
  useEffect(() => {
    const timer = setTimeout(() => setWanted(find), typingMs)
    return () => clearTimeout(timer)
  }, [find])
  const isAdministrator = props.role === 'administrator'
  const path = isAdministrator ? `/v1/people?find=${encodeURIComponent(wanted)}` : undefined
  const resource = useResource<People>(path, { live: props.live, on: ['head'] })
  if (!isAdministrator) return <p class="empty">{t('auditor.people.only')}</p>
  const reload = (): void => void resource.reload()
  return (
    <>
      <h1>{t('auditor.people')}</h1>
      <p class="soft">{t('auditor.people.words')}</p>
      <section class="card" aria-label={t('auditor.people')}>
        <label>
          {t('auditor.people.find')}
          <input type="search" maxLength={128} value={find} onInput={(event) => setFind(event.currentTarget.value)} />
        </label>
        <Shown resource={resource}>
          {({ people, count }) => (
            <>
              <p class="soft">{t('auditor.people.count', { count })}</p>
              {people.length === 0 && (
                <p class="empty">{t(wanted === '' ? 'auditor.people.none' : 'auditor.people.nomatch')}</p>
              )}
              <ul class="plain">
                {people.map((person) => (
                  <PersonRow person={person} key={person.account} onAct={(act) => setAsked({ person, act })} />
                ))}
              </ul>
            </>
          )}
        </Shown>
      </section>
      {resource.value !== undefined && (
        <SponsorForm owner={props.owner} organisation={resource.value.organisation} onRecorded={reload} />
      )}
      {asked !== undefined && (
        <LicenceDialog person={asked.person} act={asked.act} onClose={() => setAsked(undefined)} onRecorded={reload} />
      )}
    </>
  )
}
