/**
 * The block that this node acked last. It is on disk before the ack leaves, and stays until another one replaces it: a leader to
 * come must find it if it may have been decided. One node stages at most one block per (height, term).
 */
import { type Journal, openJournal } from './journal.ts'
import type { Disk } from './ports.ts'
import { encodeMessage, parseMessage } from './wire.ts'

/** A staged block. */
export interface StagedBlock {
  readonly height: number
  readonly term: number
  /** Rank of the leader of `term`. */
  readonly leader: number
  readonly blockBytes: Uint8Array
  /** Size and root of the log after the block. */
  readonly size: number
  readonly root: Uint8Array
  /** This node's ack. */
  readonly signature: Uint8Array
}

/** Beyond this the file is begun anew. */
const fileSizeBytesMax = 64 * 1024 * 1024

/** Reads a record of the file `staged/blocks`. @throws {AccountingError} `ERR_MESSAGE_INVALID`. */
export function parseStaged(payload: Uint8Array): StagedBlock {
  const fields = parseMessage(payload)
  return {
    height: fields.uint('height'),
    term: fields.uint('term'),
    leader: fields.uint('leader'),
    blockBytes: fields.bytes('block'),
    size: fields.uint('size'),
    root: fields.bytes('root', 32),
    signature: fields.bytes('ack', 64),
  }
}

/** The file `staged/blocks`. */
export class StagedStore {
  #journal!: Journal
  #newest: StagedBlock | undefined
  /** True if opening cut off a damaged record. */
  isDamaged = false

  static async open(disk: Disk): Promise<StagedStore> {
    const store = new StagedStore()
    const { journal, end } = await openJournal(disk, 'staged/blocks', (payload) => {
      store.#newest = parseStaged(payload)
    })
    store.#journal = journal
    store.isDamaged = end === 'damaged'
    return store
  }

  /** The block that was staged last, whatever has become of it. */
  newest(): StagedBlock | undefined {
    return this.#newest
  }

  /** Stores a block durably: before its ack leaves. */
  async put(staged: StagedBlock): Promise<void> {
    const { height, term, leader, blockBytes, size, root, signature } = staged
    const payload = encodeMessage({ height, term, leader, block: blockBytes, size, root, ack: signature })
    if (this.#journal.sizeBytes() > fileSizeBytesMax) await this.#journal.replace(payload)
    else await this.#journal.append(payload)
    this.#newest = staged
  }

  async close(): Promise<void> {
    await this.#journal.close()
  }
}
