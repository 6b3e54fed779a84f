/** Everything that happened, newest first. Only what is on the screen is in the page, so that ten years scroll like ten minutes. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { Dialog } from '../frame/dialog.tsx'
import { Failed, messageFor } from '../frame/notice.tsx'
import { onPrint } from '../frame/printing.ts'
import { t } from '../frame/texts.ts'
import { formatMoment, formatRange } from '../frame/time.ts'
import { ProofResult, useProof } from '../proof/proof.tsx'
import { lookAlarmCode } from './alarm.tsx'
import { receiptSource, usePatient } from './node.ts'
import { findingName, severityName, streamName } from './words.ts'

interface Entry {
  readonly id: string
  readonly at: string
  readonly kind: 'reading' | 'granted' | 'ended' | 'keys' | 'erased' | 'finding' | 'alarm'
  readonly transactionId: string | null
  readonly state: 'recorded' | 'waiting' | 'refused'
  readonly doctor: string | null
  readonly what: string | null
  readonly stream: string | null
  readonly from: string | null
}

interface Page {
  readonly entries: readonly Entry[]
  readonly next: string | null
}

/** What is shown, and the kinds that the node is asked for. */
const filters = {
  ...{ all: '', access: 'granted,ended,keys,erased', findings: 'finding,alarm', readings: 'reading' },
} as const
type Filter = keyof typeof filters

/** A phone gives the words a third line. */
const rowsPx = { wide: 68, narrow: 88 }
const narrow = matchMedia('(max-width: 480px)')
const pageSize = 200
/** Rows beyond the edges of the screen, and how near the end the next page is asked for. */
const spareRows = 8
const nearRows = 60

function wordsOf(entry: Entry, nameOf: (account: string) => string): string {
  const name = entry.doctor === null ? '' : nameOf(entry.doctor)
  if (entry.kind === 'reading') {
    if (entry.what === 'gap') return t('patient.timeline.gap')
    if (entry.what === 'empty') return t('patient.timeline.nothing', { what: streamName(entry.stream ?? '') })
    return t('patient.timeline.reading', { what: streamName(entry.what ?? '') })
  }
  if (entry.kind === 'alarm') return alarmWords(entry.what ?? '', name)
  if (entry.kind === 'finding') {
    return t('patient.timeline.finding', { name, what: severityName(entry.what ?? 'info') })
  }
  return t(`patient.timeline.${entry.kind}`, { name })
}

/** When it was; of what nothing came from for a while, from when to when. */
function timeOf({ what, from, at }: Entry): string {
  return what === 'empty' && from !== null ? formatRange(from, at) : formatMoment(at)
}

function alarmWords(code: string, name: string): string {
  if (code === lookAlarmCode) return t('patient.timeline.look', { name })
  return t('patient.timeline.alarm', { what: findingName(code) })
}

/** The pages that were loaded so far, and how to get the next. */
function usePages(base: string, filter: Filter) {
  const [entries, setEntries] = useState<readonly Entry[]>([])
  const [next, setNext] = useState<string | null>()
  const [error, setError] = useState<string>()
  const turn = useRef(0)
  const isLoading = useRef(false)
  const load = useCallback(
    async (after: string | null): Promise<void> => {
      if (isLoading.current) return
      isLoading.current = true
      const mine = turn.current
      try {
        const kinds = filters[filter]
        const query = new URLSearchParams({
          ...{ limit: String(pageSize) },
          ...(kinds === '' ? {} : { kinds }),
          ...(after === null ? {} : { after }),
        })
        const page = await call<Page>(`${base}/timeline?${query}`, { isBackground: after !== null })
        if (mine !== turn.current) return
        setEntries((before) => (after === null ? page.entries : [...before, ...page.entries]))
        setNext(page.next)
        setError(undefined)
      } catch (cause) {
        if (mine === turn.current) setError(messageFor(cause))
      } finally {
        if (mine === turn.current) isLoading.current = false
      }
    },
    [base, filter],
  )
  useEffect(() => {
    turn.current++
    isLoading.current = false
    setEntries([])
    setNext(undefined)
    void load(null)
  }, [load])
  return { entries, next, error, load }
}

function ProofDialog(props: { entry: Entry; title: string; onClose: () => void }): JSX.Element {
  const { base } = usePatient()
  const id = props.entry.transactionId as string
  const proof = useProof(id, receiptSource(base, id))
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p class="soft">{timeOf(props.entry)}</p>
      <ProofResult proof={proof} />
      {proof.state === 'holds' && (
        <p>
          <a class="button" href={`${base}/receipts/${id}`} download>
            {t('patient.receipt.download')}
          </a>
        </p>
      )}
    </Dialog>
  )
}

function Row(props: {
  entry: Entry
  place: number
  /** Pixels from the list's beginning. */
  top: number
  count: number
  words: string
  onProof: () => void
}): JSX.Element {
  const { entry, place, top, count, words, onProof } = props
  return (
    <li class={`entry ${entry.kind}`} style={{ '--place': `${top}px` }} aria-posinset={place + 1} aria-setsize={count}>
      <div class="entry-text">
        <span class="entry-words">{words}</span>
        <span class="soft entry-time">{timeOf(entry)}</span>
      </div>
      {entry.transactionId !== null && entry.state === 'recorded' ? (
        <button type="button" onClick={onProof}>
          {t('patient.timeline.proof')}
          <span class="hidden"> {words}</span>
        </button>
      ) : (
        // What the own node tells is on no ledger, and waits for none.
        <span class="soft">{entry.kind === 'alarm' ? '' : t(`patient.timeline.${entry.state}`)}</span>
      )}
    </li>
  )
}

/** Which rows are to be drawn: those on the screen and some beyond, and for a print all that were loaded. */
function useDrawn(count: number) {
  const [view, setView] = useState({ first: 0, last: 40, rowPx: narrow.matches ? rowsPx.narrow : rowsPx.wide })
  const list = useRef<HTMLUListElement>(null)
  useEffect(() => {
    const look = (): void => {
      const element = list.current
      if (element === null) return
      const rowPx = narrow.matches ? rowsPx.narrow : rowsPx.wide
      const top = -element.getBoundingClientRect().top
      const first = Math.max(0, Math.floor(top / rowPx) - spareRows)
      const last = Math.ceil((top + window.innerHeight) / rowPx) + spareRows
      setView((before) =>
        before.first === first && before.last === last && before.rowPx === rowPx ? before : { first, last, rowPx },
      )
    }
    const stopPrint = onPrint((isPrinted) =>
      isPrinted ? setView((before) => ({ ...before, first: 0, last: count })) : look(),
    )
    look()
    window.addEventListener('scroll', look, { passive: true })
    window.addEventListener('resize', look)
    return () => {
      stopPrint()
      window.removeEventListener('scroll', look)
      window.removeEventListener('resize', look)
    }
  }, [count])
  return { view, list }
}

/** Everything. */
export function TimelineScreen(): JSX.Element {
  const { base, nameOf } = usePatient()
  const [filter, setFilter] = useState<Filter>('all')
  const { entries, next, error, load } = usePages(base, filter)
  const { view, list } = useDrawn(entries.length)
  const [shown, setShown] = useState<Entry>()
  useEffect(() => {
    if (typeof next === 'string' && view.last + nearRows >= entries.length) void load(next)
  }, [view.last, entries.length, next, load])
  const count = next === null ? entries.length : -1
  return (
    <div class="narrow">
      <h1>{t('patient.timeline')}</h1>
      <fieldset class="filters">
        <legend class="hidden">{t('patient.timeline.show')}</legend>
        {(Object.keys(filters) as Filter[]).map((one) => (
          <button key={one} type="button" aria-pressed={one === filter} onClick={() => setFilter(one)}>
            {t(`patient.timeline.filter.${one}`)}
          </button>
        ))}
      </fieldset>
      {entries.length === 0 && next === null && <p class="empty">{t('patient.timeline.empty')}</p>}
      {entries.length === 0 && next === undefined && error === undefined && <p class="waiting">{t('loading')}</p>}
      {entries.length > 0 && (
        <ul
          class="timeline card"
          ref={list}
          style={{ '--height': `${entries.length * view.rowPx}px`, '--row': `${view.rowPx}px` }}
        >
          {entries.slice(view.first, view.last).map((entry, offset) => (
            <Row
              key={entry.id}
              entry={entry}
              place={view.first + offset}
              top={(view.first + offset) * view.rowPx}
              count={count}
              words={wordsOf(entry, nameOf)}
              onProof={() => setShown(entry)}
            />
          ))}
        </ul>
      )}
      {error !== undefined && (
        <Failed words={error} onRetry={() => void load(entries.length === 0 ? null : (next ?? null))} />
      )}
      {shown !== undefined && (
        <ProofDialog entry={shown} title={wordsOf(shown, nameOf)} onClose={() => setShown(undefined)} />
      )}
    </div>
  )
}
