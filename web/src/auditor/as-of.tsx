/** The state as of an earlier block: which one is in the address, so that it can be gone back to and handed on. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { Failure, textOf } from '../frame/act.tsx'
import { Shown } from '../frame/notice.tsx'
import type { Resource } from '../frame/resource.ts'
import { go, hrefOf, type Place, usePlace } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { parseWanted } from './explorer-search.tsx'
import type { AsOf, Executing, RecordQuestion } from './ledger-read.ts'
import type { ChainName } from './model.ts'
import { useAsked } from './use-asked.ts'
import { chainWords, count } from './words.ts'

/** Which block an address names; undefined: the newest. */
export function asOfPlace({ query }: Place): AsOf | undefined {
  for (const kind of ['block', 'entry'] as const)
    if (/^(0|[1-9]\d{0,14})$/.test(query[kind] ?? '')) return { kind, number: Number(query[kind]) }
  return undefined
}

/** Asks which block, and says which one it is now. */
export function AsOfForm(props: { at: AsOf | undefined; chain: ChainName }): JSX.Element {
  const { at, chain } = props
  const { path } = usePlace()
  const [error, setError] = useState<string>()
  return (
    <form
      class="as-of"
      onSubmit={(event) => {
        event.preventDefault()
        const wanted = parseWanted(textOf(new FormData(event.currentTarget), 'at'))
        if (wanted === undefined || wanted.kind === 'id') return setError(t('auditor.asof.bad'))
        setError(undefined)
        go(path, { [wanted.kind]: String(wanted.number) })
      }}
    >
      <label>
        {t('auditor.asof', { chain: chainWords(chain) })}
        <input
          name="at"
          maxLength={30}
          autocomplete="off"
          placeholder={t('auditor.asof.example')}
          key={`${at?.kind} ${at?.number}`}
          defaultValue={
            at === undefined ? '' : at.kind === 'block' ? t('auditor.block', { height: at.number }) : String(at.number)
          }
        />
      </label>
      <button type="submit">{t('auditor.asof.show')}</button>
      {at !== undefined && <a href={hrefOf(path)}>{t('auditor.asof.newest')}</a>}
      <Failure error={error} />
    </form>
  )
}

/** Asks for records as of a block; `progress` while the node executes its log again for it. */
export function useAsOf<T>(
  key: string,
  at: AsOf | undefined,
  ask: (question: RecordQuestion) => Promise<T>,
): { readonly resource: Resource<T>; readonly progress: Executing | undefined } {
  const [progress, setProgress] = useState<Executing>()
  const resource = useAsked(`${key} ${at?.kind} ${at?.number}`, (signal) => {
    setProgress(undefined)
    return ask({ at, signal, onProgress: setProgress })
  })
  return { resource, progress }
}

/** What was asked for as of a block, or how far the node is with it. */
export function AsOfShown<T>(props: {
  asked: { readonly resource: Resource<T>; readonly progress: Executing | undefined }
  children: (value: T) => JSX.Element
}): JSX.Element {
  const { resource, progress } = props.asked
  if (resource.isLoading && progress !== undefined) {
    const { executed, height } = progress
    return (
      <div role="status">
        <p>{t('auditor.asof.executing', { executed: count(executed), height: count(height) })}</p>
        <progress max={Math.max(1, height)} value={executed} aria-label={t('auditor.asof.progress')} />
      </div>
    )
  }
  return <Shown resource={resource}>{props.children}</Shown>
}
