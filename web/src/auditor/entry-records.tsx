/** What an entry made or changed, as the ledger's state has it after that block, or another: proved in the browser when it is asked for. */
import { toHex } from '@healthblock/encoding/bytes'
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { hrefOf, usePlace } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { AccountLink } from './account-link.tsx'
import { AsOfForm, AsOfShown, asOfPlace, useAsOf } from './as-of.tsx'
import type { AsOf, PlacedEntry } from './ledger-read.ts'
import type { ChainName } from './model.ts'
import type { EntryRecord } from './record-read.ts'
import { count } from './words.ts'

function EntryLink(props: { chain: ChainName; index: number }): JSX.Element {
  const { chain, index } = props
  return (
    <a href={hrefOf(['explorer', chain, 'entry', String(index)])}>
      {t('auditor.place.entry', { index: count(index) })}
    </a>
  )
}

/** One record: what it is, since which entry, until which; or that there was none. */
function RecordLine(props: { record: EntryRecord }): JSX.Element {
  const { record } = props
  const chain = record.kind === 'grant' ? 'userchain' : 'docchain'
  if (record.value === undefined) return <li>{t(`auditor.record.${record.kind}.none`)}</li>
  const { o, c } = record.value
  const isOpen = c === undefined
  return (
    <li>
      <strong>{t(`auditor.record.${record.kind}.${isOpen ? 'open' : 'closed'}`)}</strong>
      <dl class="facts">
        {record.kind === 'grant' && (
          <>
            <div>
              <dt>{t('auditor.field.to')}</dt>
              <dd>
                <AccountLink account={toHex(record.value.to)} />
              </dd>
            </div>
            <div>
              <dt>{t('auditor.field.streams')}</dt>
              <dd>{count(record.value.streams.length)}</dd>
            </div>
            <div>
              <dt>{t('auditor.field.until')}</dt>
              <dd>{record.value.until > 8.64e15 ? t('auditor.record.endless') : formatMoment(record.value.until)}</dd>
            </div>
          </>
        )}
        <div>
          <dt>{t('auditor.record.since')}</dt>
          <dd>
            <EntryLink chain={chain} index={o} />
          </dd>
        </div>
        {c !== undefined && (
          <div>
            <dt>{t('auditor.record.ended')}</dt>
            <dd>
              <EntryLink chain={chain} index={c} />
            </dd>
          </div>
        )}
      </dl>
    </li>
  )
}

function Records(props: { entry: PlacedEntry; at: AsOf }): JSX.Element {
  const { entry, at } = props
  const asked = useAsOf(`records ${entry.id}`, at, async (question) =>
    (await import('./record-read.ts')).recordsOfEntry(entry, question),
  )
  return (
    <AsOfShown asked={asked}>
      {(records) => {
        const [first] = records
        return (
          <>
            <ul class="plain records">
              {records.map((record, place) => (
                <RecordLine record={record} key={place} />
              ))}
            </ul>
            {first !== undefined && (
              <p class="notice good">
                {t('auditor.account.proved', { count: first.signedBy, height: count(first.height) })}
              </p>
            )}
          </>
        )
      }}
    </AsOfShown>
  )
}

/** The records of an entry of a type that has any; asked for when it is opened, since the node must work for it. */
export function EntryRecords(props: { entry: PlacedEntry }): JSX.Element | null {
  const { entry } = props
  const named = asOfPlace(usePlace())
  const [isOpen, setOpen] = useState(named !== undefined)
  const { body } = entry.transaction
  const isGrants = body.t === 'key' && body.open.length + body.close.length > 0
  if (!isGrants && body.t !== 'diagnosis' && body.t !== 'amend') return null
  return (
    <section class="card" aria-label={t('auditor.record')}>
      <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>{t('auditor.record')}</summary>
        {isOpen && (
          <>
            <AsOfForm at={named} chain={isGrants ? 'userchain' : 'docchain'} />
            <Records entry={entry} at={named ?? { kind: 'entry', number: entry.index }} />
          </>
        )}
      </details>
    </section>
  )
}
