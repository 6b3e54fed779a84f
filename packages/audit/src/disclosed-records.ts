/** What the entries say of one patient: where her records and her diagnoses are. Collected during a replay; nothing is opened here. */
import type { ChainName } from '@healthblock/chain/chains'
import { type TransactionBody, transactionId } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { AuditedBlock } from './rules.ts'

type BodyOfType<T extends TransactionBody['t']> = Extract<TransactionBody, { t: T }>

/** Where an entry stands. */
export interface EntryPlace {
  readonly chain: ChainName
  readonly height: number
  readonly index: number
}

/** A record of a data stream. */
export interface DisclosedRecord {
  readonly place: EntryPlace
  readonly stream: Uint8Array
  readonly sequence: number
  readonly generation: number
  readonly epoch: number
  /** 0 data, 1 empty, 2 gap, 3 file. */
  readonly kind: number
  readonly sizeBytes: number
  readonly cid: Uint8Array
}

/** An entry of a diagnosis stream, or a statement that records cannot be read. */
export interface DisclosedEntry<T extends 'diagnosis' | 'amend' | 'unreadable'> {
  readonly place: EntryPlace
  /** Hex of the transaction id. */
  readonly id: string
  readonly body: BodyOfType<T>
}

/** Collects one patient's entries, Userchain whole before Docchain. It holds about 300 bytes for each of her records. */
export class DisclosedRecords {
  readonly diagnoses = new Map<string, DisclosedEntry<'diagnosis'>>()
  readonly amendments: DisclosedEntry<'amend'>[] = []
  readonly unreadable: DisclosedEntry<'unreadable'>[] = []
  readonly #ledgerId: Uint8Array
  readonly #patient: Uint8Array
  readonly #records = new Map<string, DisclosedRecord>()

  constructor(ledgerId: Uint8Array, patient: Uint8Array) {
    this.#ledgerId = ledgerId
    this.#patient = patient
  }

  /** Takes the next block. */
  block({ chain, seal, firstIndex, transactions }: AuditedBlock): void {
    for (const [position, { body, bodyBytes }] of transactions.entries()) {
      const place = { chain, height: seal.h, index: firstIndex + position }
      if (body.t === 'iot') this.#iot(body, place)
      else if (body.t === 'diagnosis' || body.t === 'amend' || body.t === 'unreadable') {
        const id = toHex(transactionId({ ledgerId: this.#ledgerId, chain, bodyBytes }))
        this.#entry(body, place, id)
      }
    }
  }

  /** The record, if it is on Userchain. */
  record(stream: Uint8Array, sequence: number): DisclosedRecord | undefined {
    return this.#records.get(`${toHex(stream)}${sequence}`)
  }

  #iot(body: BodyOfType<'iot'>, place: EntryPlace): void {
    if (!equalBytes(body.a, this.#patient)) return
    for (const [stream, sequence, generation, epoch, kind, sizeBytes, cid] of body.r) {
      const record = { place, stream, sequence, generation, epoch, kind, sizeBytes, cid }
      this.#records.set(`${toHex(stream)}${sequence}`, record)
    }
  }

  #entry(body: BodyOfType<'diagnosis' | 'amend' | 'unreadable'>, place: EntryPlace, id: string): void {
    if (body.t === 'amend') {
      if (this.diagnoses.has(toHex(body.of))) this.amendments.push({ place, id, body })
    } else if (equalBytes(body.pat, this.#patient)) {
      if (body.t === 'diagnosis') this.diagnoses.set(id, { place, id, body })
      else this.unreadable.push({ place, id, body })
    }
  }
}
