/** The business events of this service, one function each: what is logged and counted, and nothing besides. */
import { toHex } from '@healthblock/encoding/bytes'
import type { Logger } from 'pino'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { StorageError } from './errors.ts'
import { type BlockId, codecRaw, encodeBlockId } from './store/block-id.ts'

function codeOf(error: unknown): string {
  return error instanceof StorageError ? error.detail.code : error instanceof Error ? error.name : 'unknown'
}

/** Its code, and the reason where it has one: none of them holds a secret. */
function whyOf(error: unknown): { error: string; reason?: string } {
  const isReasoned = error instanceof StorageError && 'reason' in error.detail
  return { error: codeOf(error), ...(isReasoned ? { reason: error.detail.reason } : {}) }
}

const incidentKinds = ['block-corrupt', 'block-healed', 'peer-served-wrong-bytes', 'copy-not-proved'] as const

/** Says what happens, to the log and to the metrics. */
export class Events {
  readonly registry = new Registry()
  readonly #log: Logger
  readonly #incidents: Counter<'kind'>
  readonly #copiesFailed: Counter
  readonly #requests: Histogram<'command' | 'status'>
  /** The series of each command and status: to find it by its labels costs as much as to count. */
  readonly #series = new Map<string, Histogram.Internal<'command' | 'status'>>()
  readonly #repaired: Counter
  readonly #belowReplicas: Gauge

  constructor(log: Logger) {
    this.#log = log
    const registers = [this.registry]
    this.#incidents = new Counter({
      name: 'storage_incidents_total',
      help: 'Blocks found damaged, healed, or served wrongly by a peer',
      labelNames: ['kind'],
      registers,
    })
    // There from the start: what grows from nothing to one grows for nobody who asks by how much.
    for (const kind of incidentKinds) this.#incidents.inc({ kind }, 0)
    this.#copiesFailed = new Counter({
      name: 'storage_copies_failed_total',
      help: 'Copies that a store did not take',
      registers,
    })
    this.#requests = new Histogram({
      name: 'storage_request_seconds',
      help: 'Time to answer, by command and status',
      labelNames: ['command', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    })
    this.#repaired = new Counter({
      name: 'storage_copies_repaired_total',
      help: 'Copies that repair has placed',
      registers,
    })
    this.#belowReplicas = new Gauge({
      name: 'storage_blocks_below_replicas',
      help: 'Blocks with fewer copies than they should have, as far as repairs have found out',
      registers,
    })
  }

  /** Adds a gauge whose value is asked for at each scrape. */
  addGauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(value())
      },
    })
  }

  started(fields: { rpc: string; swarm: string[]; peerId: string; account: Uint8Array; members: number }): void {
    this.#log.info({ event: 'started', ...fields, account: toHex(fields.account) })
  }

  /** The policy in force does not name this store with its key. */
  awaitsAdmission(account: Uint8Array): void {
    this.#log.warn({ event: 'awaits-admission', account: toHex(account) })
  }

  stopping(): void {
    this.#log.info({ event: 'stopping' })
  }

  requestDone(command: string, status: number, seconds: number): void {
    const name = `${command} ${status}`
    let series = this.#series.get(name)
    if (series === undefined) {
      series = this.#requests.labels({ command, status: String(status) })
      this.#series.set(name, series)
    }
    series.observe(seconds)
  }

  requestFailed(command: string, error: unknown): void {
    this.#log.error({ event: 'request-failed', command, error: codeOf(error), err: error })
  }

  blockCorrupt(digest: Uint8Array): void {
    this.#incidents.inc({ kind: 'block-corrupt' })
    this.#log.error({ event: 'block-corrupt', cid: encodeBlockId({ digest, codec: codecRaw }) })
  }

  blockHealed(id: BlockId, servedBy: Uint8Array | undefined): void {
    this.#incidents.inc({ kind: 'block-healed' })
    this.#log.warn({ event: 'block-healed', cid: encodeBlockId(id), servedBy: servedBy && toHex(servedBy) })
  }

  healFailed(digest: Uint8Array, error: unknown): void {
    this.#log.error({ event: 'heal-failed', cid: encodeBlockId({ digest, codec: codecRaw }), error: codeOf(error) })
  }

  peerMisbehaved(peer: string, blocks: number): void {
    this.#incidents.inc({ kind: 'peer-served-wrong-bytes' })
    this.#log.error({ event: 'peer-served-wrong-bytes', peer, blocks })
  }

  copyNotProved(store: Uint8Array, id: BlockId): void {
    this.#incidents.inc({ kind: 'copy-not-proved' })
    this.#log.error({ event: 'copy-not-proved', store: toHex(store), cid: encodeBlockId(id) })
  }

  peerConnected(peer: string): void {
    this.#log.info({ event: 'peer-connected', peer })
  }

  copyFailed(store: Uint8Array, id: BlockId, error: unknown): void {
    this.#copiesFailed.inc()
    this.#log.warn({ event: 'copy-failed', store: toHex(store), cid: encodeBlockId(id), ...whyOf(error) })
  }

  handoffFailed(store: Uint8Array, attempts: number, error: unknown): void {
    this.#log.debug({ event: 'handoff-failed', store: toHex(store), attempts, ...whyOf(error) })
  }

  rangeErased(range: { first: number; last: number }): void {
    this.#log.info({ event: 'range-erased', records: range.last - range.first + 1 })
  }

  erasureIncomplete(id: BlockId, error: unknown): void {
    this.#log.warn({ event: 'erasure-incomplete', cid: encodeBlockId(id), error: codeOf(error) })
  }

  tombstonesNotPulled(store: Uint8Array, error: unknown): void {
    this.#log.info({ event: 'tombstones-not-pulled', store: toHex(store), ...whyOf(error) })
  }

  /** Other stores' lists of what is erased are still being read: the node serves meanwhile. */
  tombstonesAwaitedNoLonger(): void {
    this.#log.warn({ event: 'tombstones-awaited-no-longer' })
  }

  storeIsOlder(store: Uint8Array): void {
    this.#log.info({ event: 'store-is-older', store: toHex(store) })
  }

  wordRefused(store: Uint8Array, error: unknown): void {
    this.#log.warn({ event: 'word-refused', store: toHex(store), error: codeOf(error) })
  }

  blocksRemoved(blocks: number): void {
    this.#log.info({ event: 'blocks-removed', blocks })
  }

  fetchesRemoved(hours: number): void {
    if (hours > 0) this.#log.warn({ event: 'fetches-removed', hours })
  }

  /** @param below - blocks with too few copies by all that is known now. */
  repairDone(result: { checked: number; placed: number; below: number }, below: number): void {
    this.#repaired.inc(result.placed)
    this.#belowReplicas.set(below)
    if (result.below > 0) this.#log.error({ event: 'below-replicas', ...result })
    else this.#log.info({ event: 'repair-done', ...result })
  }

  repairFailed(error: unknown): void {
    this.#log.error({ event: 'repair-failed', error: codeOf(error) })
  }

  membersInvalid(error: unknown): void {
    this.#log.error({ event: 'members-invalid', ...whyOf(error) })
  }

  /** This store was taken off the list: the others refuse its connections. */
  notAMember(): void {
    this.#log.error({ event: 'not-a-member' })
  }

  fatal(error: unknown): void {
    this.#log.fatal({ event: 'fatal', error: codeOf(error), err: error })
  }
}
