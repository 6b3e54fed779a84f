/**
 * Reading and writing of state while rules run (SPEC.md §5). Nothing is written to a store here: changes gather in overlays,
 * one for the block under way and one above it for the transaction under way, and are thrown away or taken over whole.
 */
import type { LeafStore, StateLeaf } from './state-tree.ts'
import { statePath } from './state-tree.ts'

/** Records by key. Both are canonical CBOR: key `[table, id parts…]`. The bytes returned must not be changed. */
export interface StateReader {
  get(key: Uint8Array): Uint8Array | undefined
}

/** One record that was set. */
export interface StateChange {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** A byte string as a text with one character per byte: a key for maps. */
export function byteText(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[])
}

/** Reads through to `base` and keeps what is set. */
export class StateOverlay implements StateReader {
  readonly #base: StateReader
  readonly #changes = new Map<string, StateChange>()

  constructor(base: StateReader) {
    this.#base = base
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#read(byteText(key), key)
  }

  /** Sets a record, in this overlay only. */
  set(key: Uint8Array, value: Uint8Array): void {
    this.#changes.set(byteText(key), { key, value })
  }

  /** Everything set here, each key once with its last value. */
  changes(): Iterable<StateChange> {
    return this.#changes.values()
  }

  /** Takes over everything set in an overlay above this one. */
  absorb(upper: StateOverlay): void {
    for (const [text, change] of upper.#changes) this.#changes.set(text, change)
  }

  #read(text: string, key: Uint8Array): Uint8Array | undefined {
    const change = this.#changes.size === 0 ? undefined : this.#changes.get(text)
    if (change !== undefined) return change.value
    return this.#base instanceof StateOverlay ? this.#base.#read(text, key) : this.#base.get(key)
  }
}

/** Most records remembered by one `CommittedState`. */
const rememberedMax = 65_536

/**
 * The committed state in a store, with the records read last remembered (also that there is none). Its owner calls `committed`
 * with every change that the store takes, at once.
 */
export class CommittedState implements StateReader {
  readonly #store: LeafStore
  readonly #remembered = new Map<string, Uint8Array | undefined>()

  constructor(store: LeafStore) {
    this.#store = store
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const text = byteText(key)
    const value = this.#remembered.get(text)
    if (value !== undefined || this.#remembered.has(text)) return value
    const read = this.#store.get(statePath(key))?.value
    this.#remember(text, read)
    return read
  }

  /** Brings what is remembered up to date. */
  committed(leaves: Iterable<StateLeaf>): void {
    for (const leaf of leaves) this.#remember(byteText(leaf.key), leaf.value)
  }

  #remember(text: string, value: Uint8Array | undefined): void {
    if (this.#remembered.size >= rememberedMax && !this.#remembered.has(text)) {
      // The oldest entry goes; maps iterate in order of insertion.
      for (const oldest of this.#remembered.keys()) {
        this.#remembered.delete(oldest)
        break
      }
    }
    this.#remembered.set(text, value)
  }
}
