/** The audit of one chain: every look compares and executes what was added since the last one. */
import type { Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import { type PreparationWorkers, type PreparedLeaf, prepareBundle, sameThread } from '@healthblock/chain/preparation'
import { Replay } from '@healthblock/chain/replay'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { ruleText } from '@healthblock/chain/statement'
import { tileWidth } from '@healthblock/chain/tile'
import { leafKind, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import { bundlesForEveryTile, compareUpperTiles, type EntrySource, type PrepareBundle, readEntries } from './entries.ts'
import { Foresight } from './foresight.ts'
import { type LiveNode, type NodeHead, type Nodes, newestHead } from './nodes.ts'
import type { AuditProgress } from './progress.ts'
import type { FindingList, FindingParts } from './report.ts'
import type { AuditedBlock } from './rules.ts'
import { Skeleton } from './skeleton.ts'

/** What both chains' audits share. */
export interface ChainAuditContext {
  readonly ledger: Ledger
  readonly nodes: Nodes
  readonly findings: FindingList
  readonly workers: PreparationWorkers | undefined
  readonly now: () => number
  readonly wait: (ms: number) => Promise<void>
  readonly onProgress: ((progress: AuditProgress) => void) | undefined
  readonly onBlock: (block: AuditedBlock) => void
  /** Takes a sentence about what was not checked. */
  readonly notChecked: (words: string) => void
}

/** After which pause a node that did not serve everything is compared again; and one that was away again, from the first entry on. */
const unreadPauseMs = 60_000
const wholePauseMs = 600_000
/** How often, and after which pause, a node that is behind is asked again. */
const behindAttempts = 20
const behindPauseMs = 250

/** Up to where a node's entries and tiles were compared without a gap; `open`: what it did not serve of the rest, to be asked for again. */
interface Compared {
  readonly size: number
  readonly open: readonly FindingParts[]
  /** When they were asked for. */
  readonly openMs: number
}

/** One chain under audit. */
export class ChainAudit {
  readonly #chain: ChainName
  readonly #context: ChainAuditContext
  /** Entries that were compared, up to a SEAL: the next look begins there. */
  #comparedSize = 0
  /** By name. Who was away for a look is compared whole when it is back: its files may be others then. */
  readonly #compared = new Map<string, Compared>()
  /** When a node was last compared from the first entry on, by name. */
  readonly #wholeMs = new Map<string, number>()
  /** What nodes did not serve of what is being compared, by name. */
  readonly #unread = new Map<string, FindingParts[]>()
  /** A block that breaks a rule ends the replay for good: what follows it means nothing. */
  #isStopped = false
  #transactions = 0

  constructor(chain: ChainName, context: ChainAuditContext) {
    this.#chain = chain
    this.#context = context
  }

  /** Compares and replays the chain up to its newest head. False if it could not be replayed whole. */
  async look(heads: readonly NodeHead[]): Promise<boolean> {
    const { findings, ledger, notChecked } = this.#context
    const chain = this.#chain
    const target = newestHead(heads, chain, findings)
    if (target === undefined) {
      findings.add({ code: 'log.unavailable', chain, message: `no node serves a checkpoint of ${chain} that holds` })
      return false
    }
    const { size, root } = target.checkpoint
    if (this.#isShorter(size)) return false
    for (const name of this.#compared.keys())
      if (!heads.some(({ node }) => node.name === name)) this.#compared.delete(name)
    const holders = heads.filter((head) => head.checkpoint.size >= size).map(({ node }) => node)
    if (size === this.#comparedSize) {
      this.#checkHeads(heads)
      await this.#compareRest(target, holders)
      return true
    }
    const skeleton = await this.#skeleton(target, holders)
    // A look that ended within what the stores hold begins again, so that its Merkle root is compared whole.
    const from = this.#comparedSize === ledger.head(chain).size ? this.#comparedSize : 0
    const source = this.#source({ from, size, skeleton, holders, tellers: holders })
    if (skeleton === undefined) {
      const message = `no node serves hash tiles of ${chain} that give the cosigned root`
      findings.add({ code: 'tile.root', chain, index: size - 1, message })
    }
    await compareUpperTiles(source)
    const isWhole = await this.#replay(source)
    this.#settle(source)
    this.#checkHeads(heads)
    if (isWhole) await this.#compareRest(target, holders)
    if (isWhole && !equalBytes(ledger.head(chain).root, root)) {
      const message = `the entries of ${chain} do not give the root that a quorum cosigned`
      findings.add({ code: 'log.root', chain, index: size - 1, message })
      return false
    }
    if (holders.length < heads.length) {
      const names = heads.filter((head) => head.checkpoint.size < size).map(({ node }) => node.name)
      notChecked(`entries of ${chain} at ${names.join(', ')}, which published fewer when the audit began`)
    }
    if (Math.ceil(size / tileWidth) > bundlesForEveryTile) {
      notChecked(`hash tiles of level 0 of ${chain}: each was compared at one node, all others at every node`)
    }
    return isWhole
  }

  #source(parts: Pick<EntrySource, 'from' | 'size' | 'skeleton' | 'holders' | 'tellers'>): EntrySource {
    const { nodes, findings } = this.#context
    this.#unread.clear()
    const onUnread = ({ name }: LiveNode, finding?: FindingParts): void => {
      const unread = this.#unread.get(name) ?? []
      if (finding !== undefined) unread.push(finding)
      this.#unread.set(name, unread)
    }
    return { chain: this.#chain, nodes, findings, onUnread, ...parts }
  }

  /** Writes down what was compared of the holders. */
  #settle({ holders, from, size }: EntrySource): void {
    const now = this.#context.now()
    for (const { name, isGone } of holders) {
      if (from === 0) this.#wholeMs.set(name, now)
      const before = this.#compared.get(name)
      const open = this.#unread.get(name)
      if (isGone) this.#compared.delete(name)
      else if ((before?.size ?? 0) < from) continue
      else if (open === undefined) this.#compared.set(name, { size, open: [], openMs: Number.NEGATIVE_INFINITY })
      else this.#compared.set(name, { size: from, open, openMs: now })
    }
  }

  /** Compares what other looks could not compare of a node: one that came back, or joined, or did not serve everything. */
  async #compareRest(target: NodeHead, holders: readonly LiveNode[]): Promise<void> {
    const { findings, now, ledger, notChecked, workers = sameThread } = this.#context
    const { size } = target.checkpoint
    let skeleton: Skeleton | undefined
    for (const node of holders) {
      const { size: from = 0, open = [], openMs = Number.NEGATIVE_INFINITY } = this.#compared.get(node.name) ?? {}
      if (node.isGone || from >= size) continue
      if (Math.abs(now() - openMs) < unreadPauseMs) {
        for (const finding of open) findings.add(finding)
        continue
      }
      if (from === 0 && Math.abs(now() - (this.#wholeMs.get(node.name) ?? Number.NEGATIVE_INFINITY)) < wholePauseMs) {
        notChecked(`entries of ${this.#chain} at ${node.name}, which was away: they are compared within 10 min`)
        continue
      }
      skeleton ??= await this.#skeleton(target, holders)
      const source = this.#source({ from, size, skeleton, holders: [node], tellers: holders })
      const hashed = { workers, ledger: new Foresight(ledger), chain: this.#chain, isVerified: false }
      await compareUpperTiles(source)
      const bundles = readEntries(source, (bytes, { width }) => prepareBundle(hashed, bytes, width))
      for await (const _ of bundles) if (node.isGone) break
      this.#settle(source)
    }
  }

  /** True, and a finding, if an earlier audit had seen more entries than any node publishes now. */
  #isShorter(size: number): boolean {
    const chain = this.#chain
    const seen = this.#context.ledger.head(chain).size
    if (seen <= size) return false
    const message = `${chain} had ${seen} entries at an earlier audit, and has ${size} now`
    this.#context.findings.add({ code: 'log.shorter', chain, index: size, message })
    return true
  }

  async #skeleton(target: NodeHead, holders: readonly LiveNode[]): Promise<Skeleton | undefined> {
    const { size, root } = target.checkpoint
    for (const node of holders) {
      const skeleton = await Skeleton.read(this.#context.nodes, node, { chain: this.#chain, size, root })
      if (skeleton !== undefined) return skeleton
    }
    return undefined
  }

  async #replay(source: EntrySource): Promise<boolean> {
    const { chain, size, from } = source
    const { ledger, onProgress, onBlock, workers = sameThread, notChecked, findings } = this.#context
    const blocks = new BlockReplay(ledger, chain, from, (block) => {
      if (block.firstIndex < this.#comparedSize) return
      this.#transactions += block.seal.k
      this.#comparedSize = block.firstIndex + block.seal.k + 1
      onBlock(block)
    })
    const executedSize = ledger.head(chain).size
    const foresight = new Foresight(ledger)
    const prepare: PrepareBundle = (bytes, { index, width }) => {
      const isVerified = index * tileWidth + width > executedSize
      return prepareBundle({ workers, ledger: foresight, chain, isVerified }, bytes, width)
    }
    let isRunning = !this.#isStopped
    for await (const { leaves, firstIndex } of readEntries(source, prepare)) {
      if (leaves === undefined) isRunning = false
      if (!isRunning || leaves === undefined) continue
      isRunning = this.#push(blocks, leaves.slice(Math.max(0, from - firstIndex)))
      onProgress?.({ chain, done: firstIndex + leaves.length, total: size, transactions: this.#transactions })
    }
    if (!isRunning) {
      notChecked(`${chain} was replayed up to height ${ledger.head(chain).height} only`)
      return false
    }
    if (blocks.openLeaves === 0) return true
    findings.add({ code: 'block.seal.missing', chain, index: size - 1, message: `${chain} does not end with a SEAL` })
    return false
  }

  #push(blocks: BlockReplay, leaves: readonly PreparedLeaf[]): boolean {
    const { findings, ledger } = this.#context
    const chain = this.#chain
    try {
      for (const leaf of leaves) blocks.push(leaf)
      return true
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      const { detail } = error
      if (detail.code === 'ERR_BLOCK_INVALID') {
        const { height, index, rule } = detail
        findings.add({ code: `block.${ruleText(rule)}`, chain, height, index, message: error.message })
      } else {
        const height = ledger.head(chain).height + 1
        const code = detail.code === 'ERR_ANCHOR_UNKNOWN' ? 'block.anchor-unknown' : 'block.unreadable'
        findings.add({ code, chain, height, message: error.message })
      }
      this.#isStopped = true
      return false
    }
  }

  /** Every head that a node served must be a head of the replayed log. */
  #checkHeads(heads: readonly NodeHead[]): void {
    const { findings, ledger } = this.#context
    const chain = this.#chain
    const index = ledger.index(chain)
    for (const { node, checkpoint } of heads) {
      if (checkpoint.size > ledger.head(chain).size) continue
      const boundary = index.boundary(checkpoint.size)
      if (boundary !== undefined && equalBytes(boundary.root, checkpoint.root)) continue
      const message = `${node.name} serves a cosigned head of ${chain} at ${checkpoint.size} entries that is not of this log`
      findings.add({ code: 'checkpoint.fork', chain, index: checkpoint.size - 1, node: node.name, message })
    }
  }

  /** Nodes that published less than the audited size are asked again for a while; who stays behind is a finding. */
  async waitForOthers(heads: readonly NodeHead[]): Promise<void> {
    const { nodes, findings, wait, now } = this.#context
    const chain = this.#chain
    const size = Math.max(0, ...heads.map(({ checkpoint }) => checkpoint.size))
    for (const head of heads) {
      const { node } = head
      let seen: NodeHead | undefined = head
      for (let attempt = 0; attempt < behindAttempts && seen !== undefined && seen.checkpoint.size < size; attempt++) {
        await wait(behindPauseMs)
        seen = await nodes.head(chain, node, now())
      }
      if (seen === undefined) continue
      this.#checkHeads([seen])
      if (seen.checkpoint.size >= size) continue
      const message = `${node.name} publishes ${seen.checkpoint.size} of ${size} entries of ${chain}`
      findings.add({ code: 'node.behind', chain, index: seen.checkpoint.size, node: node.name, message })
    }
  }
}

/** Leaves in, whole blocks out: executed by `Replay` unless the stores hold them, and taken apart for the auditor's rules. */
class BlockReplay {
  readonly #chain: ChainName
  readonly #replay: Replay
  readonly #onBlock: (block: AuditedBlock) => void
  #leaves: PreparedLeaf[] = []
  #firstIndex: number

  /** @param from - Index of the first leaf to come: 0, or the size of the ledger's head. */
  constructor(ledger: Ledger, chain: ChainName, from: number, onBlock: (block: AuditedBlock) => void) {
    this.#chain = chain
    this.#replay = new Replay(ledger, chain, from)
    this.#firstIndex = from
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
    this.#onBlock({ chain: this.#chain, firstIndex: this.#firstIndex, seal, transactions })
    this.#firstIndex += this.#leaves.length
    this.#leaves = []
  }
}
