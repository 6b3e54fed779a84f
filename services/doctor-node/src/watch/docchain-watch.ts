/**
 * Takes in what this doctor has on record on Docchain and this folder does not know, since it is an older copy or `node.db`
 * was lost: else records would be judged twice, and what was said could be neither shown nor signed. Until that is looked
 * through, as far as it was published when the node first heard of it, nothing is judged. A block that is seen again changes
 * nothing, so the cursor is not written for each.
 */
import type { AmendBody, DiagnosisBody, TransactionBody, UnreadableBody } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError } from '@healthblock/runtime/errors'
import type { FollowedBlock, LedgerFollower } from '@healthblock/runtime/follower'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { handAlgorithm } from '../posting/compose.ts'
import type { Postings, RecordedPosting } from '../posting/postings.ts'
import { ChainCursor, sizeBehind } from './chain-cursor.ts'

interface Dependencies {
  readonly database: Database
  readonly postings: Postings
  readonly storage: () => StorageClient
  readonly logger: Logger
  readonly account: () => Uint8Array
  /** How far Docchain is published and verified. */
  readonly freshness: () => ReturnType<LedgerFollower['freshness']>
  /** Resolves once this many leaves of Userchain were taken in. */
  readonly userchainSize: (size: number, signal: AbortSignal) => Promise<void>
}

/** Blocks without anything new after which the cursor is written down. */
const cursorBlocks = 100
/** Blocks of own entries that are fetched in one turn of a patient. */
const blocksAtOnce = 16
/** In place of the block of an entry that no storage node has: its owner had it removed. */
const gone = new Uint8Array(0)

/** The watch over Docchain. */
export class DocchainWatch {
  readonly #deps: Dependencies
  readonly #place: ChainCursor
  #wantedSize: number | undefined
  #isKnown = false
  /** Size of the log behind the last block taken in. */
  #size: number
  #blocksSince = 0
  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#place = new ChainCursor(deps.database, 'docchain')
    this.#size = this.#place.size()
  }

  /** The cursor of the last block written down. */
  cursor(): Uint8Array | undefined {
    return this.#place.cursor()
  }

  /** True once everything was looked through that was published when the node first heard of it. */
  isKnown(): boolean {
    if (this.#isKnown) return true
    const { cosignedMs, publishedSize } = this.#deps.freshness()
    if (cosignedMs === undefined) return false
    this.#wantedSize ??= publishedSize
    this.#isKnown = this.#size >= this.#wantedSize
    return this.#isKnown
  }

  /** Takes a block in. Records of what is taken over must be there before: Userchain is waited for. */
  async see(block: FollowedBlock, signal: AbortSignal): Promise<void> {
    const { database, postings, userchainSize, logger } = this.#deps
    const own = block.transactions.filter(({ transaction: { body } }) => this.#isOwn(body))
    const missing = own.filter(({ id }) => postings.find(id) === undefined)
    for (const { transaction } of missing) {
      const { body } = transaction
      if (body.t === 'diagnosis' || body.t === 'unreadable') await userchainSize(body.basis[0], signal)
    }
    if (signal.aborted) return
    if (missing.length > 0 || ++this.#blocksSince >= cursorBlocks) {
      database.transaction(() => {
        for (const { transaction, id } of missing) this.#takeOver(transaction.body, id, block.seal.ms)
        this.#place.write(block)
      })
      this.#blocksSince = 0
    }
    this.#size = sizeBehind(block)
    if (missing.length > 0) logger.warn({ entries: missing.length }, 'own entries taken from the ledger')
  }

  /**
   * Fetches the sealed blocks of a patient's entries that were taken from the ledger, newest first.
   *
   * @throws {RuntimeError} of the network: she is judged when the newest are there, since a diagnosis carries on the last one.
   */
  async fetchBlocks(patient: Uint8Array, signal: AbortSignal): Promise<void> {
    const { database, storage } = this.#deps
    const rows = database.all(
      'SELECT tx, cid FROM posting WHERE patient = ? AND block IS NULL AND cid IS NOT NULL ORDER BY sequence DESC LIMIT ?',
      ...[patient, blocksAtOnce],
    )
    for (const { tx, cid } of rows) {
      const block = await storage()
        .get(cid as Uint8Array, { signal })
        .catch((error: unknown) => {
          if (isRuntimeError(error, 'ERR_BLOCK_NOT_FOUND')) return gone
          throw error
        })
      database.run('UPDATE posting SET block = ? WHERE tx = ? AND block IS NULL', block, tx as Uint8Array)
    }
  }

  #isOwn(body: TransactionBody): body is DiagnosisBody | AmendBody | UnreadableBody {
    const isOf = body.t === 'diagnosis' || body.t === 'amend' || body.t === 'unreadable'
    return isOf && equalBytes(body.a, this.#deps.account())
  }

  #takeOver(body: TransactionBody, tx: Uint8Array, recordedMs: number): void {
    const { postings, logger } = this.#deps
    if (body.t === 'diagnosis') {
      const { pat, g, gen, epoch, seq, alg, cid } = body
      const byHand = equalBytes(alg, handAlgorithm.hash)
      const place = { generation: gen, epoch, sequence: seq, byHand, algorithm: alg, inputs: body.in }
      postings.takeOver({ ...place, tx, what: 'diagnosis', patient: pat, gid: g, cid, recordedMs })
    }
    if (body.t === 'unreadable') {
      const place = { generation: 0, epoch: 0, sequence: 0, byHand: false, algorithm: handAlgorithm.hash }
      postings.takeOver({
        ...{ ...place, tx, what: 'unreadable', patient: body.pat, gid: body.g, inputs: body.in, recordedMs },
      })
    }
    if (body.t !== 'amend') return
    const amended = postings.find(body.of)
    if (amended === undefined) {
      logger.warn({ of: toHex(body.of) }, 'an own entry amends what is not known')
      return
    }
    const { gen, epoch, seq, of, act } = body
    const place: Omit<RecordedPosting, 'cid'> = {
      ...{ tx, what: 'amend', patient: amended.patient as Uint8Array, gid: amended.gid as Uint8Array, inputs: [] },
      ...{ generation: gen, epoch, sequence: seq, byHand: true, algorithm: handAlgorithm.hash, amends: { of, act } },
      recordedMs,
    }
    // A signature has no text, and so no block.
    postings.takeOver(body.len === 0 ? place : { ...place, cid: body.cid })
  }
}
