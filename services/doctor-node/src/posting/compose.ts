/** Documents, their sealed blocks and the transactions that carry them. Nothing here is written anywhere. */
import type { Ledger } from '@healthblock/chain/block'
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import { docTables } from '@healthblock/chain/tables'
import {
  type LogHead,
  type SequenceRange,
  signTransaction,
  type TransactionBody,
  transactionId,
} from '@healthblock/chain/transaction'
import { sha256 } from '@healthblock/crypto/hash'
import { epochKeyFrom, reachesEpoch } from '@healthblock/crypto/key-tree'
import { payloadKinds, recordBlockSizeBytes, sealPayload } from '@healthblock/crypto/payload'
import { defaultParameters } from '@healthblock/diagnosis/diagnose'
import type { DiagnosisDocument } from '@healthblock/diagnosis/document'
import type { Doctor } from '../identity/identity.ts'
import type { Envelopes } from '../watch/envelopes.ts'

/** The algorithm of what a person wrote. */
export const handAlgorithm = { name: 'by-hand', version: '1', hash: new Uint8Array(32) } as const

/** Where an entry of the diagnosis stream is sealed. */
export interface SealingPlace {
  readonly generation: number
  readonly epoch: number
  /** 32 bytes. */
  readonly epochKey: Uint8Array
}

/** A document by hand. */
export function handDocument(options: {
  text: string
  atMs: number
  inputs: readonly SequenceRange[]
}): DiagnosisDocument {
  return {
    algorithm: { ...handAlgorithm },
    parameters: defaultParameters,
    atMs: options.atMs,
    in: options.inputs.map(([stream, from, to]) => ({ stream, from, to })),
    findings: [],
    state: new Uint8Array(0),
    carried: new Uint8Array(0),
    text: options.text,
  }
}

/** Composes entries of diagnosis streams for one doctor. */
export class Composer {
  readonly #ledger: Ledger
  readonly #envelopes: Envelopes
  readonly #doctor: () => Doctor
  readonly #nowMs: () => number
  constructor(options: { ledger: Ledger; envelopes: Envelopes; doctor: () => Doctor; nowMs: () => number }) {
    this.#ledger = options.ledger
    this.#envelopes = options.envelopes
    this.#doctor = options.doctor
    this.#nowMs = options.nowMs
  }

  /** Account of the doctor who writes: 32 bytes. */
  account(): Uint8Array {
    return this.#doctor().account
  }

  /** Unix ms of the block that has an entry of Docchain on record, as far as that is verified here. */
  recordedMs(tx: Uint8Array): number | undefined {
    const index = this.#ledger.index('docchain')
    const position = index.find(tx)
    return position === undefined ? undefined : index.boundaryAfter(position)?.ms
  }

  /** The SEAL boundary that this node has verified. */
  basis(): LogHead {
    const { size, root } = this.#ledger.head('userchain')
    return [size, root]
  }

  /** Newest sequence and epoch of the stream on the verified Docchain. */
  committedHead(patient: Uint8Array): { sequence: number; epoch: number } {
    const head = docTables.diagnosisStream.get(this.#ledger.state('docchain'), patient, this.#doctor().account)
    return { sequence: head?.[0] ?? 0, epoch: head?.[1] ?? 0 }
  }

  /**
   * The place of a new diagnosis under a grant: the newest generation whose keys this doctor holds, in the present epoch,
   * or the last one that the keys reach.
   *
   * @returns undefined if there is no key.
   */
  async placeOf(grant: {
    patient: Uint8Array
    gid: Uint8Array
    untilEpoch: number
  }): Promise<SealingPlace | undefined> {
    const now = Math.floor(this.#nowMs() / this.#ledger.epochMs)
    const wanted = Math.max(now, this.committedHead(grant.patient).epoch)
    const { patient, gid } = grant
    for await (const { generation, first, nodes } of this.#envelopes.diagnosisKeys(patient, { gid })) {
      const last = lastEpochOf(nodes, first)
      const epoch = Math.min(Math.max(wanted, first), grant.untilEpoch - 1, last)
      if (reachesEpoch({ nodes, first, epoch }))
        return { generation, epoch, epochKey: epochKeyFrom({ nodes, first, epoch }) }
    }
    return undefined
  }

  /** The key of an entry that was sealed before. */
  async keyOf(patient: Uint8Array, place: { generation: number; epoch: number }): Promise<Uint8Array | undefined> {
    const { generation, epoch } = place
    for await (const { first, nodes } of this.#envelopes.diagnosisKeys(patient, { generation })) {
      if (reachesEpoch({ nodes, first, epoch })) return epochKeyFrom({ nodes, first, epoch })
    }
    return undefined
  }

  /** Every field of the header of an entry of the diagnosis stream. */
  fieldsOf(entry: {
    patient: Uint8Array
    generation: number
    epoch: number
    sequence: number
    kind: 'diagnosis' | 'amend'
  }) {
    const { patient, generation, epoch, sequence } = entry
    const { account } = this.#doctor()
    const { ledgerId } = this.#ledger
    return {
      kind: payloadKinds[entry.kind],
      ledgerId,
      owner: patient,
      writer: account,
      stream: diagnosisStreamId({ ledgerId, patient, doctor: account }),
      generation,
      epoch,
      sequence,
    }
  }

  /** Seals a document as a block of 16 KiB. */
  seal(entry: {
    patient: Uint8Array
    place: SealingPlace
    sequence: number
    kind: 'diagnosis' | 'amend'
    plaintext: Uint8Array
  }): { block: Uint8Array; cid: Uint8Array } {
    const { patient, place, sequence, kind, plaintext } = entry
    const { generation, epoch, epochKey } = place
    const fields = this.fieldsOf({ patient, generation, epoch, sequence, kind })
    const { block } = sealPayload({ ...fields, epochKey, plaintext, sizeBytes: recordBlockSizeBytes })
    return { block, cid: sha256(block) }
  }

  /** Signs a transaction of Docchain with the doctor's op key. */
  sign(body: TransactionBody): { tx: Uint8Array; leaf: Uint8Array } {
    const { account, op } = this.#doctor()
    const { ledgerId } = this.#ledger
    const signers = [{ account, key: 1, signingKey: op }]
    const { leaf, bodyBytes } = signTransaction({ ledgerId, chain: 'docchain', body, signers })
    return { tx: transactionId({ ledgerId, chain: 'docchain', bodyBytes }), leaf }
  }
}

function lastEpochOf(nodes: readonly { depth: number; index: number }[], first: number): number {
  return first + Math.max(0, ...nodes.map(({ depth, index }) => (index + 1) * 2 ** (20 - depth))) - 1
}
