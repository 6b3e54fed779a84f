/** What this gateway promised and has not answered: the outbox's rows without their leaves, in order of acceptance. */
import { toHex } from '@healthblock/encoding/bytes'
import type { Owner } from '../core/owners.ts'
import type { PendingRow } from './outbox.ts'
import { Shares } from './shares.ts'

/** A promise holds for this long: at its end the gateway answers refused or deferred. */
export const promiseMs = 30_000
/** Most transactions that wait for their end; beyond it submissions are answered with 503. */
export const pendingTransactionsMax = 20_000
/** Most bytes of their leaves. */
export const pendingSizeBytesMax = 128 * 1024 * 1024

/** One promised transaction. */
export interface PendingEntry {
  readonly row: PendingRow
  /** Id in lower-case hex. */
  readonly key: string
  /** Whose transaction it is, in lower-case hex: later ones of an account wait for earlier ones. */
  readonly account: string
  /** Whoever sponsored the account, in lower-case hex. */
  readonly sponsor: string
  /** Account and type: transactions of one line go in order. */
  readonly line: string
  readonly sizeBytes: number
  /** When it was accepted, by the clock that never steps, as all moments here; before this run if it is older. */
  readonly sinceMs: number
  /** When its answer is due. */
  readonly dueMs: number
  /** When it was last handed to the intake queue; 0 = not yet in this run. */
  sentMs: number
  /** When its rules were last tried. */
  judgedMs: number
  /** True while the newest verdict is that something is missing. */
  isDeferred: boolean
  /** True while it waits in the batcher. */
  isQueued: boolean
  /** When the intake queue first took it, or did not: from then on others may leave it out. */
  handedMs: number | undefined
  /** When it last left for the queue, while it counts as under way there. */
  flyingMs: number | undefined
  /** True once the core was told of it. */
  isNoted: boolean
  /** The index at which this node applied it; it is final when that block is published. */
  appliedIndex: number | undefined
}

/**
 * A new entry for a row. The row's times are Unix ms, of a clock that may have been wrong: no answer is due later than a promise
 * holds.
 */
export function pendingEntry(
  row: PendingRow,
  fields: Owner & { type: string; sizeBytes: number },
  clock: { nowMs(): number; elapsedMs(): number },
): PendingEntry {
  const { account, sponsor, type, sizeBytes } = fields
  const [nowMs, elapsedMs] = [clock.nowMs(), clock.elapsedMs()]
  return {
    sinceMs: elapsedMs - Math.max(0, nowMs - row.acceptedMs),
    dueMs: elapsedMs + Math.min(promiseMs, row.deadlineMs - nowMs),
    row,
    key: toHex(row.id),
    account,
    sponsor,
    line: `${account}/${type}`,
    sizeBytes,
    sentMs: 0,
    judgedMs: 0,
    isDeferred: false,
    isQueued: false,
    handedMs: undefined,
    flyingMs: undefined,
    isNoted: false,
    appliedIndex: undefined,
  }
}

/** The pending transactions of one chain. */
export class PendingTable {
  readonly #entries = new Map<string, PendingEntry>()
  readonly shares = new Shares()
  #sizeBytes = 0

  /** Number of transactions. */
  get count(): number {
    return this.#entries.size
  }

  /** Bytes of their leaves. */
  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** True if no further submission of this many transactions and bytes fits. */
  isFullFor(count: number, sizeBytes: number): boolean {
    return this.#entries.size + count > pendingTransactionsMax || this.#sizeBytes + sizeBytes > pendingSizeBytesMax
  }

  /** The entry with this id in hex. */
  get(key: string): PendingEntry | undefined {
    return this.#entries.get(key)
  }

  /** Adds an entry; its order is that of its row. */
  add(entry: PendingEntry): void {
    this.#entries.set(entry.key, entry)
    this.#sizeBytes += entry.sizeBytes
    this.shares.add(entry)
  }

  /** Removes an entry. */
  remove(entry: PendingEntry): void {
    if (!this.#entries.delete(entry.key)) return
    this.#sizeBytes -= entry.sizeBytes
    this.shares.remove(entry)
  }

  /** All entries, in order of acceptance. Entries may be removed meanwhile. */
  values(): IterableIterator<PendingEntry> {
    return this.#entries.values()
  }
}
