/**
 * Words of accounts that are being taken back just now (SPEC.md §5). Nothing of that is remembered in the tables, and stores are told more
 * than once: a word of the same time that comes meanwhile, as one after a release from a clock that is ahead does, would go with it.
 */
import { byteText } from '@healthblock/encoding/bytes'

/** What is being taken back from one store. */
export class TakenBack {
  readonly #words = new Map<string, { at: number; count: number }>()

  /** A word of a time, Unix ms. @returns what is to be called when it is taken back. */
  begin(digest: Uint8Array, account: Uint8Array, at: number): () => void {
    const name = byteText(digest) + byteText(account)
    const word = this.#words.get(name) ?? { at, count: 0 }
    this.#words.set(name, word)
    word.at = Math.max(word.at, at)
    word.count++
    return () => {
      word.count--
      if (word.count === 0) this.#words.delete(name)
    }
  }

  /** The latest word of an account on a block, Unix ms; 0 for none. */
  latest(digest: Uint8Array, account: Uint8Array): number {
    return this.#words.size === 0 ? 0 : (this.#words.get(byteText(digest) + byteText(account))?.at ?? 0)
  }
}
