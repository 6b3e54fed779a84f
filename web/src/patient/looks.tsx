/** Who looked at what, and when, by the hour: one person's looks, or everybody's. */
import type { JSX } from 'preact'
import { Failure } from '../frame/act.tsx'
import { Shown } from '../frame/notice.tsx'
import { usePaged } from '../frame/paged.ts'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatRange } from '../frame/time.ts'
import { LooksNote, lookedAt } from './looks-note.tsx'
import type { Look, Lookers, Looks } from './model.ts'
import { usePatient } from './node.ts'

function LookRow(props: { look: Look; isNamed: boolean }): JSX.Element {
  const { nameOf } = usePatient()
  const { kind, standing, reader, firstAt, at, count, measuredFrom, measuredTo } = props.look
  return (
    <li class={`entry-look ${standing}`}>
      {props.isNamed && (
        <a href={hrefOf(['looks', reader])}>
          {standing === 'keeper' ? t('patient.looks.keeper') : <bdi>{nameOf(reader)}</bdi>}
        </a>
      )}
      <p>
        <strong>{lookedAt(kind)}</strong>
        {standing === 'none' && <span class="tag severity high">{t('patient.looks.none')}</span>}
      </p>
      <p class="soft">
        {formatRange(firstAt, at)} · {t('patient.looks.count', { count })}
      </p>
      {measuredFrom !== null && measuredTo !== null && (
        <p class="soft">{t('patient.looks.measured', { range: formatRange(measuredFrom, measuredTo) })}</p>
      )}
    </li>
  )
}

/** The list. Without `reader`, of everybody. */
export function LooksScreen(props: { reader: string | undefined }): JSX.Element {
  const { base, live, nameOf } = usePatient()
  const { reader } = props
  const path = `${base}/looks${reader === undefined ? '' : `?reader=${encodeURIComponent(reader)}`}`
  const { newest, older, isMore, more } = usePaged<Looks>(path, { live, on: ['look'] }, ({ next }) =>
    next === null ? undefined : `after=${next}`,
  )
  const lookers = useResource<Lookers>(`${base}/lookers`, { live, on: ['look'] })
  const who = lookers.value?.lookers.find((one) => one.reader === reader)
  const name = who?.standing === 'keeper' ? t('patient.looks.keeper') : nameOf(reader ?? '')
  return (
    <div class="narrow">
      <p>
        <a href={hrefOf([])}>← {t('patient.back')}</a>
      </p>
      <h1>{reader === undefined ? t('patient.looks.title') : t('patient.looks.by', { name })}</h1>
      {who?.standing === 'keeper' && <p>{t('patient.looks.keeperWords')}</p>}
      <Shown resource={newest} isEmpty={({ looks }) => looks.length === 0} empty={<p>{t('patient.looks.nobody')}</p>}>
        {({ looks }) => (
          <>
            <ul class="plain card">
              {[...looks, ...older.flatMap((page) => page.looks)].map((look) => (
                <LookRow
                  key={`${look.reader}${look.kind}${look.standing}${look.firstAt}`}
                  look={look}
                  isNamed={reader === undefined}
                />
              ))}
            </ul>
            {isMore && (
              <button type="button" aria-disabled={more.isBusy} onClick={() => void more.act()}>
                {more.isBusy ? t('working') : t('patient.more')}
              </button>
            )}
            <Failure error={more.error} />
          </>
        )}
      </Shown>
      <LooksNote lookers={lookers.value} isEverybody={reader === undefined} />
    </div>
  )
}
