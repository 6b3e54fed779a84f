/**
 * Blocks of a ledger, newest first: a list of any length of which only what is seen is drawn, in pages that are asked for when they come
 * into sight. What is new waits behind a button, so that nothing moves under the reader's hand.
 */
import type { JSX } from 'preact'
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import type { Live } from '../frame/live.ts'
import { messageFor } from '../frame/notice.tsx'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatInstant } from '../frame/time.ts'
import type { BlockSummary, ChainName } from './model.ts'
import { typeWords } from './transaction-words.ts'
import { count } from './words.ts'

const rowPx = 48
const pageBlocks = 100
/** Rows drawn beyond what is seen. */
const spareRows = 8

interface Page {
  readonly height: number | null
  readonly blocks: readonly BlockSummary[]
}

/** Keeps pages of blocks by height. */
function usePages(chain: ChainName): {
  top: number | undefined
  latest: number | undefined
  error: string | undefined
  blockAt: (height: number) => BlockSummary | undefined
  want: (from: number, to: number) => void
  refresh: (isShown: boolean) => Promise<void>
} {
  const blocks = useMemo(() => new Map<number, BlockSummary>(), [chain])
  const asked = useMemo(() => new Set<number>(), [chain])
  const [top, setTop] = useState<number>()
  const [latest, setLatest] = useState<number>()
  const [error, setError] = useState<string>()
  const [, setTurn] = useState(0)
  const take = (page: Page): void => {
    for (const block of page.blocks) blocks.set(block.height, block)
    if (page.height !== null) setLatest((before) => Math.max(before ?? -1, page.height as number))
    setTurn((turn) => turn + 1)
  }
  const refresh = useCallback(
    async (isShown: boolean) => {
      try {
        const page = await call<Page>(`/v1/${chain}/summaries?limit=${pageBlocks}`, { isBackground: true })
        take(page)
        setTop((before) => (before === undefined || isShown ? (page.height ?? -1) : before))
        setError(undefined)
      } catch (cause) {
        setError(messageFor(cause))
      }
    },
    [chain],
  )
  const want = (from: number, to: number): void => {
    // A page may end early where blocks are full: the highest that is missing is asked for, and so on until none is.
    let missing = to
    while (missing >= from && blocks.has(missing)) missing--
    if (missing < from || asked.has(missing)) return
    asked.add(missing)
    call<Page>(`/v1/${chain}/summaries?before=${missing + 1}&limit=${pageBlocks}`, { isBackground: true })
      .then(take, (cause: unknown) => setError(messageFor(cause)))
      .finally(() => asked.delete(missing))
  }
  return { top, latest, error, blockAt: (height) => blocks.get(height), want, refresh }
}

function typesOf(block: BlockSummary): string {
  const types = Object.entries(block.types)
  if (types.length === 0) return t('auditor.block.idle')
  return types
    .map(([type, times]) => (times === 1 ? typeWords(type) : `${count(times)} × ${typeWords(type)}`))
    .join(', ')
}

function Row(props: { chain: ChainName; height: number; block: BlockSummary | undefined; top: number }): JSX.Element {
  const { chain, height, block, top } = props
  return (
    <li
      class="block-row"
      style={{ top: `${(top - height) * rowPx}px`, height: `${rowPx}px` }}
      aria-setsize={top + 1}
      aria-posinset={top - height + 1}
    >
      <a href={hrefOf(['explorer', chain, 'block', String(height)])} data-height={height}>
        {t('auditor.block', { height: count(height) })}
      </a>
      <span class="block-time">{block === undefined ? '' : formatInstant(block.ms)}</span>
      <span class="block-types">{block === undefined ? t('loading') : typesOf(block)}</span>
    </li>
  )
}

/** Moves the focus by so many rows; the row is brought into sight first. */
function moveFocus(box: HTMLElement, event: KeyboardEvent, top: number): void {
  const step = Math.max(1, Math.floor(box.clientHeight / rowPx) - 1)
  const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: step, PageUp: -step }
  const link = (event.target as HTMLElement).closest<HTMLElement>('[data-height]')
  if (link === null) return
  const row = top - Number(link.dataset.height)
  const next = event.key === 'Home' ? 0 : event.key === 'End' ? top : row + (steps[event.key] ?? Number.NaN)
  if (Number.isNaN(next)) return
  event.preventDefault()
  const wanted = Math.min(top, Math.max(0, next))
  const y = wanted * rowPx
  if (y < box.scrollTop) box.scrollTop = y
  else if (y + rowPx > box.scrollTop + box.clientHeight) box.scrollTop = y + rowPx - box.clientHeight
  const focus = (tries: number): void => {
    const target = box.querySelector<HTMLElement>(`[data-height="${top - wanted}"]`)
    if (target !== null) target.focus({ preventScroll: true })
    else if (tries > 0) requestAnimationFrame(() => focus(tries - 1))
  }
  requestAnimationFrame(() => focus(10))
}

/** Before the first page is there. */
function NotYet(props: { error: string | undefined; onRetry: () => void }): JSX.Element {
  if (props.error === undefined) return <p class="waiting">{t('loading')}</p>
  return (
    <div class="notice bad" role="alert">
      <p>{props.error}</p>
      <button type="button" onClick={props.onRetry}>
        {t('retry')}
      </button>
    </div>
  )
}

/** The list of one ledger. */
export function BlockList(props: { chain: ChainName; live: Live }): JSX.Element {
  const { chain, live } = props
  const { top, latest, error, blockAt, want, refresh } = usePages(chain)
  const box = useRef<HTMLUListElement>(null)
  const [scroll, setScroll] = useState({ y: 0, height: 600 })
  useEffect(() => {
    void refresh(true)
    return live.listen((event) => {
      if (event === undefined || (event.type === 'head' && event.chain === chain)) {
        void refresh((box.current?.scrollTop ?? 0) === 0 && !(box.current?.contains(document.activeElement) ?? false))
      }
    })
  }, [refresh, live, chain])
  useLayoutEffect(() => {
    if (box.current !== null) setScroll({ y: box.current.scrollTop, height: box.current.clientHeight })
  }, [top === undefined])
  const first = Math.max(0, Math.floor(scroll.y / rowPx) - spareRows)
  const last = Math.min(top ?? -1, Math.ceil((scroll.y + scroll.height) / rowPx) + spareRows)
  useEffect(() => {
    if (top !== undefined && top >= 0) want(top - last, top - first)
  })
  if (top === undefined) return <NotYet error={error} onRetry={() => void refresh(true)} />
  if (top < 0) return <p class="empty">{t('auditor.explorer.empty')}</p>
  const heights = Array.from({ length: last - first + 1 }, (_, at) => top - first - at)
  const fresh = (latest ?? top) - top
  return (
    <section aria-label={t('auditor.explorer.blocks')}>
      <div class="row">
        <h2>{t('auditor.explorer.blocks')}</h2>
        {fresh > 0 && (
          <button
            type="button"
            onClick={() => {
              if (box.current !== null) box.current.scrollTop = 0
              void refresh(true)
            }}
          >
            {t('auditor.explorer.new', { count: fresh })}
          </button>
        )}
      </div>
      {error !== undefined && (
        <p class="notice late" role="status">
          {error}
        </p>
      )}
      <ul
        ref={box}
        class="block-box"
        onScroll={(event) => setScroll({ y: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}
        onKeyDown={(event) => moveFocus(event.currentTarget, event, top)}
      >
        {heights.map((height) => (
          <Row chain={chain} height={height} block={blockAt(height)} top={top} key={height} />
        ))}
        <li class="block-end" style={{ top: `${(top + 1) * rowPx}px` }} aria-hidden="true" />
      </ul>
      <p class="soft">{t('auditor.explorer.keys')}</p>
    </section>
  )
}
