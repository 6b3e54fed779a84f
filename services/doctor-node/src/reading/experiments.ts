/**
 * What a doctor can and cannot do with the keys that he holds, tried and not assumed: the newest record of a patient is
 * fetched from the private IPFS as it stands, and everything at hand is tried on it.
 */
import type { Ledger } from '@healthblock/chain/block'
import { userTables } from '@healthblock/chain/tables'
import { envelopeNodes } from '@healthblock/crypto/envelope'
import { epochKeyFrom, reachesEpoch, type TreeNode } from '@healthblock/crypto/key-tree'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { codeOf } from '@healthblock/runtime/errors'
import type { Database } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { DoctorNodeError } from '../errors.ts'
import { type LedgerRecord, openRecord, recordOf } from '../judging/reader.ts'
import type { Envelopes } from '../watch/envelopes.ts'
import type { Grants } from '../watch/grants.ts'

/** What was tried and what came of it. */
export interface Experiment {
  readonly refused: boolean
  readonly evidence: Record<string, unknown>
}

interface Dependencies {
  readonly database: Database
  readonly ledger: Ledger
  readonly envelopes: Envelopes
  readonly grants: Grants
  readonly storage: () => StorageClient
}

/** Runs experiments. */
export class Experiments {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Tries to open the patient's newest record with every key held.
   *
   * @throws {DoctorNodeError} `ERR_RECORD_NONE`.
   */
  async decrypt(patient: Uint8Array): Promise<Experiment> {
    const { envelopes, ledger } = this.#deps
    const record = this.#newest(patient)
    const fetched = await this.#fetch(record)
    const held = await envelopes.everyKey(patient)
    let keysTried = 0
    let opened: number | undefined
    for (const { first, nodes, generation } of held) {
      for (const epochKey of keysFrom(nodes, first, record.epoch)) {
        keysTried++
        if (fetched.block === undefined) continue
        const result = openRecord({ ledgerId: ledger.ledgerId, record, block: fetched.block, epochKey })
        epochKey.fill(0)
        if ('batch' in result) opened = generation
      }
    }
    const generations = [...new Set(held.map(({ generation }) => generation))].sort((a, b) => a - b)
    return {
      refused: opened === undefined,
      evidence: {
        record: viewOf(record),
        ...fetched.evidence,
        generationsHeld: generations,
        generationNeeded: record.generation,
        keysHeld: held.reduce((sum, { nodes }) => sum + nodes.length, 0),
        keysTried,
        outcome:
          opened !== undefined
            ? `opened with a key of generation ${opened}`
            : fetched.block === undefined
              ? 'the block could not be fetched'
              : 'no key that this doctor holds opens the block',
      },
    }
  }

  /**
   * Tries the newest envelope as if it were for the patient's newest generation, and for the newest grant; then tries to
   * open the newest record with what the envelope itself holds.
   *
   * @throws {DoctorNodeError} `ERR_GRANT_NONE`, `ERR_RECORD_NONE`.
   */
  async envelope(patient: Uint8Array): Promise<Experiment> {
    const { envelopes, ledger, grants } = this.#deps
    const [envelope] = envelopes.of(patient)
    if (envelope === undefined) {
      throw new DoctorNodeError('this doctor never got an envelope of this patient', {
        code: 'ERR_GRANT_NONE',
        patient: toHex(patient),
      })
    }
    const newest = userTables.currentGeneration.get(ledger.state('userchain'), patient) ?? 0
    const newestGrant = grants.all(patient).at(-1)?.gid ?? envelope.gid
    const isCurrent = newest === envelope.generation
    const replayed = await envelopes.tryOpen(envelope, { generation: newest })
    const regranted = isCurrent
      ? undefined
      : await envelopes.tryOpen(envelope, { generation: newest, gid: newestGrant })
    const record = this.#newest(patient)
    const fetched = await this.#fetch(record)
    const contents = await envelopes.contents(envelope)
    const held = contents?.streams.find(({ stream }) => equalBytes(stream, record.stream))
    const nodes = contents === undefined || held === undefined ? [] : envelopeNodes(contents, held.keys)
    let isOpened = false
    for (const epochKey of keysFrom(nodes, contents?.first ?? 0, record.epoch)) {
      if (fetched.block === undefined) continue
      const result = openRecord({ ledgerId: ledger.ledgerId, record, block: fetched.block, epochKey })
      if ('batch' in result) isOpened = true
    }
    const isReplayed = replayed !== undefined || regranted !== undefined
    return {
      refused: !isReplayed && !isOpened,
      evidence: {
        envelope: { grant: toHex(envelope.gid), generation: envelope.generation, sizeBytes: envelope.bytes.length },
        generationNewest: newest,
        opensForNewestGeneration: isReplayed,
        record: viewOf(record),
        ...fetched.evidence,
        opensNewestRecord: isOpened,
      },
    }
  }

  #newest(patient: Uint8Array): LedgerRecord {
    const row = this.#deps.database.get(
      'SELECT * FROM record WHERE patient = ? AND kind <> 2 ORDER BY position DESC, generation DESC, sequence DESC LIMIT 1',
      patient,
    )
    if (row === undefined) {
      throw new DoctorNodeError('this patient has no record on the ledger', {
        code: 'ERR_RECORD_NONE',
        patient: toHex(patient),
      })
    }
    return recordOf(row)
  }

  async #fetch(record: LedgerRecord): Promise<{ block?: Uint8Array; evidence: Record<string, unknown> }> {
    try {
      const block = await this.#deps.storage().get(record.cid)
      return { block, evidence: { fetched: true, blockSizeBytes: block.length } }
    } catch (error) {
      return { evidence: { fetched: false, storage: codeOf(error) ?? 'unknown' } }
    }
  }
}

/** The epoch's key from nodes of a generation; none if they do not reach it. */
function keysFrom(nodes: readonly TreeNode[], first: number, epoch: number): Uint8Array[] {
  return reachesEpoch({ nodes, first, epoch }) ? [epochKeyFrom({ nodes, first, epoch })] : []
}

function viewOf(record: LedgerRecord) {
  const { stream, sequence, generation, epoch, cid, tx } = record
  return { stream: toHex(stream), sequence, generation, epoch, cid: toHex(cid), transactionId: toHex(tx) }
}
