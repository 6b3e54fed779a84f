/** One record of the state with its proof: at the newest published block, or at an earlier one. */

import { encodeProof } from '@healthblock/chain/proof'
import type { ReceiptState } from '@healthblock/chain/receipt'
import { AccountingError } from '../errors.ts'
import type { PastProgress, PastStates } from '../past/past-states.ts'
import type { ChainReader } from './chain-reader.ts'

/** How long a query waits for a moment at which the applied block is the published one. */
const waitMs = 5_000
/** Most queries that wait. */
const waitingMax = 256

/** A record and what proves it. */
export interface ProvedState extends ReceiptState {
  readonly height: number
  readonly size: number
  readonly root: Uint8Array
  readonly sealLeaf: Uint8Array
  /** tlog-proof text of the SEAL. */
  readonly inclusion: string
}

/** Answers queries of one chain's state. */
export class StateQuery {
  readonly #reader: ChainReader
  readonly #past: PastStates
  #waiting = 0

  constructor(reader: ChainReader, past: PastStates) {
    this.#reader = reader
    this.#past = past
  }

  /**
   * The value of a key, or the proof of its absence.
   *
   * @param key - Canonical CBOR of the key.
   * @throws {AccountingError} `ERR_STATE_BUSY` if too many wait, or if blocks come faster than they are published.
   */
  async get(key: Uint8Array): Promise<ProvedState> {
    if (this.#waiting >= waitingMax) throw busy()
    this.#waiting++
    try {
      const deadline = AbortSignal.timeout(waitMs)
      while (!deadline.aborted) {
        const found = this.#atPublished(key)
        if (found !== undefined) return await this.#withSeal(found)
        await Promise.race([this.#reader.nextPublication(), aborted(deadline)])
      }
      throw busy()
    } finally {
      this.#waiting--
    }
  }

  /**
   * The value of a key after an earlier block, or the proof of its absence; or how far the log was executed for it: ask again then.
   *
   * @throws {AccountingError} `ERR_NOT_PUBLISHED`, `ERR_STATE_BUSY`, `ERR_PAST_FAILED`.
   */
  async getAt(key: Uint8Array, height: number): Promise<ProvedState | PastProgress> {
    const { core, published } = this.#reader
    const newest = published === undefined ? undefined : core.ledger.index(core.chain).boundary(published.size)
    if (newest === undefined || height > newest.height)
      throw new AccountingError(`block ${height} is not published`, { code: 'ERR_NOT_PUBLISHED', what: 'block' })
    const now = height === newest.height ? this.#atPublished(key) : undefined
    if (now !== undefined) return this.#withSeal(now)
    const found = await this.#past.get({ chain: core.chain, key, height })
    if ('executed' in found) return found
    const { size } = core.ledger.index(core.chain).boundaryAt(height) as { size: number }
    const { value, proof } = found
    return this.#withSeal(value === undefined ? { key, proof, height, size } : { key, value, proof, height, size })
  }

  /** Only while the applied head is the published one does the state prove against a published SEAL. */
  #atPublished(key: Uint8Array): (ReceiptState & { height: number; size: number }) | undefined {
    const { core, published } = this.#reader
    const { height, size } = core.head()
    if (published === undefined || published.size !== size) return undefined
    const { value, proof } = core.ledger.prove(core.chain, key)
    return value === undefined ? { key, proof, height, size } : { key, value, proof, height, size }
  }

  async #withSeal(found: ReceiptState & { height: number; size: number }): Promise<ProvedState> {
    const { leaf, index, hashes, checkpoint } = await this.#reader.proved(found.size - 1)
    const { root } = this.#reader.core.ledger.index(this.#reader.core.chain).boundary(found.size) as {
      root: Uint8Array
    }
    return { ...found, root, sealLeaf: leaf, inclusion: encodeProof({ index, hashes, checkpoint }) }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

function busy(): AccountingError {
  return new AccountingError('the state cannot be proved at this moment: try again', {
    code: 'ERR_STATE_BUSY',
    retryAfterMs: 1_000,
  })
}
