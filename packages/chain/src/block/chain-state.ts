/** One chain's committed state over its store, and the step from a computed block to the next height. */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { ChainError } from '../errors.ts'
import { CompactRange, emptyRoot, leafHash } from '../log/merkle.ts'
import { encodeSealLeaf, type Seal } from '../log/seal.ts'
import type { LogIndexChanges } from '../state/log-index.ts'
import { CommittedState } from '../state/state.ts'
import { type PendingState, StateTree } from '../state/state-tree.ts'
import type { ChainStore } from '../state/store.ts'
import type { ChainHead, GrantClose, PendingBlock, PlacedTransaction } from './block-types.ts'
import { encodeHead, type HeadState, parseHead, toSizeAndRoot } from './head.ts'

/** What the execution of a block leaves to be sealed. */
export interface ExecutedBlock {
  readonly transactions: readonly PlacedTransaction[]
  readonly closes: readonly GrantClose[]
  readonly records: LogIndexChanges['records']
  readonly wakes: boolean
  readonly state: PendingState
  /** Leaves of the transactions. */
  readonly leaves: readonly Uint8Array[]
}

/** A chain at its committed head. Before block 0 there is no head. */
export class ChainState {
  readonly chain: ChainName
  readonly store: ChainStore
  readonly state: CommittedState
  readonly tree: StateTree
  #at: HeadState | undefined

  /**
   * Reads the store whole, once.
   *
   * @throws {ChainError} `ERR_STATE_CORRUPT` if leaves, head or range do not fit each other.
   */
  constructor(chain: ChainName, store: ChainStore) {
    this.chain = chain
    this.store = store
    this.state = new CommittedState(store.leaves)
    this.tree = new StateTree(store.leaves)
    const stored = store.head()
    this.#at = stored === undefined ? undefined : parseHead(stored)
    const head = this.#at?.head
    const isWhole =
      head === undefined
        ? this.tree.leafCount === 0
        : equalBytes(this.tree.root, head.stateRoot) && equalBytes(this.#at?.range.root ?? head.stateRoot, head.root)
    if (!isWhole) throw new ChainError(`the stored state of ${chain} is not whole`, { code: 'ERR_STATE_CORRUPT' })
  }

  /** The committed head; undefined before block 0. */
  get committed(): ChainHead | undefined {
    return this.#at?.head
  }

  /** The committed head. */
  get head(): ChainHead {
    if (this.#at === undefined) throw new ChainError(`${this.chain} has no block yet`, { code: 'ERR_BLOCK_NOT_NEXT' })
    return this.#at.head
  }

  /** The SEAL that the next block has if it executes to `stateRoot`. */
  nextSeal(block: { k: number; ms: number; rules: number; stateRoot: Uint8Array; anchor?: Seal['anchor'] }): Seal {
    const head = this.committed
    return {
      h: head === undefined ? 0 : head.height + 1,
      i0: head?.size ?? 0,
      k: block.k,
      psize: head?.size ?? 0,
      proot: head?.root ?? emptyRoot(),
      st: block.stateRoot,
      ms: block.ms,
      rules: block.rules,
      ...(block.anchor === undefined ? {} : { anchor: block.anchor }),
    }
  }

  /**
   * Joins an executed block and its SEAL. Changes nothing.
   *
   * @param known - Hashes of these very leaves, the SEAL's last, if the caller has them.
   */
  assemble(executed: ExecutedBlock, seal: Seal, known?: readonly { readonly hash: Uint8Array }[]): PendingBlock {
    const range = this.#at?.range.clone() ?? new CompactRange()
    const leaves = [...executed.leaves, encodeSealLeaf(seal)]
    for (const [position, leaf] of leaves.entries()) range.append(known?.[position]?.hash ?? leafHash(leaf))
    const [anchor] = seal.anchor ?? []
    const head: ChainHead = {
      height: seal.h,
      size: range.size,
      root: range.root,
      stateRoot: seal.st,
      ms: seal.ms,
      ...(anchor === undefined ? {} : { anchor: toSizeAndRoot(anchor) }),
    }
    const index: LogIndexChanges = {
      transactions: executed.transactions,
      records: executed.records,
      boundary: {
        size: head.size,
        height: head.height,
        root: head.root,
        ms: head.ms,
        wakes: executed.wakes,
        ...(anchor === undefined ? {} : { anchorSize: anchor[0] }),
      },
    }
    return {
      chain: this.chain,
      head,
      base: { size: seal.psize, root: seal.proot },
      firstIndex: seal.i0,
      seal,
      leaves,
      transactions: executed.transactions,
      closes: executed.closes,
      wakes: executed.wakes,
      changes: { state: executed.state, index, head: encodeHead({ head, range }) },
    }
  }

  /**
   * Makes the block the head. `store.apply` is the commit point: if it throws, nothing here has changed and what the store holds is
   * unknown, so the owner must open the ledger again.
   *
   * @throws {ChainError} `ERR_BLOCK_NOT_NEXT` if the block was not computed on the committed head.
   */
  commit(pending: PendingBlock): void {
    const { size, root } = this.committed ?? { size: 0, root: emptyRoot() }
    if (pending.chain !== this.chain || pending.base.size !== size || !equalBytes(pending.base.root, root)) {
      throw new ChainError('the block does not follow the head', { code: 'ERR_BLOCK_NOT_NEXT' })
    }
    const { state, index, head } = pending.changes
    this.store.apply({ leaves: state.leaves, index, head })
    this.tree.commit(state)
    this.state.committed(state.leaves)
    this.#at = parseHead(head)
  }
}
