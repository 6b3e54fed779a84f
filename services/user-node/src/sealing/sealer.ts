/**
 * Turns waiting samples into sealed blocks. The sequence number, the block and the end of the samples are one
 * transaction: after a crash a number is either unused or has its block.
 */

import { sha256 } from '@healthblock/crypto/hash'
import { payloadKinds, sealPayload, smallestClass } from '@healthblock/crypto/payload'
import { batchSizeMax, encodeBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import type { Database } from '@healthblock/runtime/sqlite'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import { epochKeyOf, type Person, type PersonStream } from '../people/person.ts'
import { durationMs, nextBatch, type Samples } from './samples.ts'

interface Dependencies {
  readonly database: Database
  readonly samples: Samples
  readonly ledger: LedgerView
  readonly periodMs: number
  readonly nowMs: () => number
}

/** Samples that nobody adds to any more are sealed when they are this many periods old. */
const idlePeriods = 2
const vitalsPerSecond = 4

/** Seals the batches of all people. */
export class Sealer {
  readonly #deps: Dependencies
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
    const { samples, nowMs, periodMs } = this.#deps
    let count = 0
    while (count < 64) {
      const pieces = samples.waiting(person, stream.stream)
      const isIdle =
        pieces.length > 0 && nowMs() - Math.max(...pieces.map(({ arrivedMs }) => arrivedMs)) > idlePeriods * periodMs
      const next = nextBatch(pieces, periodMs, isFlushed || isIdle)
      if (next === undefined) break
      this.#deps.database.transaction(() => {
        this.#sealOne(person, stream, next.batch)
        samples.replace(person, stream.stream, next.ids, next.rest, next.arrivedMs)
      })
      count++
    }
    return count
  }

  #sealOne(person: Person, { stream }: PersonStream, batch: ReadingBatch): void {
    const { database, ledger, nowMs } = this.#deps
    const { generation } = person.hot
    const row = database.get(
      'SELECT sequence, epoch, class, classgen FROM stream WHERE account = ? AND stream = ?',
      person.account,
      stream,
    )
    // A node restored from an older copy of its folder goes on behind what the ledger has.
    const recorded = ledger.lastRecord(person.account, stream)
    const sequence = Math.max(Number(row?.sequence ?? 0), recorded.sequence) + 1
    // Never backwards, though the clock may go: the chain asks for it.
    const epoch = Math.max(
      epochOf(nowMs(), ledger.epochLengthMs),
      Number(row?.epoch ?? 0),
      recorded.epoch,
      person.hot.first,
    )
    const plaintext = encodeBatch(batch)
    const isFixed = Number(row?.classgen ?? 0) === generation && Number(row?.class ?? 0) > 0
    const sizeBytes = isFixed ? Number(row?.class) : this.#classOf(batch, plaintext.length)
    const epochKey = epochKeyOf(person.hot.nodes, { stream, generation, epoch })
    if (epochKey === undefined) throw new Error(`no key for epoch ${epoch} of generation ${generation}`)
    const { block } = sealPayload({
      kind: payloadKinds.data,
      ledgerId: ledger.ledgerId,
      owner: person.account,
      writer: person.account,
      stream,
      generation,
      epoch,
      sequence,
      epochKey,
      plaintext,
      sizeBytes,
    })
    epochKey.fill(0)
    database.run(
      'UPDATE stream SET sequence = ?, epoch = ?, class = ?, classgen = ? WHERE account = ? AND stream = ?',
      ...[sequence, epoch, sizeBytes, generation, person.account, stream],
    )
    database.run(
      `INSERT INTO batch (account, stream, sequence, generation, epoch, kind, size, cid, start, until, state, block)
       VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, 'sealed', ?)`,
      ...[person.account, stream, sequence, generation, epoch, sizeBytes, sha256(block), batch.startMs],
      ...[batch.startMs + durationMs(batch), block],
    )
  }

  /** The size that every block of this stream has from now on: one period uncompressed, whatever the signal. */
  #classOf(batch: ReadingBatch, plaintextBytes: number): number {
    const { periodMs } = this.#deps
    const size =
      batch.kind === 'ecg'
        ? batchSizeMax({ kind: 'ecg', rateMilliHz: batch.rateMilliHz, leads: batch.leads.length, periodMs })
        : batchSizeMax({ kind: 'vitals', rateMilliHz: vitalsPerSecond * 1000, leads: 1, periodMs })
    return smallestClass(Math.max(size, plaintextBytes))
  }
}
