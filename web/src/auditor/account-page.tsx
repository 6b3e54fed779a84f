/** An account: what is on record of it, proved here; and what names it on both ledgers. */
import { toHex } from '@healthblock/encoding/bytes'
import type { JSX } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { messageFor } from '../frame/notice.tsx'
import { hrefOf, usePlace } from '../frame/router.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { AccountLink } from './account-link.tsx'
import { AsOfForm, AsOfShown, asOfPlace, useAsOf } from './as-of.tsx'
import type { AccountState } from './ledger-read.ts'
import { type ChainName, chainNames } from './model.ts'
import { Names } from './names.ts'
import { typeWords } from './transaction-words.ts'
import { chainWords, count } from './words.ts'

function StateFacts(props: { state: AccountState }): JSX.Element {
  const { account, licence, height, signedBy } = props.state
  return (
    <>
      {account === undefined ? (
        <p>{t('auditor.account.none')}</p>
      ) : (
        <dl class="facts">
          <div>
            <dt>{t('auditor.field.role')}</dt>
            <dd>
              {t(`auditor.role.${account.role}` as TextKey)},{' '}
              <a href={hrefOf(['explorer', 'userchain', 'entry', String(account.o)])}>
                {t('auditor.account.since', { index: count(account.o) })}
              </a>
            </dd>
          </div>
          {account.sponsor !== undefined && (
            <div>
              <dt>{t('auditor.field.sponsor')}</dt>
              <dd>
                <AccountLink account={toHex(account.sponsor)} />
              </dd>
            </div>
          )}
          {account.role === 2 && (
            <div>
              <dt>{t('auditor.account.licence')}</dt>
              <dd>
                {licence === undefined
                  ? t('auditor.licence.none')
                  : `${t(`auditor.licence.${licence.state}` as TextKey)}, ${formatMoment(licence.from)} – ${formatMoment(licence.to)}`}
              </dd>
            </div>
          )}
        </dl>
      )}
      <p class="notice good">{t('auditor.account.proved', { count: signedBy, height: count(height) })}</p>
    </>
  )
}

interface Found {
  readonly index: number
  readonly height: number
  readonly type: string
}

interface FoundPage {
  readonly transactions: readonly Found[]
  readonly next: number | null
}

function Named(props: { chain: ChainName; account: string }): JSX.Element {
  const { chain, account } = props
  const [found, setFound] = useState<readonly Found[]>([])
  const [next, setNext] = useState<number | null | undefined>()
  const [error, setError] = useState<string>()
  const search = async (before: number | undefined): Promise<void> => {
    setError(undefined)
    try {
      const query = before === undefined ? '' : `?before=${before}`
      const page = await call<FoundPage>(`/v1/${chain}/accounts/${account}/transactions${query}`)
      setFound((known) => (before === undefined ? page.transactions : [...known, ...page.transactions]))
      setNext(page.next)
    } catch (cause) {
      setError(messageFor(cause))
    }
  }
  useEffect(() => {
    setFound([])
    setNext(undefined)
    void search(undefined)
  }, [chain, account])
  return (
    <section class="card" aria-label={chainWords(chain)}>
      <h2>
        {chainWords(chain)} <span class="figure">{count(found.length)}</span>
      </h2>
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      {next !== undefined && found.length === 0 && <p class="soft">{t('auditor.account.nothing')}</p>}
      <ul class="plain entries">
        {found.map(({ index, type }) => (
          <li key={index}>
            <a href={hrefOf(['explorer', chain, 'entry', String(index)])}>
              {t('auditor.place.entry', { index: count(index) })}
            </a>
            <span>{typeWords(type)}</span>
          </li>
        ))}
      </ul>
      {next === undefined && error === undefined && <p class="waiting">{t('loading')}</p>}
      {next === null && <p class="soft">{t('auditor.account.whole')}</p>}
      {typeof next === 'number' && (
        <button type="button" onClick={() => void search(next)}>
          {t('auditor.account.further')}
        </button>
      )}
    </section>
  )
}

/** An account by its name in hex. */
export function AccountPage(props: { account: string }): JSX.Element {
  const { account } = props
  const name = useContext(Names).get(account)
  const at = asOfPlace(usePlace())
  const state = useAsOf(account, at, async (question) =>
    (await import('./ledger-read.ts')).accountState(account, question),
  )
  return (
    <>
      <div class="verdict">
        <h1>{name === undefined ? t('auditor.account') : <bdi>{name}</bdi>}</h1>
        <p>
          <code>{account}</code>
        </p>
      </div>
      <section class="card" aria-label={t('auditor.account.state')}>
        <h2>{t('auditor.account.state')}</h2>
        <AsOfForm at={at} chain="userchain" />
        <AsOfShown asked={state}>{(value) => <StateFacts state={value} />}</AsOfShown>
      </section>
      <h2>{t('auditor.account.transactions')}</h2>
      <div class="beside">
        {chainNames.map((chain) => (
          <Named chain={chain} account={account} key={chain} />
        ))}
      </div>
    </>
  )
}
