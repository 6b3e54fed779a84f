/**
 * Turns waiting samples into sealed blocks, and the silence of a device that is switched on into empty ones. The sequence
 * number, the block and the end of the samples are one transaction: after a crash a number is either unused or has its block.
 */

import { sha256 } from '@healthblock/crypto/hash'
import {
  blockOverheadBytes,
  payloadClasses,
  payloadKinds,
  sealPayload,
  smallestClass,
} from '@healthblock/crypto/payload'
import { batchSizeMax, encodeBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import { epochKeyOf, type Person, type PersonStream } from '../store/person.ts'
import { durationMs, nextBatch, type Samples } from './samples.ts'

interface Dependencies {
  readonly database: Database
  readonly samples: Samples
  readonly ledger: LedgerView
  readonly periodMs: number
  readonly nowMs: () => number
}

/** The next record of a stream, as far as it is known before it is sealed. */
interface Place {
  readonly generation: number
  readonly epoch: number
  readonly sequence: number
  /** Bytes of a block in this generation, where one is fixed. */
  readonly fixedSizeBytes: number | undefined
  /** Bytes of the stream's last block of whatever generation, 0 before the first. */
  readonly lastSizeBytes: number
}

/** Samples that nobody adds to any more are sealed when they are this many periods old. */
const idlePeriods = 2
const batchesAtOnce = 64
const vitalsPerSecond = 4
/** Content of the largest block: what a period has beyond that is in the next batch. */
const contentBytesMax = (payloadClasses.at(-1) as number) - blockOverheadBytes

/** The size that every block of a stream has: one period uncompressed, whatever the signal. */
export function blockSizeOf(
  stream: { kind: ReadingBatch['kind']; rateMilliHz: number; leads: number },
  periodMs: number,
): number {
  const form = stream.kind === 'ecg' ? stream : { kind: stream.kind, rateMilliHz: vitalsPerSecond * 1000, leads: 1 }
  return smallestClass(Math.min(batchSizeMax({ ...form, periodMs }), contentBytesMax))
}

/** Seals the batches of all people. */
export class Sealer {
  readonly #deps: Dependencies
  /** What of a stream was looked at in vain, so that it is not read again before it grows. */
  readonly #seen = new Map<string, string>()
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Seals what is ready of one stream.
   *
   * @param isFlushed - true: everything that waits, even less than a period.
   * @returns How many batches were sealed, at most 64.
   */
  seal(person: Person, stream: PersonStream, isFlushed: boolean): number {
    const { samples, nowMs, periodMs, database } = this.#deps
    const name = toHex(stream.stream)
    let count = 0
    while (count < batchesAtOnce) {
      const extent = samples.extent(person, stream.stream)
      if (extent.count === 0) break
      const isDue = isFlushed || Math.abs(nowMs() - extent.arrivedMs) > idlePeriods * periodMs
      const seen = `${extent.count}/${extent.newest}/${person.hot.generation}`
      if (!isDue && this.#seen.get(name) === seen) break
      const place = this.#place(person, stream.stream)
      const { fixedSizeBytes } = place
      const sizeBytesMax = fixedSizeBytes === undefined ? contentBytesMax : fixedSizeBytes - blockOverheadBytes
      const next = nextBatch(samples.waiting(person, stream.stream), { periodMs, sizeBytesMax }, isDue)
      if (next === undefined) {
        this.#seen.set(name, seen)
        break
      }
      database.transaction(() => {
        this.#sealBatch(person, stream, place, next.batch)
        samples.replace(person, stream.stream, next.ids, next.rest, next.arrivedMs)
      })
      count++
    }
    return count
  }

  /**
   * Seals an empty record: the same size and cadence as if there were readings.
   *
   * @param form - what to take for the size of a stream of which nothing was sealed yet, in bytes.
   */
  sealEmpty(person: Person, { stream }: PersonStream, form: { firstSizeBytes: number }): void {
    const { database, nowMs, periodMs } = this.#deps
    const place = this.#place(person, stream)
    const sizeBytes = place.fixedSizeBytes ?? (place.lastSizeBytes > 0 ? place.lastSizeBytes : form.firstSizeBytes)
    const span = { startMs: Math.max(0, nowMs() - periodMs), untilMs: nowMs() }
    database.transaction(() =>
      this.#write(person, stream, place, { kind: 'empty', plaintext: new Uint8Array(0), sizeBytes, ...span }),
    )
  }

  #sealBatch(person: Person, { stream }: PersonStream, place: Place, batch: ReadingBatch): void {
    const plaintext = encodeBatch(batch)
    const ofPeriod = (): number =>
      blockSizeOf(
        batch.kind === 'ecg'
          ? { kind: 'ecg', rateMilliHz: batch.rateMilliHz, leads: batch.leads.length }
          : { kind: 'vitals', rateMilliHz: 0, leads: 1 },
        this.#deps.periodMs,
      )
    const sizeBytes = place.fixedSizeBytes ?? Math.max(ofPeriod(), smallestClass(plaintext.length))
    const span = { startMs: batch.startMs, untilMs: batch.startMs + durationMs(batch) }
    this.#write(person, stream, place, { kind: 'data', plaintext, sizeBytes, ...span })
  }

  #place(person: Person, stream: Uint8Array): Place {
    const { database, ledger, nowMs } = this.#deps
    const { generation, first } = person.hot
    const row = database.get(
      'SELECT sequence, epoch, class, classgen FROM stream WHERE account = ? AND stream = ?',
      person.account,
      stream,
    )
    // A node restored from an older copy of its folder goes on behind what the ledger has.
    const recorded = ledger.lastRecord(person.account, stream)
    const lastSizeBytes = Number(row?.class ?? 0)
    const ownSizeBytes = Number(row?.classgen ?? 0) === generation && lastSizeBytes > 0 ? lastSizeBytes : undefined
    return {
      generation,
      // Never backwards, though the clock may go: the chain asks for it.
      epoch: Math.max(epochOf(nowMs(), ledger.epochLengthMs), Number(row?.epoch ?? 0), recorded.epoch, first),
      sequence: Math.max(Number(row?.sequence ?? 0), recorded.sequence) + 1,
      fixedSizeBytes: ledger.blockSize(person.account, stream, generation) ?? ownSizeBytes,
      lastSizeBytes,
    }
  }

  /** Seals a record in its place and writes it down. Inside the caller's transaction. */
  #write(
    person: Person,
    stream: Uint8Array,
    place: Place,
    record: { kind: 'data' | 'empty'; plaintext: Uint8Array; sizeBytes: number; startMs: number; untilMs: number },
  ): void {
    const { database, ledger, nowMs, periodMs } = this.#deps
    const { generation, epoch, sequence } = place
    const { plaintext, sizeBytes } = record
    const kind = payloadKinds[record.kind]
    const epochKey = epochKeyOf(person.hot.nodes, { stream, generation, epoch })
    if (epochKey === undefined) throw new Error(`no key for epoch ${epoch} of generation ${generation}`)
    const owner = { ledgerId: ledger.ledgerId, owner: person.account, writer: person.account, stream }
    const { block } = sealPayload({ kind, ...owner, generation, epoch, sequence, epochKey, plaintext, sizeBytes })
    epochKey.fill(0)
    database.run(
      'UPDATE stream SET sequence = ?, epoch = ?, class = ?, classgen = ? WHERE account = ? AND stream = ?',
      ...[sequence, epoch, sizeBytes, generation, person.account, stream],
    )
    database.run(
      `INSERT INTO batch (account, stream, sequence, generation, epoch, kind, size, cid, start, until, state, block)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'sealed', ?)`,
      ...[person.account, stream, sequence, generation, epoch, kind, sizeBytes, sha256(block)],
      ...[record.startMs, record.untilMs, block],
    )
    // While readings come, the next record is theirs; only after half a period more is it an empty one.
    const dueMs = record.kind === 'data' ? nowMs() + Math.round(1.5 * periodMs) : undefined
    database.run(
      'UPDATE switched SET due = coalesce(?, due + ?) WHERE account = ? AND stream = ?',
      ...[dueMs ?? null, periodMs, person.account, stream],
    )
  }
}
