/** One field that finds a block, an entry, a transaction or an account. */
import type { JSX } from 'preact'
import { Failure, textOf, useAct } from '../frame/act.tsx'
import { ApiError, call } from '../frame/api.ts'
import { go } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import type { AsOf } from './ledger-read.ts'
import { type ChainName, chainNames } from './model.ts'

/** What the reader typed. */
type Wanted = AsOf | { readonly kind: 'id'; readonly id: string }

/** Reads "12", "block 12", or an id; undefined for anything else. */
export function parseWanted(text: string): Wanted | undefined {
  const plain = text.trim().toLowerCase()
  if (/^[0-9a-f]{64}$/.test(plain)) return { kind: 'id', id: plain }
  const [, word, digits = ''] = /^(\p{L}*)\s*([\d\s.,'’]+)$/u.exec(plain) ?? []
  const number = Number(digits.replaceAll(/\D/g, '') || Number.NaN)
  if (!Number.isSafeInteger(number)) return undefined
  return { kind: word === 'block' ? 'block' : 'entry', number }
}

interface Status {
  readonly status: string
  readonly index?: number
}

/** Where what was typed leads; undefined: nowhere. */
async function placeOf(chain: ChainName, wanted: Wanted): Promise<readonly string[] | undefined> {
  if (wanted.kind === 'id') {
    for (const each of chainNames) {
      const { status, index } = await call<Status>(`/v1/${each}/transactions/${wanted.id}`)
      // A registration's id is the account's name: the account says more.
      if (status !== 'committed' || index === undefined) continue
      const { transactions } = await call<{ transactions: readonly { index: number; type: string }[] }>(
        `/v1/${each}/accounts/${wanted.id}/transactions?before=${Number.MAX_SAFE_INTEGER}`,
      )
      if (transactions.length > 1) return ['explorer', 'account', wanted.id]
      return ['explorer', each, 'entry', String(index)]
    }
    return ['explorer', 'account', wanted.id]
  }
  const path = wanted.kind === 'block' ? `summaries/${wanted.number}` : `places/${wanted.number}`
  try {
    await call(`/v1/${chain}/${path}`)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
  return ['explorer', chain, wanted.kind, String(wanted.number)]
}

/** The search of the explorer. */
export function ExplorerSearch(props: { chain: ChainName }): JSX.Element {
  const { isBusy, error, act, setError } = useAct<[string]>(async (typed): Promise<void> => {
    const wanted = parseWanted(typed)
    if (wanted === undefined) return setError(t('auditor.explorer.bad'))
    const place = await placeOf(props.chain, wanted)
    if (place === undefined) setError(t('auditor.explorer.notfound'))
    else go(place)
  })
  return (
    <form
      class="card search"
      onSubmit={(event) => {
        event.preventDefault()
        const typed = textOf(new FormData(event.currentTarget), 'wanted')
        if (typed !== '') void act(typed)
      }}
    >
      <label>
        {t('auditor.explorer.search')}
        <input name="wanted" maxLength={100} autocomplete="off" spellcheck={false} aria-describedby="search-hint" />
      </label>
      <button type="submit" aria-disabled={isBusy}>
        {isBusy ? t('working') : t('auditor.explorer.find')}
      </button>
      <p class="soft" id="search-hint">
        {t('auditor.explorer.hint')}
      </p>
      <Failure error={error} />
    </form>
  )
}
