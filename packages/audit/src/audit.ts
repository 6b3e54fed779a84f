/**
 * The audit (SPEC.md): replays both ledgers from genesis, with nothing believed but the genesis file and the quorum that it
 * names, and compares what every node serves. Memory is bounded by open grants, streams and one hash for 256 entries; the
 * state lives in the caller's stores. Blocks that the stores hold are not executed again, but every entry is compared again.
 */
import { Ledger, type LedgerStores } from '@healthblock/chain/block'
import { ChainError } from '@healthblock/chain/errors'
import { type Genesis, parseGenesis } from '@healthblock/chain/genesis'
import { type PreparationWorkers, type PreparedLeaf, prepareBundle, sameThread } from '@healthblock/chain/preparation'
import { Replay } from '@healthblock/chain/replay'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { ruleText } from '@healthblock/chain/statement'
import { tileWidth } from '@healthblock/chain/tile'
import { type ChainName, leafKind, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import { bundlesForEveryTile, compareUpperTiles, type EntrySource, type PrepareBundle, readEntries } from './entries.ts'
import { collectIncidents } from './incidents.ts'
import { type AuditNode, type NodeHead, Nodes, newestHead } from './nodes.ts'
import { type AuditReport, type ChainReport, FindingList } from './report.ts'
import { type AuditedBlock, AuditRules } from './rules.ts'
import { Samples, type StorageProbe } from './samples.ts'
import { Skeleton } from './skeleton.ts'
import { compareState } from './state-sample.ts'

export type { AuditNode } from './nodes.ts'
export type { StorageProbe, StoredSample } from './samples.ts'

/** How far an audit has come: of `total` entries of a chain, `done` are compared and executed. */
export interface AuditProgress {
  readonly chain: ChainName
  readonly done: number
  readonly total: number
  readonly transactions: number
}

/** What an audit needs. */
export interface AuditRequest {
  /** The genesis file. */
  readonly genesis: Uint8Array
  /** Every accounting node that is to be asked. */
  readonly nodes: readonly AuditNode[]
  /** Over the same URLs, with a token of scope `ledger`, trusting genesis. */
  readonly client: LedgerClient
  /** Empty, or of an earlier audit of the same ledger. Owned by the audit until it resolves. */
  readonly stores: LedgerStores
  /** Threads for hashes and signatures; this one if absent. */
  readonly workers?: PreparationWorkers
  /** Makes durable what the stores were given: called between the chains and at the end. */
  readonly flush?: (chain: ChainName) => void
  readonly now: () => number
  /** Waits: a node that is a moment behind is given some time. */
  readonly wait: (ms: number) => Promise<void>
  readonly storage?: StorageProbe
  /** True: records of the replayed state are compared with what every node proves. */
  readonly isStateCompared?: boolean
  readonly onProgress?: (progress: AuditProgress) => void
}

/** How often, and after which pause, a node that is behind is asked again. */
const behindAttempts = 20
const behindPauseMs = 250

/**
 * Audits both ledgers.
 *
 * @throws {ChainError} `ERR_GENESIS_INVALID`; `ERR_STATE_CORRUPT` for stores of another ledger. Whatever nodes do is a finding.
 */
export async function audit(request: AuditRequest): Promise<AuditReport> {
  return new Audit(request).run()
}

class Audit {
  readonly #request: AuditRequest
  readonly #genesis: Genesis
  readonly #ledger: Ledger
  readonly #findings = new FindingList()
  readonly #nodes: Nodes
  readonly #rules: AuditRules
  readonly #notChecked: string[] = []
  #samples: Samples | undefined
  #transactions = 0

  constructor(request: AuditRequest) {
    this.#request = request
    this.#genesis = parseGenesis(request.genesis)
    this.#ledger = Ledger.open({ genesis: request.genesis, stores: request.stores })
    this.#nodes = new Nodes(request.nodes, request.client, this.#findings)
    this.#rules = new AuditRules(this.#ledger, this.#findings)
  }

  async run(): Promise<AuditReport> {
    const { now, storage } = this.#request
    const begunMs = now()
    // Docchain first: whatever it is anchored at was published on Userchain before.
    const docchain = await this.#heads('docchain')
    const userchain = await this.#heads('userchain')
    const isUserchainWhole = await this.#chain('userchain', userchain)
    this.#request.flush?.('userchain')
    this.#rules.finish(now())
    if (isUserchainWhole) await this.#chain('docchain', docchain)
    else this.#notChecked.push('docchain was not replayed, because the replay of userchain stopped')
    this.#request.flush?.('docchain')
    await this.#catchUp('userchain', userchain)
    await this.#catchUp('docchain', docchain)
    await this.#compareState()
    await collectIncidents(this.#nodes, this.#genesis, this.#findings)
    if (this.#samples !== undefined) this.#notChecked.push(await this.#samples.check(storage, this.#findings))
    return this.#report(now() - begunMs)
  }

  async #heads(chain: ChainName): Promise<NodeHead[]> {
    return this.#nodes.heads(this.#genesis, chain, this.#request.now())
  }

  /** Compares and replays one chain up to its newest head. False if it could not be replayed whole. */
  async #chain(chain: ChainName, heads: readonly NodeHead[]): Promise<boolean> {
    const target = newestHead(heads, chain, this.#findings)
    if (target === undefined) {
      this.#findings.add({
        code: 'log.unavailable',
        chain,
        message: `no node serves a checkpoint of ${chain} that holds`,
      })
      return false
    }
    const { size, root } = target.checkpoint
    if (this.#isShorter(chain, size)) return false
    this.#samples ??= new Samples(root)
    const holders = heads.filter((head) => head.checkpoint.size >= size).map(({ node }) => node)
    const skeleton = await this.#skeleton(chain, target, holders)
    const source: EntrySource = { chain, size, skeleton, nodes: this.#nodes, holders, findings: this.#findings }
    if (skeleton === undefined) {
      const message = `no node serves hash tiles of ${chain} that give the cosigned root`
      this.#findings.add({ code: 'tile.root', chain, index: size - 1, message })
    }
    await compareUpperTiles(source)
    const isWhole = await this.#replay(source)
    this.#checkHeads(chain, heads)
    if (isWhole && !equalBytes(this.#ledger.head(chain).root, root)) {
      const message = `the entries of ${chain} do not give the root that a quorum cosigned`
      this.#findings.add({ code: 'log.root', chain, index: size - 1, message })
      return false
    }
    if (holders.length < heads.length) {
      const names = heads.filter((head) => head.checkpoint.size < size).map(({ node }) => node.name)
      this.#notChecked.push(`entries of ${chain} at ${names.join(', ')}, which published fewer when the audit began`)
    }
    if (Math.ceil(size / 256) > bundlesForEveryTile) {
      this.#notChecked.push(
        `hash tiles of level 0 of ${chain}: each was compared at one node, all others at every node`,
      )
    }
    return isWhole
  }

  /** True, and a finding, if an earlier audit had seen more entries than any node publishes now. */
  #isShorter(chain: ChainName, size: number): boolean {
    const seen = this.#ledger.head(chain).size
    if (seen <= size) return false
    const message = `${chain} had ${seen} entries at an earlier audit, and has ${size} now`
    this.#findings.add({ code: 'log.shorter', chain, index: size, message })
    return true
  }

  async #skeleton(
    chain: ChainName,
    target: NodeHead,
    holders: readonly NodeHead['node'][],
  ): Promise<Skeleton | undefined> {
    const { size, root } = target.checkpoint
    for (const node of holders) {
      const skeleton = await Skeleton.read(this.#nodes, node, { chain, size, root })
      if (skeleton !== undefined) return skeleton
    }
    return undefined
  }

  async #replay(source: EntrySource): Promise<boolean> {
    const { chain, size } = source
    const { onProgress } = this.#request
    const blocks = new BlockReplay(this.#ledger, chain, (block) => {
      this.#transactions += block.seal.k
      this.#rules.block(block)
      for (const [position, transaction] of block.transactions.entries()) {
        this.#samples?.note(chain, { index: block.firstIndex + position, height: block.seal.h }, transaction)
      }
    })
    const executedSize = this.#ledger.head(chain).size
    const order = { workers: this.#request.workers ?? sameThread, ledger: this.#ledger, chain }
    const prepare: PrepareBundle = (bytes, { index, width }) =>
      prepareBundle({ ...order, isVerified: (index + 1) * tileWidth > executedSize }, bytes, width)
    let isRunning = true
    for await (const { leaves, firstIndex } of readEntries(source, prepare)) {
      if (leaves === undefined) isRunning = false
      if (!isRunning || leaves === undefined) continue
      isRunning = this.#push(blocks, leaves)
      onProgress?.({ chain, done: firstIndex + leaves.length, total: size, transactions: this.#transactions })
    }
    if (!isRunning) {
      this.#notChecked.push(`${chain} was replayed up to height ${this.#ledger.head(chain).height} only`)
      return false
    }
    if (blocks.openLeaves === 0) return true
    const message = `${chain} does not end with a SEAL`
    this.#findings.add({ code: 'block.seal.missing', chain, index: size - 1, message })
    return false
  }

  #push(blocks: BlockReplay, leaves: readonly PreparedLeaf[]): boolean {
    try {
      for (const leaf of leaves) blocks.push(leaf)
      return true
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      const { detail } = error
      const { chain } = blocks
      if (detail.code === 'ERR_BLOCK_INVALID') {
        const { height, index, rule } = detail
        this.#findings.add({ code: `block.${ruleText(rule)}`, chain, height, index, message: error.message })
      } else {
        const height = this.#ledger.head(chain).height + 1
        const code = detail.code === 'ERR_ANCHOR_UNKNOWN' ? 'block.anchor-unknown' : 'block.unreadable'
        this.#findings.add({ code, chain, height, message: error.message })
      }
      return false
    }
  }

  /** Every head that a node served must be a head of the replayed log. */
  #checkHeads(chain: ChainName, heads: readonly NodeHead[]): void {
    const index = this.#ledger.index(chain)
    for (const { node, checkpoint } of heads) {
      if (checkpoint.size > this.#ledger.head(chain).size) continue
      const boundary = index.boundary(checkpoint.size)
      if (boundary !== undefined && equalBytes(boundary.root, checkpoint.root)) continue
      const message = `${node.name} serves a cosigned head of ${chain} at ${checkpoint.size} entries that is not of this log`
      this.#findings.add({ code: 'checkpoint.fork', chain, index: checkpoint.size - 1, node: node.name, message })
    }
  }

  /** Nodes that published less than the audited size are asked again for a while; who stays behind is a finding. */
  async #catchUp(chain: ChainName, heads: readonly NodeHead[]): Promise<void> {
    const size = Math.max(0, ...heads.map(({ checkpoint }) => checkpoint.size))
    for (const { node, checkpoint } of heads) {
      let seen: NodeHead | undefined = { node, checkpoint }
      for (let attempt = 0; attempt < behindAttempts && seen !== undefined && seen.checkpoint.size < size; attempt++) {
        await this.#request.wait(behindPauseMs)
        seen = await this.#nodes.head(this.#genesis, chain, node, this.#request.now())
      }
      if (seen === undefined) continue
      this.#checkHeads(chain, [seen])
      if (seen.checkpoint.size >= size) continue
      const message = `${node.name} publishes ${seen.checkpoint.size} of ${size} entries of ${chain}`
      this.#findings.add({ code: 'node.behind', chain, index: seen.checkpoint.size, node: node.name, message })
    }
  }

  async #compareState(): Promise<void> {
    const { stores, isStateCompared } = this.#request
    if (isStateCompared !== true) {
      this.#notChecked.push('records of the state that nodes prove were not compared with the replayed state')
      return
    }
    for (const chain of ['userchain', 'docchain'] as const) {
      const { size, root } = this.#ledger.head(chain)
      const state = { chain, size, store: stores[chain], salt: root }
      this.#notChecked.push(await compareState(this.#nodes, state, this.#findings))
    }
  }

  #report(milliseconds: number): AuditReport {
    const findings = this.#findings.list((chain, index) => this.#ledger.index(chain).boundaryAfter(index)?.height)
    const chains = { userchain: this.#chainReport('userchain'), docchain: this.#chainReport('docchain') }
    const { q, nodes } = this.#genesis.body
    const asked = this.#request.nodes.length
    const notChecked = [
      ...this.#notChecked,
      ...(asked < nodes.length
        ? [`${nodes.length - asked} of ${nodes.length} nodes were not named and not asked`]
        : []),
      `cosignatures of earlier heads: only the newest, by ${q} of ${nodes.length} nodes, is kept; no witness outside the ledger was asked`,
      `the trust root is genesis ${toHex(this.#genesis.ledgerId)}; these rules know no change of policy`,
      'the clocks of SEALs: only their order and the lag of anchors',
      ...this.#findings.leftOut,
    ]
    const seconds = Math.round(milliseconds) / 1000
    return { ok: findings.length === 0, chains, transactions: this.#transactions, seconds, notChecked, findings }
  }

  #chainReport(chain: ChainName): ChainReport {
    const { height, size, root, stateRoot } = this.#ledger.head(chain)
    return { height, size, root: toHex(root), stateRoot: toHex(stateRoot) }
  }
}

/** Leaves in, whole blocks out: executed by `Replay` unless the stores hold them, and taken apart for the auditor's rules. */
class BlockReplay {
  readonly chain: ChainName
  readonly #replay: Replay
  readonly #onBlock: (block: AuditedBlock) => void
  #leaves: PreparedLeaf[] = []
  #firstIndex = 0

  constructor(ledger: Ledger, chain: ChainName, onBlock: (block: AuditedBlock) => void) {
    this.chain = chain
    this.#replay = new Replay(ledger, chain, 0)
    this.#onBlock = onBlock
  }

  get openLeaves(): number {
    return this.#leaves.length
  }

  push(prepared: PreparedLeaf): void {
    const { leaf } = prepared
    this.#leaves.push(prepared)
    const executed = this.#replay.push(leaf, prepared)
    if (leafKind(leaf) !== 'seal') return
    const seal = executed?.seal ?? parseSealLeaf(leaf)
    const transactions = this.#leaves
      .slice(0, -1)
      .map((one) => one.prepared?.transaction ?? parseTransactionLeaf(one.leaf))
    this.#onBlock({ chain: this.chain, firstIndex: this.#firstIndex, seal, transactions })
    this.#firstIndex += this.#leaves.length
    this.#leaves = []
  }
}
