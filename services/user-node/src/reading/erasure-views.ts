/**
 * What a person sees of an erasure: before it, what would go, who may have a copy, and what stays; after it, where it stands at each store, as
 * each of them says of its own copies.
 */
import type { SequenceRange } from '@healthblock/chain/transaction'
import { payloadKinds } from '@healthblock/crypto/payload'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import { type ErasureStanding, erasedAtOnceMax, type StorageClient } from '@healthblock/runtime/storage-client'
import {
  digestsOf,
  type ErasureOnFile,
  erasureBy,
  erasuresOf,
  isAnyNew,
  newestOf,
  standingErasuresOf,
  withoutRanges,
} from '../consent/erased-ranges.ts'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import type { Person, PersonStream } from '../store/person.ts'
import { fetchedOfBatch } from './fetched.ts'
import { listGrants } from './lists.ts'

/** Readings of one stream, and from when to when they were measured; null if there are none. */
export interface ErasedStream {
  readonly kind: string
  readonly records: number
  readonly measuredFrom: string | null
  readonly measuredTo: string | null
}

/** An erasure that she asked for. */
export interface ErasureView {
  readonly transactionId: string
  readonly askedAt: string
  readonly state: 'waiting' | 'recorded' | 'refused'
  readonly streams: readonly ErasedStream[]
}

/** Where it stands at one store. */
export interface StoreStanding {
  /** From 1, in the order of the node's configuration. */
  readonly place: number
  /** away: no answer. unheard: it has blocks that it does not know as erased. serving: it hands them out until `removeAt`, for disputes. gone: it has none. */
  readonly state: 'away' | 'unheard' | 'serving' | 'gone'
  readonly removeAt: string | null
  /** Blocks that are not there any more. */
  readonly gone: number
}

/** An erasure with what the stores say now. */
export interface ErasureStandingView extends ErasureView {
  /** Blocks of it, and how many of them the stores were asked about: of many, some that are spread evenly. */
  readonly blocks: number
  readonly asked: number
  readonly stores: readonly StoreStanding[]
}

/** A doctor who may have a copy of what goes. */
export interface ErasureReader {
  readonly doctor: string
  /** True while an access lasts that reaches what goes: it can be fetched until the stores remove it. */
  readonly hasAccess: boolean
  /** Readings of it that were fetched, as the storage nodes told. */
  readonly fetched: number
}

/** What an erasure would do. */
export interface ErasurePreview {
  /** The whole epochs that the period touches. */
  readonly from: string
  readonly until: string
  readonly streams: readonly ErasedStream[]
  readonly readers: readonly ErasureReader[]
  /** Diagnoses that doctors wrote in that time: they stay. */
  readonly diagnoses: number
  /** The newest erasure that takes, or took, all of it already; null if something is left. */
  readonly erasedBy: string | null
  /** Readings measured in the period that came late, and were sealed after these epochs: they stay, unless the period ends at `until`. */
  readonly late: { readonly records: number; readonly until: string } | null
}

/** What is asked for, and the epochs that it touches, the last one not included. */
interface ErasurePeriod {
  readonly streams: readonly PersonStream[]
  readonly fromEpoch: number
  readonly untilEpoch: number
  readonly fromMs: number
  readonly untilMs: number
}

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
  readonly storageOf: (account: Uint8Array) => StorageClient
  /** Addresses of the storage nodes. */
  readonly urls: readonly string[]
  readonly logger: Logger
  readonly nowMs: () => number
}

/** Most blocks that each store is asked about. */
const askedMax = 2_048
/** A store that takes longer counts as away. */
const askMsMax = 10_000
const states = { pending: 'waiting', committed: 'recorded', refused: 'refused' } as const
const iso = (ms: number): string => new Date(ms).toISOString()
const isoOrNull = (value: unknown): string | null => (value === null || value === undefined ? null : iso(Number(value)))

/** Gathers it. */
export class ErasureViews {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** All that she asked for, newest first. */
  list(person: Person): ErasureView[] {
    return erasuresOf(this.#deps.database, person).map((one) => this.#view(person, one))
  }

  /** One of them, with what each store says now; undefined if she asked for none of this id. One that was signed again has another one since. */
  async find(person: Person, transactionId: string): Promise<ErasureStandingView | undefined> {
    const one = erasureBy(this.#deps.database, person, fromHex(transactionId))
    if (one === undefined) return undefined
    const digests = digestsOf(this.#deps.database, person, one.ranges)
    const asked = spread(digests, askedMax)
    const stores = await Promise.all(
      this.#deps.urls.map((url, i) => this.#askStore(person, asked, { url, place: i + 1 })),
    )
    return { ...this.#view(person, one), blocks: digests.length, asked: asked.length, stores }
  }

  /** What an erasure of these epochs would do, the last one not included. */
  preview(person: Person, period: ErasurePeriod): ErasurePreview {
    const { database, ledger, nowMs } = this.#deps
    const { fromEpoch, untilEpoch, untilMs } = period
    const bounds = [fromEpoch, untilEpoch] as const
    const ranges = period.streams.flatMap(({ stream }): SequenceRange[] => {
      const row = database.get(
        'SELECT min(sequence) AS first, max(sequence) AS last FROM batch WHERE account = ? AND stream = ? AND epoch >= ? AND epoch < ?',
        ...[person.account, stream, ...bounds],
      )
      return row === undefined || row.first === null ? [] : [[stream, Number(row.first), Number(row.last)]]
    })
    const erasures = standingErasuresOf(database, person)
    const taken = erasures.flatMap((one) => one.ranges)
    const presentEpoch = epochOf(nowMs(), ledger.epochLengthMs)
    const isPresent = untilEpoch > presentEpoch
    const streams = period.streams.map((stream) => this.#leftOf(person, stream, { ranges, taken, isPresent }))
    const unasked = ranges.flatMap((range) => withoutRanges(range, taken))
    const isLeft =
      isAnyNew(database, person, unasked, { epoch: presentEpoch, untilMs }) ||
      (isPresent && period.streams.some((stream) => this.#isWaiting(person, stream, untilMs)))
    const by = newestOf(erasures, ranges)
    return {
      from: iso(fromEpoch * ledger.epochLengthMs),
      until: iso(untilEpoch * ledger.epochLengthMs),
      streams,
      readers: this.#readersOf(person, ranges, period),
      diagnoses: Number(
        database.get(
          'SELECT count(*) AS n FROM diagnosis WHERE account = ? AND amends IS NULL AND at >= ? AND at < ?',
          ...[person.account, fromEpoch * ledger.epochLengthMs, Math.min(untilMs, untilEpoch * ledger.epochLengthMs)],
        )?.n ?? 0,
      ),
      erasedBy: by === undefined || (isLeft && streams.some(({ records }) => records > 0)) ? null : toHex(by),
      late: this.#lateOf(person, period, taken),
    }
  }

  /** What of a period an erasure of it leaves, since it came late; null if nothing. */
  late(person: Person, period: ErasurePeriod): ErasurePreview['late'] {
    const taken = standingErasuresOf(this.#deps.database, person).flatMap((one) => one.ranges)
    return this.#lateOf(person, period, taken)
  }

  /** Records are sealed under the keys of the hour in which they came, which may be a later one than that in which they were measured. */
  #lateOf(person: Person, period: ErasurePeriod, taken: readonly SequenceRange[]): ErasurePreview['late'] {
    const { database, ledger, nowMs } = this.#deps
    const { streams, untilEpoch, fromMs, untilMs } = period
    const presentEpoch = epochOf(nowMs(), ledger.epochLengthMs)
    let records = 0
    let last = 0
    for (const { stream } of streams) {
      const measured = [person.account, stream, untilMs, fromMs] as const
      const rows = database.all(
        'SELECT sequence, epoch FROM batch WHERE account = ? AND stream = ? AND start < ? AND until > ? AND epoch >= ? AND kind NOT IN (?, ?)',
        ...[...measured, untilEpoch, payloadKinds.empty, payloadKinds.gap],
      )
      for (const { sequence, epoch } of rows) {
        const own: SequenceRange = [stream, Number(sequence), Number(sequence)]
        if (withoutRanges(own, taken).length === 0) continue
        records++
        last = Math.max(last, Number(epoch))
      }
      if (untilEpoch > presentEpoch) continue
      const sample = 'SELECT 1 FROM sample WHERE account = ? AND stream = ? AND start < ? AND until > ? LIMIT 1'
      if (database.get(sample, ...measured) === undefined) continue
      records++
      last = Math.max(last, presentEpoch)
    }
    return records === 0 ? null : { records, until: iso((last + 1) * ledger.epochLengthMs) }
  }

  /** True if samples that were measured before a moment wait to be sealed. */
  #isWaiting({ account }: Person, { stream }: PersonStream, untilMs: number): boolean {
    const find = 'SELECT 1 FROM sample WHERE account = ? AND stream = ? AND start < ? LIMIT 1'
    return this.#deps.database.get(find, account, stream, untilMs) !== undefined
  }

  /** Readings of a stream that no erasure takes yet; of a period that reaches into the present, with all samples that wait to be sealed as one more. */
  #leftOf(
    person: Person,
    { stream, kind }: PersonStream,
    place: { ranges: readonly SequenceRange[]; taken: readonly SequenceRange[]; isPresent: boolean },
  ): ErasedStream {
    const { database } = this.#deps
    const { ranges, taken, isPresent } = place
    const own = ranges.filter(([of]) => equalBytes(of, stream))
    const counted = countReadings(database, person, own, taken)
    const waiting = isPresent
      ? database.get(
          'SELECT count(*) AS n, min(start) AS start, max(until) AS until FROM sample WHERE account = ? AND stream = ?',
          ...[person.account, stream],
        )
      : undefined
    const isWaiting = Number(waiting?.n ?? 0) > 0
    const starts = [counted.start, waiting?.start].filter((ms) => ms !== null && ms !== undefined).map(Number)
    const ends = [counted.until, waiting?.until].filter((ms) => ms !== null && ms !== undefined).map(Number)
    return {
      kind,
      records: counted.records + (isWaiting ? 1 : 0),
      measuredFrom: starts.length === 0 ? null : iso(Math.min(...starts)),
      measuredTo: ends.length === 0 ? null : iso(Math.max(...ends)),
    }
  }

  #readersOf(
    person: Person,
    ranges: readonly SequenceRange[],
    period: { streams: readonly PersonStream[]; fromEpoch: number; untilEpoch: number },
  ): ErasureReader[] {
    const { database, ledger, nowMs } = this.#deps
    const kinds = period.streams.map(({ kind }): string => kind)
    const open = listGrants(database, person, { ledger, nowMs: nowMs() }).filter(
      (grant) =>
        grant.state === 'open' &&
        grant.streams.some((kind) => kinds.includes(kind)) &&
        Date.parse(grant.from) < period.untilEpoch * ledger.epochLengthMs,
    )
    const counts = new Map<string, number>(open.map(({ doctor }) => [doctor, 0]))
    const readers = database.all('SELECT DISTINCT reader FROM fetched WHERE account = ?', person.account)
    for (const { reader } of readers) {
      const doctor = toHex(reader as Uint8Array)
      for (const [stream, from, to] of ranges) {
        const row = database.get(
          `SELECT count(*) AS n FROM batch WHERE ${fetchedOfBatch} AND account = ? AND stream = ? AND sequence BETWEEN ? AND ?`,
          ...[reader as Uint8Array, person.account, stream, from, to],
        )
        if (Number(row?.n ?? 0) > 0) counts.set(doctor, (counts.get(doctor) ?? 0) + Number(row?.n))
      }
    }
    const withAccess = new Set(open.map(({ doctor }) => doctor))
    return [...counts].map(([doctor, fetched]) => ({ doctor, hasAccess: withAccess.has(doctor), fetched }))
  }

  #view(person: Person, { tx, ranges, askedMs, state }: ErasureOnFile): ErasureView {
    const { database } = this.#deps
    const streams = person.streams.flatMap(({ stream, kind }): ErasedStream[] => {
      const own = ranges.filter(([of]) => equalBytes(of, stream))
      if (own.length === 0) return []
      const { records, start, until } = countReadings(database, person, own, [])
      return [{ kind, records, measuredFrom: isoOrNull(start), measuredTo: isoOrNull(until) }]
    })
    return { transactionId: toHex(tx), askedAt: iso(askedMs), state: states[state], streams }
  }

  async #askStore(
    { account }: Person,
    digests: readonly Uint8Array[],
    { url, place }: { url: string; place: number },
  ): Promise<StoreStanding> {
    const { storageOf, logger } = this.#deps
    const signal = AbortSignal.timeout(askMsMax)
    const found: ErasureStanding[] = []
    try {
      const client = storageOf(account)
      for (let first = 0; first < digests.length; first += erasedAtOnceMax)
        found.push(...(await client.erasureStanding(digests.slice(first, first + erasedAtOnceMax), { url, signal })))
    } catch (error) {
      logger.debug({ reason: messageOf(error) }, 'a storage node does not say how an erasure stands')
      return { place, state: 'away', removeAt: null, gone: 0 }
    }
    const times = found.flatMap((one) => (one.state === 'erasing' ? [one.removeAtMs] : []))
    const gone = found.filter(({ state }) => state === 'gone').length
    const isUnheard = found.some(({ state }) => state === 'kept')
    const state = isUnheard ? 'unheard' : times.length > 0 ? 'serving' : 'gone'
    return { place, state, removeAt: state === 'serving' ? iso(Math.max(...times)) : null, gone }
  }
}

interface Counted {
  readonly records: number
  readonly start: unknown
  readonly until: unknown
}

/** Readings in ranges, and not in others: neither gaps nor records without a reading. */
function countReadings(
  database: Database,
  { account }: Person,
  ranges: readonly SequenceRange[],
  taken: readonly SequenceRange[],
): Counted {
  let sum: { records: number; start: number | null; until: number | null } = { records: 0, start: null, until: null }
  for (const range of ranges) {
    for (const [stream, from, to] of withoutRanges(range, taken)) {
      const row = database.get(
        `SELECT count(*) AS n, min(start) AS start, max(until) AS until FROM batch
         WHERE account = ? AND stream = ? AND sequence BETWEEN ? AND ? AND kind NOT IN (?, ?)`,
        ...[account, stream, from, to, payloadKinds.empty, payloadKinds.gap],
      )
      if (row === undefined || Number(row.n) === 0) continue
      sum = {
        records: sum.records + Number(row.n),
        start: Math.min(sum.start ?? Number(row.start), Number(row.start)),
        until: Math.max(sum.until ?? 0, Number(row.until)),
      }
    }
  }
  return sum
}

/** At most so many, spread evenly, the first and the last among them. */
function spread<T>(all: readonly T[], most: number): readonly T[] {
  if (all.length <= most) return all
  return Array.from({ length: most }, (_, i) => all[Math.round((i * (all.length - 1)) / (most - 1))] as T)
}
