/** Samples and marks of one ECG stream, asked for in pieces of a minute, and kept while they are near. */

import { segmentsOf } from '../ecg/samples.ts'
import { type EcgBeat, type EcgLead, type EcgSegment, type EcgSpan, endMsOf, type TimeRange } from '../ecg/signal.ts'
import { call } from '../frame/api.ts'
import { t } from '../frame/texts.ts'
import { reasonName, rhythmName } from './words.tsx'

/** A batch of ECG as the node gives it: int16 little-endian, interleaved. */
interface EcgBatchView {
  readonly rateMilliHz: number
  readonly leads: readonly string[]
  readonly unit: string
  readonly gainMilli: number
  readonly baseline: number
  readonly samples: string
}

/** A record that was opened. */
interface RecordView {
  readonly sequence: number
  readonly from: number
  readonly to: number
  readonly batch: EcgBatchView
}

interface SamplesView {
  readonly kind: string
  readonly records: readonly RecordView[]
  readonly unread: readonly {
    readonly sequence: number
    readonly from: number
    readonly to: number
    readonly reason: string
  }[]
  readonly next?: number
}

interface MarksView {
  readonly beats: readonly (readonly [number, string])[]
  readonly rhythms: readonly { readonly from: number; readonly to: number; readonly rhythm: string }[]
  readonly unreadable: readonly { readonly from: number; readonly to: number }[]
}

/** One record, ready to be drawn: a segment for each lead. */
export interface OpenedPiece {
  readonly sequence: number
  readonly fromMs: number
  readonly toMs: number
  readonly segments: readonly (readonly [string, EcgSegment])[]
}

/** What is known of a stretch. */
export interface Stretch {
  readonly leads: readonly EcgLead[]
  readonly beats: readonly EcgBeat[]
  readonly spans: readonly EcgSpan[]
  /** Records in it, in order. */
  readonly records: readonly Pick<OpenedPiece, 'sequence' | 'fromMs' | 'toMs'>[]
  /** Something of it was on no store that answered: it may be there when it is asked for again. */
  readonly isUnreachable: boolean
}

const blockMs = 60_000
const blocksMax = 60
/** Two records that lie further apart have a hole between them. */
const holeMsMin = 1_500

interface Block {
  readonly pieces: readonly OpenedPiece[]
  readonly unread: SamplesView['unread']
  readonly marks: MarksView
  /** The newest reading when it was asked for: a block at the edge is asked for again. */
  readonly knownToMs: number
}

function isUnreachable({ unread }: Block): boolean {
  return unread.some(({ reason }) => reason === 'unreachable')
}

/** Takes a record apart into its leads. */
export function pieceOf({ sequence, from, to, batch }: RecordView): OpenedPiece {
  const scale = { startMs: from, rateHz: batch.rateMilliHz / 1000, gain: batch.gainMilli / 1000 }
  const segments = segmentsOf({ ...batch, ...scale })
  return { sequence, fromMs: from, toMs: to, segments }
}

/** Asks for the samples of a stretch, page by page. */
export async function fetchPieces(
  path: string,
  range: TimeRange,
  signal?: AbortSignal,
): Promise<{ pieces: OpenedPiece[]; unread: SamplesView['unread'] }> {
  const pieces: OpenedPiece[] = []
  const unread: SamplesView['unread'][number][] = []
  let fromMs: number | undefined = Math.floor(range.fromMs)
  const to = Math.ceil(range.toMs)
  while (fromMs !== undefined && fromMs < to) {
    const options = { isBackground: true, ...(signal === undefined ? {} : { signal }) }
    const view: SamplesView = await call<SamplesView>(`${path}/samples?from=${fromMs}&to=${to}`, options)
    for (const record of view.records) if (record.sequence !== pieces.at(-1)?.sequence) pieces.push(pieceOf(record))
    unread.push(...view.unread)
    fromMs = view.next !== undefined && view.next > fromMs ? view.next : undefined
  }
  return { pieces, unread }
}

/** Joins what touches and has one name; keeps what overlaps the range, cut to it. */
function joinSpans(spans: readonly EcgSpan[]): EcgSpan[] {
  const joined: EcgSpan[] = []
  for (const span of spans.toSorted((a, b) => a.fromMs - b.fromMs)) {
    const last = joined.findLast(({ label, kind }) => label === span.label && kind === span.kind)
    if (last !== undefined && span.fromMs <= last.toMs + 1) {
      joined[joined.indexOf(last)] = { ...last, toMs: Math.max(last.toMs, span.toMs) }
    } else joined.push(span)
  }
  return joined
}

/** Holes between records, as stretches without a reading. */
export function holesOf(pieces: readonly OpenedPiece[]): EcgSpan[] {
  return pieces.slice(1).flatMap((piece, index): EcgSpan[] => {
    const fromMs = pieces[index]?.toMs ?? piece.fromMs
    if (piece.fromMs - fromMs < holeMsMin) return []
    return [{ fromMs, toMs: piece.fromMs, label: t('doctor.hole'), kind: 'missing' }]
  })
}

/** Puts blocks together. */
function stretchOf(blocks: readonly (readonly [number, Block])[]): Stretch {
  const bySequence = new Map<number, OpenedPiece>()
  const beats: EcgBeat[] = []
  const spans: EcgSpan[] = []
  for (const [index, { pieces, unread, marks }] of blocks) {
    const range = { fromMs: index * blockMs, toMs: (index + 1) * blockMs }
    for (const piece of pieces) bySequence.set(piece.sequence, piece)
    for (const [atMs, label] of marks.beats) beats.push({ atMs, label })
    const cut = (from: number, to: number): TimeRange => ({
      fromMs: Math.max(from, range.fromMs),
      toMs: Math.min(to, range.toMs),
    })
    for (const { from, to, rhythm } of marks.rhythms)
      spans.push({ ...cut(from, to), label: rhythmName(rhythm), kind: 'rhythm' })
    for (const { from, to } of marks.unreadable)
      spans.push({ ...cut(from, to), label: t('doctor.noise'), kind: 'noise' })
    for (const { from, to, reason } of unread)
      spans.push({ fromMs: from, toMs: to, label: reasonName(reason), kind: 'missing' })
  }
  const pieces = [...bySequence.values()].toSorted((a, b) => a.fromMs - b.fromMs || a.sequence - b.sequence)
  const leads = new Map<string, EcgSegment[]>()
  for (const { segments } of pieces) {
    for (const [name, segment] of segments) {
      const list = leads.get(name) ?? []
      const last = list.at(-1)
      if (last === undefined || segment.startMs >= endMsOf(last) - 2) list.push(segment)
      leads.set(name, list)
    }
  }
  return {
    leads: [...leads].map(([name, segments]) => ({ name, segments })),
    beats,
    spans: [...joinSpans(spans), ...holesOf(pieces)],
    records: pieces.map(({ sequence, fromMs, toMs }) => ({ sequence, fromMs, toMs })),
    isUnreachable: blocks.some(([, block]) => isUnreachable(block)),
  }
}

/** The loader of one stream. */
export class EcgStretches {
  readonly #path: string
  readonly #blocks = new Map<number, Block>()
  readonly #running = new Map<number, Promise<void>>()
  #newestMs = 0

  /** @param path - `/v1/patients/:patient/streams/:stream`. */
  constructor(path: string) {
    this.#path = path
  }

  /** What is here of a view and a minute around it. */
  of(view: TimeRange): Stretch {
    const blocks = this.#indexes(view).flatMap((index) => {
      const block = this.#blocks.get(index)
      return block === undefined ? [] : [[index, block] as const]
    })
    return stretchOf(blocks)
  }

  /** True if all of a view is here, as far as it was known when it was asked for. */
  isHere(view: TimeRange): boolean {
    return this.#indexes(view).every((index) => this.#blocks.has(index))
  }

  /** True if something of a view is not here yet, or is known to go on since. */
  isMissing(view: TimeRange, newestMs: number): boolean {
    return this.#indexes(view).some((index) => this.#isDue(index, newestMs))
  }

  /** Gets what is missing of a view. @throws {ApiError} when the node does not give it. */
  async load(view: TimeRange, newestMs: number): Promise<void> {
    this.#newestMs = newestMs
    const due = this.#indexes(view).filter((index) => this.#isDue(index, newestMs))
    await Promise.all(due.map((index) => this.#loadOnce(index)))
  }

  #indexes({ fromMs, toMs }: TimeRange): number[] {
    const indexes: number[] = []
    for (let index = Math.floor(fromMs / blockMs); index * blockMs < toMs; index++) indexes.push(index)
    return indexes
  }

  #isDue(index: number, newestMs: number): boolean {
    const block = this.#blocks.get(index)
    if (block === undefined || isUnreachable(block)) return true
    return block.knownToMs < Math.min(newestMs, (index + 1) * blockMs)
  }

  #loadOnce(index: number): Promise<void> {
    const running = this.#running.get(index) ?? this.#load(index).finally(() => this.#running.delete(index))
    this.#running.set(index, running)
    return running
  }

  async #load(index: number): Promise<void> {
    const knownToMs = this.#newestMs
    const range = { fromMs: index * blockMs, toMs: (index + 1) * blockMs }
    const path = `${this.#path}/marks?from=${range.fromMs}&to=${range.toMs}`
    const [found, marks] = await Promise.all([
      fetchPieces(this.#path, range),
      call<MarksView>(path, { isBackground: true }),
    ])
    this.#blocks.delete(index)
    this.#blocks.set(index, { ...found, marks, knownToMs })
    const [oldest] = this.#blocks.keys()
    if (this.#blocks.size > blocksMax && oldest !== undefined) this.#blocks.delete(oldest)
  }
}
