/**
 * The ledger: both chains' state, index and log over injected stores, and the one way in which blocks are built, checked and committed
 * (SPEC.md §3). Everything is synchronous and depends on the arguments alone. A block is computed on the committed head and changes
 * nothing until it is committed, so several can be computed for one height and all but one thrown away.
 */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { newestKey } from '../contracts/context.ts'
import { applyGenesis } from '../contracts/genesis.ts'
import { ChainError } from '../errors.ts'
import { blockTransactionsMax, parseSealLeaf, type Seal } from '../log/seal.ts'
import { type Genesis, genesisAccounts, genesisLeaf, parseGenesis, rulesVersionNewest } from '../policy/genesis.ts'
import { policyAt, rulesAt } from '../state/live-at.ts'
import type { LogIndex } from '../state/log-index.ts'
import { StateOverlay, type StateReader } from '../state/state.ts'
import type { StateLeaf, StateProof } from '../state/state-tree.ts'
import { type ChainStore, MemoryChainStore } from '../state/store.ts'
import { keyRoles, type PolicyRecord } from '../state/tables.ts'
import { SignatureCache } from '../transaction/signature-cache.ts'
import {
  idOf,
  parseTransactionLeaf,
  signingMessage,
  type Transaction,
  transactionId,
} from '../transaction/transaction.ts'
import { BlockRun } from './block-run.ts'
import type { BlockLimits, ChainHead, PendingBlock, SizeAndRoot, Verdict } from './block-types.ts'
import { ChainState, type ExecutedBlock } from './chain-state.ts'
import { type PreparationWorkers, type PreparedLeaf, preverifyWith } from './preparation.ts'

export { SignatureCache } from '../transaction/signature-cache.ts'
export type {
  BlockLimits,
  ChainHead,
  GrantClose,
  PendingBlock,
  PlacedTransaction,
  SizeAndRoot,
  Verdict,
} from './block-types.ts'

/** Stores of both chains. */
export interface LedgerStores {
  readonly userchain: ChainStore
  readonly docchain: ChainStore
}

/** What a ledger is opened with. */
export interface LedgerOptions {
  /** The file's bytes. */
  readonly genesis: Uint8Array
  readonly stores: LedgerStores
  /** Shared with whoever verifies early; its own if absent. */
  readonly signatures?: SignatureCache
  readonly workers?: PreparationWorkers
}

/** What `buildBlock` made of its candidates. */
export interface BuiltBlock {
  /** Absent if no candidate is valid and no block without transactions is due. */
  readonly pending?: PendingBlock
  /** One per candidate, in the same order; undefined for those that no longer fitted into the block. */
  readonly verdicts: readonly (Verdict | undefined)[]
}

/** How often candidates that were deferred are tried again after others became valid. */
const passesMax = 3

/**
 * Both chains at their committed heads. Not for concurrent use: one thread, one owner. Reading while a block is pending sees the
 * committed head.
 */
export class Ledger {
  readonly genesis: Genesis
  readonly ledgerId: Uint8Array
  /** Length of an epoch. */
  readonly epochMs: number
  readonly signatures: SignatureCache
  /** Threads that verify signatures in large pieces. Without them the platform's thread pool does, one by one. */
  readonly workers: PreparationWorkers | undefined
  readonly #chains: { readonly [C in ChainName]: ChainState }
  readonly #genesisOrganisations: readonly Uint8Array[]

  private constructor(genesis: Genesis, { stores, signatures, workers }: Omit<LedgerOptions, 'genesis'>) {
    this.genesis = genesis
    this.ledgerId = genesis.ledgerId
    this.epochMs = genesis.body.params.epochms
    this.signatures = signatures ?? new SignatureCache()
    this.workers = workers
    this.#genesisOrganisations = genesisAccounts(genesis).organisations
    this.#chains = {
      userchain: new ChainState('userchain', stores.userchain),
      docchain: new ChainState('docchain', stores.docchain),
    }
  }

  /**
   * Opens a ledger at the height that each store holds. An empty store gets block 0, which genesis fixes: the stores hold only what follows
   * from the log, so an empty one means replay from the start, not a new ledger.
   *
   * @throws {ChainError} `ERR_GENESIS_INVALID`; `ERR_STATE_CORRUPT` for a store that is not whole or belongs to another ledger.
   */
  static open(options: LedgerOptions): Ledger {
    const genesis = parseGenesis(options.genesis)
    const zero = blocksZero(genesis)
    const ledger = new Ledger(genesis, options)
    for (const chain of [ledger.#chains.userchain, ledger.#chains.docchain]) {
      const { head } = zero[chain.chain]
      if (chain.committed === undefined) chain.commit(zero[chain.chain])
      const first = chain.store.index.boundary(head.size)
      if (first === undefined || !equalBytes(first.root, head.root)) {
        throw new ChainError('the store belongs to another ledger', { code: 'ERR_STATE_CORRUPT' })
      }
    }
    return ledger
  }

  /** The committed head of a chain. */
  head(chain: ChainName): ChainHead {
    return this.#chains[chain].head
  }

  /** The committed state of a chain, to be read with `../state/tables` and `../state/live-at`. */
  state(chain: ChainName): StateReader {
    return this.#chains[chain].state
  }

  /** Every leaf of a chain's committed state, in the order of their paths. There may be millions: the whole store is read. */
  leaves(chain: ChainName): Iterable<StateLeaf> {
    return this.#chains[chain].store.leaves.range(new Uint8Array(32), new Uint8Array(32).fill(0xff))
  }

  /** The log index of a chain at its committed head. */
  index(chain: ChainName): LogIndex {
    return this.#chains[chain].store.index
  }

  /** The policy under which the chain's next block is published: Userchain's own after its head, or at the anchor of Docchain's head. */
  policy(chain: ChainName): PolicyRecord {
    return this.policyOf(chain, this.head(chain).height + 1).policy
  }

  /**
   * The policy under which the block of a height is decided and its checkpoint published, and its number (SPEC.md §4). At most one height
   * above the head.
   */
  policyOf(chain: ChainName, height: number): { k: number; policy: PolicyRecord } {
    const before = height === 0 ? undefined : this.index(chain).boundaryAt(height - 1)
    if (height > 0 && before === undefined) {
      const { size } = this.head(chain)
      throw new ChainError('the policy of that height is not known yet', {
        code: 'ERR_TREE_RANGE',
        index: height,
        size,
      })
    }
    const size = chain === 'userchain' ? before?.size : before?.anchorSize
    const found = policyAt(this.state('userchain'), size ?? 1)
    if (found === undefined) throw new ChainError('no policy is in force', { code: 'ERR_STATE_CORRUPT' })
    return found
  }

  /** True if another policy is in force after the block of this height, at most the head's: its checkpoint comes before any further block. */
  isSwitch(chain: ChainName, height: number): boolean {
    return this.policyOf(chain, height).k !== this.policyOf(chain, height + 1).k
  }

  /** Version of the rules in the chain's next block. `anchor`: Docchain's, by default Userchain's head. */
  rules(chain: ChainName, anchor: SizeAndRoot = this.head('userchain')): number {
    const { size, height } =
      chain === 'userchain'
        ? { size: this.head('userchain').size, height: this.head('userchain').height + 1 }
        : { size: anchor.size, height: this.index('userchain').boundary(anchor.size)?.height ?? 0 }
    return rulesAt(this.state('userchain'), size, height)?.version ?? this.genesis.body.params.seals
  }

  /** The account's public key live at Userchain's head: 0 root, 1 op, 2 node or store key. For tokens and statements. */
  accountKey(account: Uint8Array, key: number): Uint8Array | undefined {
    return newestKey(this.state('userchain'), account, key)
  }

  /** The id that a transaction has on a chain of this ledger. */
  transactionId(chain: ChainName, transaction: Transaction): Uint8Array {
    return idOf(transaction, this.ledgerId, chain)
  }

  /** The record at a key of the committed state, or undefined, and the proof of it under the head's state root. */
  prove(
    chain: ChainName,
    key: Uint8Array,
  ): { value: Uint8Array | undefined; proof: StateProof; stateRoot: Uint8Array } {
    const { state, tree, head } = this.#chains[chain]
    return { value: state.get(key)?.bytes, proof: tree.prove(key), stateRoot: head.stateRoot }
  }

  /**
   * True if Userchain closed a grant, suspended a licence or changed the policy after Docchain's newest anchor: a Docchain block is due, even
   * without transactions.
   *
   * @param anchorSize - Where that block would be anchored; by default at Userchain's head.
   */
  isDocchainBlockDue(anchorSize: number = this.head('userchain').size): boolean {
    const newest = this.index('userchain').newestWake(anchorSize)
    return newest !== undefined && newest > this.#anchorOfHead().size
  }

  /**
   * Judges one transaction as if it were alone in the next block. For gateways: nothing changes, except that good signatures are remembered.
   *
   * @param at - `atMs`: time of that block's SEAL. `anchor`: Docchain's anchor; by default Userchain's head.
   */
  judge(chain: ChainName, transaction: Transaction, at: { atMs: number; anchor?: SizeAndRoot }): Verdict {
    return this.#run(chain, at.atMs, at.anchor ?? this.head('userchain')).execute(transaction)
  }

  /**
   * The public key that the signature will probably be judged under: that of the account now, or the one that the transaction registers. It
   * decides nothing; undefined if the account is not known yet.
   */
  expectedKey({ body }: Transaction, signer: { account: Uint8Array; key: number }): Uint8Array | undefined {
    const { account, key } = signer
    const isOwn = body.t === 'register' && !equalBytes(account, body.sponsor)
    if (isOwn && key <= keyRoles.op) return key === keyRoles.root ? body.root : body.op
    return this.accountKey(account, key)
  }

  /**
   * A first look at transactions, each as if it were alone in the next block: refuses what can never be valid. An `iot` that passes may yet
   * lack something. For gateways: nothing changes, except that good signatures are remembered.
   */
  screen(
    chain: ChainName,
    transactions: readonly Transaction[],
    at: { atMs: number; anchor?: SizeAndRoot },
  ): Verdict[] {
    const run = this.#run(chain, at.atMs, at.anchor ?? this.head('userchain'))
    return transactions.map((transaction) => run.screen(transaction))
  }

  /**
   * Verifies the transactions' signatures off the event loop, each under the key that is live now, and remembers the good ones. It decides
   * nothing: execution verifies itself what is not remembered.
   */
  async preverify(
    chain: ChainName,
    transactions: readonly Transaction[],
    { isUrgent = false }: { isUrgent?: boolean } = {},
  ): Promise<void> {
    if (this.workers !== undefined) {
      await preverifyWith({ workers: this.workers, ledger: this, chain, isUrgent }, transactions)
      return
    }
    const claims = transactions.flatMap((transaction) => {
      const id = this.transactionId(chain, transaction)
      const place = { ledgerId: this.ledgerId, chain, bodyBytes: transaction.bodyBytes }
      const message = () => signingMessage(place)
      return transaction.signatures.flatMap(({ account, key, signature }) => {
        const publicKey = this.expectedKey(transaction, { account, key })
        return publicKey === undefined ? [] : [this.signatures.prepare({ id, publicKey, signature, message })]
      })
    })
    await Promise.all(claims)
  }

  /**
   * Builds the next block from the candidates that are valid, in their order; what is deferred is tried again after the others.
   *
   * @param order - `nowMs`: the SEAL gets max(predecessor + 1, nowMs). `anchor`: on Docchain, by default Userchain's head.
   * @throws {ChainError} `ERR_BLOCK_INVALID` or `ERR_ANCHOR_UNKNOWN` for an anchor that the block cannot have.
   */
  buildBlock(order: {
    chain: ChainName
    candidates: readonly Transaction[]
    nowMs: number
    anchor?: SizeAndRoot
    limits?: BlockLimits
  }): BuiltBlock {
    const { chain, candidates } = order
    const own = this.#chains[chain]
    const anchor = chain === 'docchain' ? (order.anchor ?? this.head('userchain')) : undefined
    if (anchor !== undefined) this.#checkAnchor(anchor)
    const ms = Math.max(own.head.ms + 1, order.nowMs)
    const run = this.#run(chain, ms, anchor ?? this.head('userchain'))
    const limits = order.limits ?? { transactionsMax: blockTransactionsMax, sizeBytesMax: Number.MAX_SAFE_INTEGER }
    const verdicts = fill(run, candidates, limits)
    const isDue = anchor !== undefined && this.isDocchainBlockDue(anchor.size)
    if (run.transactions.length === 0 && !isDue) return { verdicts }
    const executed = this.#finish(run)
    const seal = own.nextSeal({
      k: run.transactions.length,
      ms,
      rules: run.place.rules,
      stateRoot: executed.state.root,
      ...(anchor === undefined ? {} : { anchor: [[anchor.size, anchor.root]] }),
    })
    return { pending: own.assemble(executed, seal), verdicts }
  }

  /**
   * Checks a whole block on the committed head by executing it.
   *
   * @param block - `leaves`: the transactions' and, last, the SEAL. `parsed`: the transactions parsed from these very leaves, to spare parsing them again.
   *   `prepared`: what else is known of these very leaves, one for each; not checked again.
   * @throws {ChainError} `ERR_BLOCK_INVALID` names the rule and the index of the leaf; `ERR_ANCHOR_UNKNOWN` if Userchain must be applied first.
   */
  checkBlock(block: {
    chain: ChainName
    leaves: readonly Uint8Array[]
    parsed?: readonly Transaction[]
    prepared?: readonly PreparedLeaf[]
  }): PendingBlock {
    const { chain, leaves, parsed, prepared } = block
    const own = this.#chains[chain]
    const seal = this.#checkSeal(chain, leaves)
    const anchor = seal.anchor?.[0]
    const run = this.#run(chain, seal.ms, anchor === undefined ? own.head : { size: anchor[0], root: anchor[1] })
    for (const [position, leaf] of leaves.slice(0, -1).entries()) {
      const index = seal.i0 + position
      const own = prepared?.[position]?.prepared
      const known = own?.transaction ?? parsed?.[position]
      const isKnown = known?.leaf === leaf
      const verdict = run.execute(isKnown ? known : this.#parse(chain, leaf, index), isKnown ? own : undefined)
      if (verdict.verdict !== 'valid') throw this.#invalid(chain, index, verdict.rule)
    }
    const executed = this.#finish(run)
    if (!equalBytes(executed.state.root, seal.st)) throw this.#invalid(chain, seal.i0 + seal.k, 'seal.state')
    return own.assemble(executed, seal, prepared)
  }

  /**
   * Makes a pending block the chain's head, in one atomic change of its store.
   *
   * @throws {ChainError} `ERR_BLOCK_NOT_NEXT` if another block was committed since it was computed. An error of the store passes
   *   through: what it holds is then unknown, and the ledger must be opened again.
   */
  commit(pending: PendingBlock): void {
    this.#chains[pending.chain].commit(pending)
  }

  #run(chain: ChainName, timeMs: number, anchor: SizeAndRoot): BlockRun {
    const { state, store, head } = this.#chains[chain]
    const { ledgerId, epochMs } = this
    const rules = this.rules(chain, anchor)
    if (rules > rulesVersionNewest) {
      const detail = { code: 'ERR_RULES_UNKNOWN', version: rules, newest: rulesVersionNewest } as const
      const words = `${chain} is under version ${rules} of the rules, and this program knows up to ${rulesVersionNewest}: install a newer one`
      throw new ChainError(words, detail)
    }
    const place = {
      chain,
      ledgerId,
      epochMs,
      firstIndex: head.size,
      height: head.height + 1,
      rules,
      timeMs,
      state,
      log: store.index,
      genesisOrganisations: this.#genesisOrganisations,
    }
    if (chain === 'userchain') return new BlockRun(place, this.signatures)
    const userchain = { anchor, state: this.state('userchain'), log: this.index('userchain') }
    return new BlockRun({ ...place, docchain: userchain }, this.signatures)
  }

  #finish(run: BlockRun): ExecutedBlock {
    return {
      transactions: run.transactions,
      closes: run.closes,
      records: run.records,
      wakes: run.wakes,
      state: this.#chains[run.place.chain].tree.rootAfter(run.changes()),
      leaves: run.transactions.map(({ transaction }) => transaction.leaf),
    }
  }

  #parse(chain: ChainName, leaf: Uint8Array, index: number): Transaction {
    try {
      return parseTransactionLeaf(leaf)
    } catch (cause) {
      if (!(cause instanceof ChainError) || cause.detail.code !== 'ERR_TRANSACTION_FORMAT') throw cause
      throw this.#invalid(chain, index, cause.detail.rule, cause)
    }
  }

  /** Everything in a SEAL that can be judged before the block is executed. */
  #checkSeal(chain: ChainName, leaves: readonly Uint8Array[]): Seal {
    const head = this.head(chain)
    const count = leaves.length - 1
    const index = head.size + count
    const last = leaves[count]
    let seal: Seal
    try {
      if (last === undefined) throw this.#invalid(chain, head.size, 'seal.format')
      seal = parseSealLeaf(last)
    } catch (cause) {
      if (cause instanceof ChainError && cause.detail.code === 'ERR_BLOCK_INVALID') throw cause
      throw this.#invalid(chain, index, 'seal.format', cause)
    }
    if (seal.h !== head.height + 1) throw this.#invalid(chain, index, 'seal.height')
    if (seal.i0 !== head.size) throw this.#invalid(chain, index, 'seal.index')
    if (seal.k !== count) throw this.#invalid(chain, index, 'seal.count')
    if (seal.psize !== head.size || !equalBytes(seal.proot, head.root)) throw this.#invalid(chain, index, 'seal.link')
    if (seal.ms <= head.ms) throw this.#invalid(chain, index, 'seal.time')
    const anchor = seal.anchor?.[0]
    if ((anchor === undefined) !== (chain === 'userchain')) throw this.#invalid(chain, index, 'seal.anchor')
    if (anchor !== undefined) this.#checkAnchor({ size: anchor[0], root: anchor[1] }, index)
    const rules = this.rules(chain, anchor === undefined ? undefined : { size: anchor[0], root: anchor[1] })
    if (seal.rules !== rules) throw this.#invalid(chain, index, 'seal.rules')
    const isEmptyAllowed = anchor !== undefined && this.isDocchainBlockDue(anchor[0])
    if (count === 0 && !isEmptyAllowed) throw this.#invalid(chain, index, 'seal.empty')
    return seal
  }

  #checkAnchor(anchor: SizeAndRoot, index = this.head('docchain').size): void {
    const applied = this.head('userchain').size
    if (anchor.size > applied) {
      const detail = { code: 'ERR_ANCHOR_UNKNOWN', size: anchor.size, appliedSize: applied } as const
      throw new ChainError('the anchor lies beyond the applied Userchain', detail)
    }
    const boundary = this.index('userchain').boundary(anchor.size)
    const isGood = boundary !== undefined && equalBytes(boundary.root, anchor.root)
    if (!isGood || anchor.size < this.#anchorOfHead().size) throw this.#invalid('docchain', index, 'seal.anchor')
  }

  #anchorOfHead(): SizeAndRoot {
    const { anchor } = this.head('docchain')
    if (anchor === undefined) throw new ChainError('a Docchain head without anchor', { code: 'ERR_STATE_CORRUPT' })
    return anchor
  }

  #invalid(chain: ChainName, index: number, rule: string, cause?: unknown): ChainError {
    const height = this.head(chain).height + 1
    const detail = { code: 'ERR_BLOCK_INVALID', chain, height, index, rule } as const
    return new ChainError(`block ${height} of ${chain} breaks ${rule} at index ${index}`, detail, { cause })
  }
}

/** Block 0 of both chains, which the genesis file fixes. Their leaves begin every log. */
export interface GenesisBlocks {
  readonly userchain: PendingBlock
  readonly docchain: PendingBlock
}

/**
 * Computes block 0 of both chains. `Ledger.open` commits them to empty stores by itself; a node writes their leaves into its log.
 *
 * @param bytes - The genesis file.
 * @throws {ChainError} `ERR_GENESIS_INVALID`.
 */
export function genesisBlocks(bytes: Uint8Array): GenesisBlocks {
  return blocksZero(parseGenesis(bytes))
}

/** Those computed last: a node that starts asks several times. Nothing changes a pending block. */
let newestZero: { readonly ledgerId: Uint8Array; readonly blocks: GenesisBlocks } | undefined

function blocksZero(genesis: Genesis): GenesisBlocks {
  const { ledgerId } = genesis
  if (newestZero !== undefined && equalBytes(newestZero.ledgerId, ledgerId)) return newestZero.blocks
  const userchain = blockZero(genesis, 'userchain')
  const blocks = { userchain, docchain: blockZero(genesis, 'docchain', userchain.head) }
  newestZero = { ledgerId, blocks }
  return blocks
}

function blockZero(genesis: Genesis, chain: ChainName, anchor?: SizeAndRoot): PendingBlock {
  const empty = new ChainState(chain, new MemoryChainStore())
  const state = new StateOverlay(empty.state)
  if (chain === 'userchain') applyGenesis(state, genesis)
  const leaf = genesisLeaf(genesis)
  const id = transactionId({ ledgerId: genesis.ledgerId, chain, bodyBytes: genesis.bytes })
  const executed: ExecutedBlock = {
    transactions: [{ transaction: parseTransactionLeaf(leaf), id, index: 0 }],
    closes: [],
    records: [],
    wakes: false,
    state: empty.tree.rootAfter(state.changes()),
    leaves: [leaf],
  }
  const { start: ms, params } = genesis.body
  const zero = { k: 1, ms, rules: params.seals, stateRoot: executed.state.root }
  const seal = empty.nextSeal(anchor === undefined ? zero : { ...zero, anchor: [[anchor.size, anchor.root]] })
  return empty.assemble(executed, seal)
}

/** Executes what fits, in order, and tries what was deferred again as long as others became valid since. */
function fill(run: BlockRun, candidates: readonly Transaction[], limits: BlockLimits): (Verdict | undefined)[] {
  const verdicts: (Verdict | undefined)[] = candidates.map(() => undefined)
  const transactionsMax = Math.min(limits.transactionsMax, blockTransactionsMax)
  let sizeBytes = 0
  let waiting = [...candidates.entries()]
  for (let pass = 0; pass < passesMax; pass++) {
    const before = run.transactions.length
    for (const [position, candidate] of waiting) {
      if (run.transactions.length >= transactionsMax) break
      if (sizeBytes + candidate.leaf.length > limits.sizeBytesMax) continue
      verdicts[position] = run.execute(candidate)
      if (verdicts[position]?.verdict === 'valid') sizeBytes += candidate.leaf.length
    }
    waiting = waiting.filter(([position]) => verdicts[position]?.verdict === 'deferred')
    if (waiting.length === 0 || run.transactions.length === before) break
  }
  return verdicts
}
