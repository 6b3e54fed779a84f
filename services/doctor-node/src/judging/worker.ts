/**
 * What the node does without being asked: reads, judges, delivers. One round at a time, patient by patient, who take turns; each part may
 * fail (no network, a full disk) without holding up the others.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@healthblock/runtime/logger'
import type { OutboxEntry } from '@healthblock/runtime/outbox'
import type { Database } from '@healthblock/runtime/sqlite'
import type { Postings } from '../posting/postings.ts'
import type { DocchainWatch } from '../watch/docchain-watch.ts'
import type { Grants } from '../watch/grants.ts'
import type { Judge } from './judge.ts'
import type { Reader } from './reader.ts'
import type { UnreadableReports } from './unreadable.ts'

interface Dependencies {
  readonly database: Database
  readonly grants: Grants
  readonly reader: Reader
  readonly judge: Judge
  readonly reports: UnreadableReports
  readonly postings: Postings
  readonly logger: Logger
  readonly nowMs: () => number
  /** Writes down the outbox's final word about an entry, and what follows from it. */
  readonly settle: (entry: OutboxEntry) => void
  /** False until there is a doctor whose registration is on record: nothing can be fetched or posted before. */
  readonly isReady: () => boolean
  /** What is on record on Docchain and may not be known here. */
  readonly recorded: Pick<DocchainWatch, 'isKnown' | 'fetchBlocks'>
}

const roundMs = 500

/** The node's own work. */
export class Worker {
  readonly #deps: Dependencies
  #ring: (() => void) | undefined
  #isRung = false
  #isBehind = false
  #running: Promise<void> | undefined
  #unreadSinceMs: number | undefined
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** The outbox's final word about an entry. What cannot be written down is taken up again by a later round. */
  settle(entry: OutboxEntry): void {
    try {
      this.#deps.settle(entry)
    } catch (error) {
      this.#isBehind = true
      throw error
    }
  }

  /** What the outbox finished while this process was not there to hear it, or had no room to write it down. */
  reconcile(): void {
    this.#isBehind = false
    for (const entry of this.#deps.postings.unsettled()) this.settle(entry)
  }

  /** Begins the next round at once. */
  wake(): void {
    this.#isRung = true
    this.#ring?.()
  }

  /** Runs rounds until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isRung = false
      await this.round(signal)
      if (!this.#isRung && !signal.aborted) {
        await Promise.race([
          delay(roundMs, undefined, { signal }).catch(() => {}),
          new Promise<void>((resolve) => {
            this.#ring = resolve
          }),
        ])
      }
    }
  }

  /** One round: a new one, or the one that is running now. Never throws. */
  round(signal: AbortSignal): Promise<void> {
    this.#running ??= this.#round(signal).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { postings, isReady } = this.#deps
    if (!isReady()) return
    if (this.#isBehind) await this.#attempt('settle', async () => this.reconcile())
    while (await this.#pass(signal));
    await this.#attempt('deliver', () => postings.deliver(signal))
  }

  /** Every patient once; true if one of them had more to be read than her turn took. She is judged when there is no more. */
  async #pass(signal: AbortSignal): Promise<boolean> {
    const { grants, reader, judge, reports, postings, recorded } = this.#deps
    let isMore = false
    let isAllRead = true
    const patients = (await this.#attempt('list', async () => grants.patients())) ?? []
    for (const patient of patients) {
      if (signal.aborted) return false
      const isMoreOfHers = await this.#attempt('read', () => reader.read(patient, signal))
      isAllRead &&= isMoreOfHers !== undefined
      if (isMoreOfHers === true) {
        isMore = true
        continue
      }
      if (recorded.isKnown()) {
        await this.#attempt('judge', async () => {
          await recorded.fetchBlocks(patient, signal)
          await judge.judge(patient)
        })
        await this.#attempt('report', async () => reports.report(patient))
      }
      await this.#attempt('deliver', () => postings.deliver(signal))
    }
    await this.#attempt('standing', async () => this.#noteUnread(isAllRead))
    return isMore
  }

  #noteUnread(isAllRead: boolean): void {
    if (!isAllRead) this.#unreadSinceMs ??= this.#deps.nowMs()
    else if (this.#unreadSinceMs !== undefined && !this.#deps.reader.isPuttingOff()) this.#unreadSinceMs = undefined
  }

  /** Since when records could not be fetched, for no store answers or this node is turned away, Unix ms; undefined if none was put off for that. */
  unreadSinceMs(): number | undefined {
    return this.#unreadSinceMs
  }

  /** Records that wait to be read, and entries without a final answer. */
  pending(): number {
    const row = this.#deps.database.get("SELECT count(*) AS n FROM record WHERE state = 'waiting'")
    return Number(row?.n ?? 0) + this.#deps.postings.pending()
  }

  async #attempt<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      this.#deps.logger.warn({ err: error, what }, 'left for the next round')
      return undefined
    }
  }
}
