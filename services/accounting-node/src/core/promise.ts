/**
 * What this node has bound itself to: the newest term that it promised, and to whom; the newest head that it cosigned. Durable
 * before anybody hears of it, and never smaller afterwards.
 */
import { emptyRoot } from '@healthblock/chain/merkle'
import { type Journal, openJournal } from './journal.ts'
import type { Disk } from './ports.ts'
import { encodeMessage, parseMessage } from './wire.ts'

/** A node's word. */
export interface NodePromise {
  /** It stages nothing for an older term. 0: none yet. */
  readonly term: number
  /** Rank of the leader of `term`. */
  readonly leader: number
  /** Highest incarnation of the register that it has seen. */
  readonly incarnation: number
  /** It cosigns no smaller size, and no other root at this one. */
  readonly size: number
  readonly root: Uint8Array
}

const fileSizeBytesMax = 1024 * 1024
/** More than the payload of a record of `promise` takes: what is torn is shorter. */
export const promiseSizeBytesMax = 256

/** Reads a record of the file `promise`. @throws {AccountingError} `ERR_MESSAGE_INVALID`. */
export function parsePromise(payload: Uint8Array): NodePromise {
  const fields = parseMessage(payload)
  return {
    term: fields.uint('term'),
    leader: fields.uint('leader'),
    incarnation: fields.uint('inc'),
    size: fields.uint('size'),
    root: fields.bytes('root', 32),
  }
}

/** The file `promise`. */
export class PromiseStore {
  #journal!: Journal
  #isLost = true
  /** True if opening found a damaged record, and set the file aside. */
  isDamaged = false
  #current: NodePromise = { term: 0, leader: 0, incarnation: 0, size: 0, root: emptyRoot() }

  static async open(disk: Disk): Promise<PromiseStore> {
    const store = new PromiseStore()
    const visit = (payload: Uint8Array): void => {
      store.#current = parsePromise(payload)
      store.#isLost = false
    }
    // What is before the damage says less than the node had bound itself to: at the next start it must not pass for its word.
    const { journal, end } = await openJournal(disk, 'promise', visit, {
      recordSizeBytesMax: promiseSizeBytesMax,
      isSetAside: true,
    })
    store.#journal = journal
    store.isDamaged = end === 'damaged'
    if (store.isDamaged) store.#isLost = true
    return store
  }

  /** True while the file may have said more than is known: there is none, or a part of it was damaged. Of a new node it was empty. */
  get isLost(): boolean {
    return this.#isLost
  }

  get current(): NodePromise {
    return this.#current
  }

  /** Binds this node to more, durably. The caller holds the core's lock. */
  async bind(more: Partial<NodePromise>): Promise<void> {
    const next: NodePromise = { ...this.#current, ...more }
    const { term, leader, incarnation, size, root } = next
    const payload = encodeMessage({ term, leader, inc: incarnation, size, root })
    if (this.#journal.sizeBytes() > fileSizeBytesMax) await this.#journal.replace(payload)
    else await this.#journal.append(payload)
    this.#current = next
    if (more.term !== undefined) this.#isLost = false
  }

  async close(): Promise<void> {
    await this.#journal.close()
  }
}
