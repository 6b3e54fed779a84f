/** The explorer: both ledgers, block by block, entry by entry, account by account. */
import type { JSX } from 'preact'
import { useMemo } from 'preact/hooks'
import type { Live } from '../frame/live.ts'
import { NoSuchPlace } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf, usePlace } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { AccountPage } from './account-page.tsx'
import { BlockList } from './block-list.tsx'
import { BlockPage, EntryPage } from './entry-page.tsx'
import { ExplorerSearch } from './explorer-search.tsx'
import { LedgerHead } from './ledger-head.tsx'
import { type ChainName, chainNames } from './model.ts'
import { type Card, Names, namesOf } from './names.ts'
import { chainWords } from './words.ts'

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : undefined
}

function Inside(props: { path: readonly string[]; live: Live }): JSX.Element {
  const [first = 'userchain', second, third] = props.path
  if (first === 'account' && second !== undefined && /^[0-9a-f]{64}$/.test(second)) {
    return <AccountPage account={second} />
  }
  const chain = chainNames.find((name) => name === first)
  if (chain === undefined) return <NoSuchPlace />
  if (second === undefined) return <BlockList chain={chain} live={props.live} key={chain} />
  const number = numberOf(third)
  if (number === undefined) return <NoSuchPlace />
  if (second === 'block') return <BlockPage chain={chain} height={number} />
  return second === 'entry' ? <EntryPage chain={chain} index={number} /> : <NoSuchPlace />
}

/** The explorer screen and what lies below it. */
export function ExplorerScreen(props: { live: Live }): JSX.Element {
  const { path } = usePlace()
  const chain: ChainName = chainNames.find((name) => name === path[1]) ?? 'userchain'
  const isList = path[2] === undefined
  const cards = useResource<readonly Card[]>('/v1/directory')
  const names = useMemo(() => namesOf(cards.value), [cards.value])
  return (
    <Names.Provider value={names}>
      <h1 class={isList ? '' : 'hidden'}>{t('auditor.explorer')}</h1>
      <ExplorerSearch chain={chain} />
      {isList ? (
        <nav class="tabs" aria-label={t('auditor.explorer')}>
          {chainNames.map((name) => (
            <a key={name} href={hrefOf(['explorer', name])} aria-current={name === chain ? 'page' : undefined}>
              {chainWords(name)}
            </a>
          ))}
        </nav>
      ) : (
        <p>
          <a href={hrefOf(['explorer', chain])}>{t('auditor.back.explorer')}</a>
        </p>
      )}
      {isList && <LedgerHead chain={chain} live={props.live} />}
      <Inside path={path.slice(1)} live={props.live} />
    </Names.Provider>
  )
}
