/** Replay of a chain from its leaves, with every check of SPEC.md §3: for followers and auditors. */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import { CompactRange, leafHash } from '../log/merkle.ts'
import { blockTransactionsMax } from '../log/seal.ts'
import type { Ledger } from './block.ts'
import type { PendingBlock } from './block-types.ts'
import type { PreparedLeaf } from './preparation.ts'

/**
 * Takes a chain's leaves one by one and commits every whole block to a ledger. Leaves that the ledger holds already are compared with
 * it by their Merkle root; all others are executed. Userchain must be ahead of the anchors in Docchain: replay it before, or alternate.
 */
export class Replay {
  readonly #ledger: Ledger
  readonly #chain: ChainName
  /** Leaves that the ledger holds, as they came; undefined once compared, or if replay began at the head. */
  #known: CompactRange | undefined
  #block: Uint8Array[] = []
  /** Of the leaves of `#block`, as many as came prepared. */
  #prepared: PreparedLeaf[] = []

  /** @param from - Index of the first leaf to come: 0, or the size of the ledger's head. */
  constructor(ledger: Ledger, chain: ChainName, from: number) {
    const { size } = ledger.head(chain)
    if (from !== 0 && from !== size) {
      throw new ChainError('replay begins at 0 or at the head', { code: 'ERR_TREE_RANGE', index: from, size })
    }
    this.#ledger = ledger
    this.#chain = chain
    this.#known = from === 0 ? new CompactRange() : undefined
  }

  /** Number of leaves that came since the last SEAL. */
  get openLeaves(): number {
    return this.#block.length
  }

  /**
   * Takes the next leaf.
   *
   * @param prepared - What is known of this very leaf; not checked again.
   * @returns The block that it ends, committed; undefined for any other leaf.
   * @throws {ChainError} `ERR_BLOCK_INVALID` names chain, height, index and rule (`log.prefix`: the leaves differ from those that the ledger
   *   holds); `ERR_ANCHOR_UNKNOWN`: nothing is lost, apply Userchain and call `retry`.
   */
  push(leaf: Uint8Array, prepared?: PreparedLeaf): PendingBlock | undefined {
    if (this.#known !== undefined) {
      this.#compare(this.#known, prepared?.hash ?? leafHash(leaf))
      return undefined
    }
    this.#block.push(leaf)
    if (prepared !== undefined) this.#prepared.push(prepared)
    if (this.#block.length > blockTransactionsMax + 1) throw this.#invalid('seal.count')
    return isSeal(leaf) ? this.retry() : undefined
  }

  /** Checks and commits the block that is waiting for Userchain. */
  retry(): PendingBlock | undefined {
    const last = this.#block.at(-1)
    if (last === undefined || !isSeal(last)) return undefined
    const block = { chain: this.#chain, leaves: this.#block }
    const isPrepared = this.#prepared.length === this.#block.length
    const pending = this.#ledger.checkBlock(isPrepared ? { ...block, prepared: this.#prepared } : block)
    this.#ledger.commit(pending)
    this.#block = []
    this.#prepared = []
    return pending
  }

  #compare(known: CompactRange, hash: Uint8Array): void {
    const { size, root } = this.#ledger.head(this.#chain)
    known.append(hash)
    if (known.size < size) return
    if (!equalBytes(known.root, root)) throw this.#invalid('log.prefix')
    this.#known = undefined
  }

  #invalid(rule: string): ChainError {
    const head = this.#ledger.head(this.#chain)
    const index = rule === 'log.prefix' ? head.size - 1 : head.size + this.#block.length - 1
    const detail = { code: 'ERR_BLOCK_INVALID', chain: this.#chain, height: head.height + 1, index, rule } as const
    return new ChainError(`${this.#chain} breaks ${rule}`, detail)
  }
}

/** What is neither a SEAL nor a transaction counts as a transaction, and fails as one. */
function isSeal(leaf: Uint8Array): boolean {
  return leaf[0] === 0x82
}

/**
 * Replays whole blocks from an iterable.
 *
 * @param chain - `from`: index of the first leaf, 0 or the size of the ledger's head.
 * @returns One committed block at a time.
 * @throws {ChainError} as `Replay.push`; `ERR_BLOCK_INVALID` with rule `seal.missing` if leaves follow the last SEAL.
 */
export function* replayLeaves(
  ledger: Ledger,
  chain: { readonly name: ChainName; readonly from: number; readonly leaves: Iterable<Uint8Array> },
): Generator<PendingBlock, void> {
  const replay = new Replay(ledger, chain.name, chain.from)
  for (const leaf of chain.leaves) {
    const block = replay.push(leaf)
    if (block !== undefined) yield block
  }
  if (replay.openLeaves > 0) {
    const { height, size } = ledger.head(chain.name)
    const index = size + replay.openLeaves
    const detail = {
      code: 'ERR_BLOCK_INVALID',
      chain: chain.name,
      height: height + 1,
      index,
      rule: 'seal.missing',
    } as const
    throw new ChainError('leaves follow the last SEAL', detail)
  }
}
