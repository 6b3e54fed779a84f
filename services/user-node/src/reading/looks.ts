/**
 * Who looked: the storage nodes log which account fetched which block, and each tells the owner so under its signature. This gathers what
 * concerns the people of the house, names the record that a block is, and raises an alarm for whoever had no grant for it. It sees what
 * was fetched from storage nodes that tell the truth; not a second reading of a copy.
 */
import { payloadKinds } from '@healthblock/crypto/payload'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { type BlockFetch, type FetchPage, fetchCursorAt } from '@healthblock/runtime/fetch-page'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { noEnd } from '../consent/compose.ts'
import type { UserNodeEvents } from '../events.ts'
import type { LedgerView } from '../ledger-view.ts'
import type { Alarms } from '../sealing/alarms.ts'
import type { Person, PersonStore } from '../store/person.ts'
import { markFetched } from './fetched.ts'

/** granted: by an access of that moment. keeper: an organisation, a node, a store or an auditor, who hold no keys. none: alarm. */
export type Standing = 'granted' | 'keeper' | 'none'

interface Dependencies {
  readonly database: Database
  readonly people: PersonStore
  readonly ledger: LedgerView
  readonly storageOf: (account: Uint8Array) => StorageClient
  /** Addresses of the storage nodes. */
  readonly urls: readonly string[]
  readonly alarms: Alarms
  readonly events: UserNodeEvents
  readonly logger: Logger
  readonly nowMs: () => number
  /** Aborted when the node stops: questions end. */
  readonly stopping: AbortSignal
}

/** What is known of the last asking. */
export interface Gathered {
  /** When all storage nodes that answered were asked; undefined before the first time. */
  readonly atMs: number | undefined
  /** Storage nodes that did not answer then. */
  readonly unreachable: number
}

/** The record that a block is, or a part of. */
interface FetchedRecord {
  /** A stream's kind, `finding`, or `other`. */
  readonly kind: string
  readonly writer?: Uint8Array
  readonly batch?: {
    readonly stream: Uint8Array
    readonly sequence: number
    readonly generation: number
    readonly epoch: number
    readonly startMs: number
    readonly untilMs: number
    readonly isReading: boolean
  }
}

/** Clocks of storage nodes may be off, and a doctor hears of an end a moment later. */
const graceMs = 120_000
/** Pages of one storage node in one go: a long log is read over several. */
const pagesMax = 20
/** A question to a storage node that takes longer is left for the next time. */
const askMsMax = 10_000
/** Asked again at most so often, however many screens are open. */
const restMs = 1_000
const hourMs = 3_600_000
/** Hours of looks that are kept for a person: of older ones the count and the last remain. */
const hoursMax = 100_000
/** Organisation, node, auditor, store (packages/chain SPEC.md §6). */
const keeperRoles: readonly number[] = [3, 4, 7, 9]

/** Gathers looks. */
export class Looks {
  readonly #deps: Dependencies
  /** Which store is at an address: cursors belong to stores, whose addresses change. */
  readonly #storeAt = new Map<string, string>()
  readonly #running = new Map<string, Promise<void>>()
  readonly #gathered = new Map<string, Gathered>()
  #sweptMs = 0

  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** What is known of the last asking for a person. */
  gathered(person: Person): Gathered {
    return this.#gathered.get(person.id) ?? { atMs: undefined, unreachable: 0 }
  }

  /** Asks all storage nodes for everybody of the house. Never throws. */
  async gatherAll(): Promise<void> {
    for (const person of this.#deps.people.all()) await this.gather(person)
  }

  /** Asks all storage nodes about one person; who asks meanwhile waits for the same answers. Never throws. */
  gather(person: Person): Promise<void> {
    if (person.state !== 'live') return Promise.resolve()
    const running = this.#running.get(person.id)
    if (running !== undefined) return running
    // A clock that was set back makes no pause.
    if (Math.abs(this.#deps.nowMs() - (this.gathered(person).atMs ?? 0)) < restMs) return Promise.resolve()
    const work = this.#gather(person).finally(() => this.#running.delete(person.id))
    this.#running.set(person.id, work)
    return work
  }

  async #gather(person: Person): Promise<void> {
    const { urls, logger, nowMs } = this.#deps
    const results = await Promise.allSettled(urls.map((url) => this.#gatherFrom(person, url)))
    const failed = results.filter((result) => result.status === 'rejected')
    for (const { reason } of failed)
      logger.debug({ reason: messageOf(reason) }, 'a storage node does not tell who fetched')
    this.#gathered.set(person.id, { atMs: nowMs(), unreachable: failed.length })
  }

  async #gatherFrom(person: Person, url: string): Promise<void> {
    const { database, storageOf, nowMs, stopping } = this.#deps
    const client = storageOf(person.account)
    const asked = { url, account: person.account }
    const signal = AbortSignal.any([AbortSignal.timeout(askMsMax), stopping])
    let store = this.#storeAt.get(url)
    if (store === undefined) {
      const first = await client.fetches({ ...asked, after: fetchCursorAt(nowMs()), limit: 1, signal })
      store = toHex(first.store)
      this.#storeAt.set(url, store)
    }
    for (let pages = 0; pages < pagesMax; pages++) {
      const row = database.get('SELECT value FROM lookcursor WHERE account = ? AND store = ?', person.account, store)
      const page = await client.fetches({ ...asked, after: String(row?.value ?? ''), signal })
      if (toHex(page.store) !== store) {
        // Another store listens here now: the cursor is not one of its log.
        this.#storeAt.delete(url)
        return
      }
      this.#take(person, store, page)
      if (page.isEnd) return
    }
  }

  /** A page and its cursor in one step: each fetch is counted once. */
  #take(person: Person, store: string, page: FetchPage): void {
    const { database, events, nowMs } = this.#deps
    const now = nowMs()
    const others = page.fetches.filter(({ account }) => !equalBytes(account, person.account))
    database.transaction(() => {
      // Nobody has fetched anything yet that he fetches tomorrow: it would stand above all else until then.
      for (const fetch of others) this.#count(person, { ...fetch, ms: Math.min(fetch.ms, now) })
      database.run('INSERT OR REPLACE INTO lookcursor VALUES (?, ?, ?)', person.account, store, page.next)
      if (others.length > 0) this.#sweep(person)
    })
    if (others.length > 0) events.emit({ type: 'look', account: person.id, atMs: nowMs(), count: others.length })
  }

  #count(person: Person, fetch: BlockFetch): void {
    const { database, alarms } = this.#deps
    const record = recordOf(database, person, fetch.digest)
    const standing = this.#standingOf(person, fetch, record)
    const hour = Math.floor(fetch.ms / hourMs)
    const { kind, batch } = record
    database.run(
      `INSERT INTO look (account, reader, kind, standing, hour, count, first, last, start, until) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)
       ON CONFLICT (account, reader, hour, kind, standing) DO UPDATE SET count = count + 1, first = min(first, excluded.first),
         last = max(last, excluded.last), start = min(ifnull(start, excluded.start), ifnull(excluded.start, start)),
         until = max(ifnull(until, excluded.until), ifnull(excluded.until, until))`,
      ...[person.account, fetch.account, kind, standing, hour, fetch.ms, fetch.ms],
      ...[batch?.startMs ?? null, batch?.untilMs ?? null],
    )
    database.run(
      `INSERT INTO looker (account, reader, kind, standing, count, last) VALUES (?, ?, ?, ?, 1, ?)
       ON CONFLICT (account, reader) DO UPDATE SET count = count + 1,
         kind = iif(excluded.last >= last, excluded.kind, kind), standing = iif(excluded.last >= last, excluded.standing, standing),
         last = max(last, excluded.last)`,
      ...[person.account, fetch.account, kind, standing, fetch.ms],
    )
    if (standing === 'none') alarms.noticeLook(person, fetch.account, { hour, atMs: fetch.ms })
    else if (batch?.isReading === true && standing === 'granted')
      markFetched(database, { account: person.account, reader: fetch.account, ...batch })
  }

  #standingOf(person: Person, { account, ms }: BlockFetch, { writer, batch }: FetchedRecord): Standing {
    const { database, ledger } = this.#deps
    // Who wrote a finding may look it up, to correct or withdraw it, whatever became of the access.
    if (writer !== undefined && equalBytes(writer, account)) return 'granted'
    const grants = database.all(
      `SELECT grants.* FROM grants LEFT JOIN consent ON consent.tx = grants.tx
       WHERE grants.account = ? AND doctor = ? AND ifnull(consent.state, '') <> 'refused'`,
      ...[person.account, account],
    )
    const isGranted = grants.some(
      (grant) => isLiveAt(grant, ms) && (batch === undefined || isCovered(grant, batch, ledger.epochLengthMs)),
    )
    if (isGranted) return 'granted'
    return keeperRoles.includes(ledger.roleOf(account) ?? 0) ? 'keeper' : 'none'
  }

  /** Once an hour, what is beyond the limit goes. */
  #sweep(person: Person): void {
    const { database, nowMs } = this.#deps
    if (nowMs() - this.#sweptMs < hourMs) return
    this.#sweptMs = nowMs()
    database.run(
      'DELETE FROM look WHERE id IN (SELECT id FROM look WHERE account = ? ORDER BY hour DESC, id DESC LIMIT -1 OFFSET ?)',
      ...[person.account, hoursMax],
    )
  }
}

function isLiveAt(grant: SqlRow, ms: number): boolean {
  const isEnded = grant.closed !== null && ms > Number(grant.closed) + graceMs
  return ms >= Number(grant.opened) - graceMs && !isEnded && ms <= Number(grant.until) + graceMs
}

function isCovered(grant: SqlRow, batch: NonNullable<FetchedRecord['batch']>, epochLengthMs: number): boolean {
  const until = Number(grant.until)
  const streams = JSON.parse(grant.streams as string) as string[]
  return (
    streams.includes(toHex(batch.stream)) &&
    batch.epoch >= Number(grant.starts) &&
    (until >= noEnd || batch.epoch < Math.floor(until / epochLengthMs)) &&
    (grant.closegen === null || batch.generation < Number(grant.closegen))
  )
}

function recordOf(database: Database, person: Person, digest: Uint8Array): FetchedRecord {
  const batch =
    database.get('SELECT * FROM batch WHERE cid = ? AND account = ?', digest, person.account) ??
    database.get(
      `SELECT batch.* FROM leaf JOIN batch USING (account, stream, sequence) WHERE leaf.digest = ? AND leaf.account = ?`,
      ...[digest, person.account],
    )
  if (batch !== undefined) {
    const stream = batch.stream as Uint8Array
    const kind = person.streams.find((own) => equalBytes(own.stream, stream))?.kind ?? 'other'
    const isReading = batch.kind !== payloadKinds.gap && batch.kind !== payloadKinds.empty
    return {
      kind,
      batch: {
        ...{ stream, sequence: Number(batch.sequence), generation: Number(batch.generation) },
        ...{ epoch: Number(batch.epoch), startMs: Number(batch.start), untilMs: Number(batch.until), isReading },
      },
    }
  }
  const finding = database.get('SELECT doctor FROM diagnosis WHERE cid = ? AND account = ?', digest, person.account)
  return finding === undefined ? { kind: 'other' } : { kind: 'finding', writer: finding.doctor as Uint8Array }
}
