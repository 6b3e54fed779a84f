/**
 * Reading and writing of state while rules run (SPEC.md §5). Nothing is written to a store here: changes gather in overlays,
 * which are thrown away or taken over whole; what one transaction of a block set can be taken back.
 */
import { type CborValue, decodeCbor } from '@healthblock/encoding/cbor'
import { type ByteKey, ByteMap, byteKey } from './byte-map.ts'
import { RecentMap } from './recent-map.ts'
import type { LeafStore, StateLeaf } from './state-tree.ts'
import { statePath } from './state-tree.ts'

/** A record's bytes and what they decode to: decoded once, however many rules read it. Neither may be changed. */
export class StateValue {
  /** Canonical CBOR. */
  readonly bytes: Uint8Array
  #decoded: CborValue | undefined

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  /** The decoded record; its byte strings are views into `bytes`. */
  get decoded(): CborValue {
    this.#decoded ??= decodeCbor(this.bytes)
    return this.#decoded
  }
}

/** Records by key: canonical CBOR `[table, id parts…]`. Nothing keeps the bytes of a key that is asked for. */
export interface StateReader {
  get(key: Uint8Array): StateValue | undefined
}

/** One record that was set. */
export interface StateChange {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/**
 * Reads through to `base` and keeps what is set. One transaction after the other writes into it: what a transaction has set since `begin`
 * is taken back by `undo`.
 */
export class StateOverlay implements StateReader {
  readonly #base: StateReader
  /** `undefined`: taken back. */
  readonly #changes = new ByteMap<StateValue | undefined>()
  /** What the keys set since `begin` held before, in the order of setting. */
  readonly #before: { readonly key: ByteKey; readonly value: StateValue | undefined }[] = []

  constructor(base: StateReader) {
    this.#base = base
  }

  get(key: Uint8Array): StateValue | undefined {
    return this.read(byteKey(key))
  }

  /** `get` for a key whose place is known. */
  read(key: ByteKey): StateValue | undefined {
    const change = this.#changes.get(key)
    if (change !== undefined) return change
    const base = this.#base
    return base instanceof CommittedState || base instanceof StateOverlay ? base.read(key) : base.get(key.bytes)
  }

  /** Sets a record, in this overlay only. */
  set(bytes: Uint8Array, value: Uint8Array): void {
    const key = byteKey(bytes)
    this.#before.push({ key, value: this.#changes.get(key) })
    this.#changes.set(key, new StateValue(value))
  }

  /** What was set so far stays. */
  begin(): void {
    this.#before.length = 0
  }

  /** Forgets everything set since `begin`. */
  undo(): void {
    for (let last = this.#before.pop(); last !== undefined; last = this.#before.pop()) {
      this.#changes.set(last.key, last.value)
    }
  }

  /** Everything set here, each key once with its last value. */
  *changes(): Iterable<StateChange> {
    for (const [key, value] of this.#changes.entries()) if (value !== undefined) yield { key, value: value.bytes }
  }
}

/** Most records remembered by one `CommittedState`. */
const rememberedMax = 65_536
/** Stands for a record that is not there: a value is found with one question, where nothing is takes five. */
const absent = new StateValue(new Uint8Array(0))

/**
 * The committed state in a store, with the records read last remembered (also that there is none). Its owner calls `committed`
 * with every change that the store takes, at once.
 */
export class CommittedState implements StateReader {
  readonly #store: LeafStore
  readonly #remembered = new RecentMap<ByteKey, StateValue>(rememberedMax, () => new ByteMap())

  constructor(store: LeafStore) {
    this.#store = store
  }

  get(key: Uint8Array): StateValue | undefined {
    return this.read(byteKey(key))
  }

  /** `get` for a key whose place is known. */
  read(key: ByteKey): StateValue | undefined {
    let value = this.#remembered.get(key)
    if (value === undefined) {
      const found = this.#store.get(statePath(key.bytes))
      value = found === undefined ? absent : new StateValue(found.value)
      this.#remembered.set(key, value)
    }
    return value === absent ? undefined : value
  }

  /** Brings what is remembered up to date. */
  committed(leaves: Iterable<StateLeaf>): void {
    for (const leaf of leaves) this.#remembered.set(byteKey(leaf.key), new StateValue(leaf.value))
  }
}
