/** Faults that this node found in its own files: what, where, healed or not; the administrator says that they are known. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { Shown } from '../frame/notice.tsx'
import type { Resource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import type { Incident } from './model.ts'
import { chainWords, count } from './words.ts'

/** Most incidents that are drawn at once. */
const shownMax = 200

function incidentTitle({ code }: Incident): string {
  return t(`auditor.incident.${code}` as TextKey)
}

function IncidentCard(props: { incident: Incident; canAcknowledge: boolean; onAsk: () => void }): JSX.Element {
  const { incident, canAcknowledge, onAsk } = props
  const { chain, height, index, found, healed, acknowledged } = incident
  return (
    <li class="card">
      <div class="row">
        <h2>{incidentTitle(incident)}</h2>
        {acknowledged === null && canAcknowledge && (
          <button type="button" class="primary" onClick={onAsk}>
            {t('auditor.acknowledge')}
          </button>
        )}
      </div>
      <p>
        <span class={`tag ${healed ? 'good' : 'bad'}`}>{t(healed ? 'auditor.healed' : 'auditor.nothealed')}</span>{' '}
        <span class={`tag ${acknowledged === null ? 'late' : ''}`}>
          {acknowledged === null
            ? t('auditor.unacknowledged')
            : t('auditor.acknowledged', { at: formatMoment(acknowledged) })}
        </span>
      </p>
      <p class="soft">
        {[
          t('auditor.found', { ago: formatAgo(found) }),
          formatMoment(found),
          chainWords(chain),
          t('auditor.place.block', { height: count(height) }),
        ].join(' · ')}{' '}
        <a href={hrefOf(['explorer', chain, 'entry', String(index)])}>
          {t('auditor.place.entry', { index: count(index) })}
        </a>
      </p>
    </li>
  )
}

/** The incidents screen. */
export function IncidentsScreen(props: { incidents: Resource<readonly Incident[]>; role: string }): JSX.Element {
  const { incidents, role } = props
  const [asked, setAsked] = useState<Incident>()
  const canAcknowledge = role === 'administrator'
  return (
    <Shown resource={incidents}>
      {(list) => {
        const open = list.filter(({ acknowledged }) => acknowledged === null).length
        const sorted = [...list].sort(
          (a, b) => Number(a.acknowledged !== null) - Number(b.acknowledged !== null) || b.number - a.number,
        )
        return (
          <>
            <div class={`verdict ${open === 0 ? 'good' : 'bad'}`}>
              <h1>{list.length === 0 ? t('auditor.incidents.none') : t('auditor.incidents.open', { count: open })}</h1>
              <p>{t('auditor.incidents.words')}</p>
            </div>
            {open > 0 && !canAcknowledge && <p class="notice late">{t('auditor.incidents.who')}</p>}
            <ul class="plain">
              {sorted.slice(0, shownMax).map((incident) => (
                <IncidentCard
                  key={incident.number}
                  incident={incident}
                  canAcknowledge={canAcknowledge}
                  onAsk={() => setAsked(incident)}
                />
              ))}
            </ul>
            {asked !== undefined && (
              <ConfirmDialog
                title={t('auditor.acknowledge.title')}
                action={t('auditor.acknowledge')}
                onClose={() => setAsked(undefined)}
                onConfirm={async () => {
                  await call(`/v1/incidents/${asked.number}/acknowledge`, { method: 'POST', body: {} })
                  await incidents.reload()
                  setAsked(undefined)
                }}
              >
                <p>{incidentTitle(asked)}</p>
                <p>{t('auditor.acknowledge.words')}</p>
              </ConfirmDialog>
            )}
          </>
        )
      }}
    </Shown>
  )
}
