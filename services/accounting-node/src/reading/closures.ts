/**
 * Proofs that grants are closed, taken at the moment at which they can be had: right after the block that closes them was
 * applied, under that block's state root. No later state gives them. They are kept in one small database; one that was
 * lost (a crash between the block and its proofs) is taken from a peer's receipt.
 */
import { parseReceipt, type ReceiptState, verifyReceipt } from '@healthblock/chain/receipt'
import { equalBytes } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { type Database, openDatabase } from '@healthblock/runtime/sqlite'
import type { AppliedBlock, ChainCore } from '../core/chain-core.ts'

const schema = 'CREATE TABLE closure (id BLOB PRIMARY KEY, states BLOB NOT NULL) STRICT, WITHOUT ROWID'

/** Asks the peers for the receipt of a transaction, until one gives a file; undefined if none does. */
export type FetchReceipt = (id: Uint8Array) => Promise<Uint8Array | undefined>

function encodeStates(states: readonly ReceiptState[]): Uint8Array {
  return encodeCbor(
    states.map(({ key, value, proof }): CborValue => {
      const leaf = proof.leaf === undefined ? [] : [proof.leaf.pathHash, proof.leaf.valueHash]
      return [key, value === undefined ? [] : [value], [...proof.siblings], leaf]
    }),
  )
}

function decodeStates(bytes: Uint8Array): ReceiptState[] {
  return (decodeCbor(bytes) as [Uint8Array, Uint8Array[], Uint8Array[], Uint8Array[]][]).map(
    ([key, [value], siblings, [pathHash, valueHash]]) => {
      const proof = pathHash && valueHash ? { siblings, leaf: { pathHash, valueHash } } : { siblings }
      return value === undefined ? { key, proof } : { key, value, proof }
    },
  )
}

/** The closing proofs of Userchain. */
export class Closures {
  readonly #core: ChainCore
  readonly #database: Database
  readonly #fetchReceipt: FetchReceipt

  constructor(options: { core: ChainCore; path: string; fetchReceipt: FetchReceipt }) {
    this.#core = options.core
    this.#fetchReceipt = options.fetchReceipt
    this.#database = openDatabase({
      path: options.path,
      synchronous: 'normal',
      migrations: [schema],
      cacheSizeBytes: 1024 * 1024,
    })
  }

  /** Begins to keep proofs: before the core starts, so that no block is missed. */
  attach(): () => void {
    return this.#core.onApplied((block) => this.#keep(block))
  }

  #keep({ closes }: AppliedBlock): void {
    if (closes.length === 0) return
    const byTransaction = new Map<number, { id: Uint8Array; states: ReceiptState[] }>()
    for (const { index, transactionId, stateKey } of closes) {
      const { value, proof } = this.#core.ledger.prove('userchain', stateKey)
      const state = value === undefined ? { key: stateKey, proof } : { key: stateKey, value, proof }
      const known = byTransaction.get(index)
      if (known === undefined) byTransaction.set(index, { id: transactionId, states: [state] })
      else known.states.push(state)
    }
    this.#database.transaction(() => {
      for (const { id, states } of byTransaction.values()) this.#put(id, states)
    })
  }

  #put(id: Uint8Array, states: readonly ReceiptState[]): void {
    this.#database.run('INSERT OR REPLACE INTO closure (id, states) VALUES (?, ?)', id, encodeStates(states))
  }

  /** The proofs of a revocation, in the order of its `close`; undefined if neither this node nor a peer has them. */
  async of(id: Uint8Array): Promise<readonly ReceiptState[] | undefined> {
    const row = this.#database.get('SELECT states FROM closure WHERE id = ?', id)
    if (row !== undefined) return decodeStates(row.states as Uint8Array)
    const bytes = await this.#fetchReceipt(id)
    if (bytes === undefined) return undefined
    const { transactionId } = verifyReceipt({ bytes, ledgerId: this.#core.ledger.ledgerId })
    if (!equalBytes(transactionId, id)) return undefined
    const states = parseReceipt(bytes).parts.find(({ what }) => what === 'seal')?.state
    if (states !== undefined) this.#put(id, states)
    return states
  }

  /** Closes the file. */
  close(): void {
    this.#database.close()
  }
}
