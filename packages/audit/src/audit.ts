/**
 * The audit (SPEC.md): replays both ledgers from genesis, with nothing believed but the genesis file and the quorum that it
 * names, and compares what every node serves. Memory is bounded by open grants, streams and one hash for 256 entries; the
 * state lives in the caller's stores. Blocks that the stores hold are not executed again, but every entry is compared again.
 */
import { Ledger, type LedgerStores } from '@healthblock/chain/block'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { type Genesis, parseGenesis } from '@healthblock/chain/genesis'
import type { PreparationWorkers } from '@healthblock/chain/preparation'
import type { Disclosure } from '@healthblock/crypto/disclosure'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import { ChainAudit } from './chain-audit.ts'
import { DisclosedRecords } from './disclosed-records.ts'
import type { BlockSource } from './disclosure-check.ts'
import { erasedMs, type RecordName } from './erasures.ts'
import { checkTrail, EvidenceCheck, policiesOf } from './governance.ts'
import { collectIncidents } from './incidents.ts'
import { type AuditNodes, type NodeHead, Nodes } from './nodes.ts'
import type { AuditProgress } from './progress.ts'
import { PromiseCheck, publishedMsMax } from './promises.ts'
import { ReadCheck } from './reads.ts'
import {
  type AuditReport,
  type ChainReport,
  type Finding,
  FindingList,
  type FindingParts,
  toFinding,
} from './report.ts'
import { type AuditedBlock, AuditRules } from './rules.ts'
import { Samples, type StorageProbe, type StoredSample } from './samples.ts'
import { SignedHeads } from './signed-heads.ts'
import { compareState } from './state-sample.ts'
import { checkSuccessions, type PriorNodes } from './successions.ts'
import { type AuditWitness, WitnessCheck } from './witnesses.ts'

export type { AuditNode } from './nodes.ts'
export type { AuditProgress } from './progress.ts'
export type { StorageProbe, StoredSample } from './samples.ts'
export type { PriorNodes } from './successions.ts'
export type { AuditWitness } from './witnesses.ts'

/** What an audit needs. */
export interface AuditRequest {
  /** The genesis file. */
  readonly genesis: Uint8Array
  readonly nodes: AuditNodes
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
  /** Promises and refusals of gateways that clients kept, each CBOR `[statement, signature]`; a function is asked before each look. */
  readonly promises?: readonly Uint8Array[] | (() => Promise<readonly Uint8Array[]>)
  /** What storage nodes signed for a patient of who fetched her blocks: pages, each as `encodeFetchEvidence` writes it. */
  readonly fetches?: readonly Uint8Array[]
  /** Of a successor: nodes of the ledger that it carries on. */
  readonly prior?: PriorNodes
  /** Witnesses that the auditor knows: each is asked whether it holds the audited log. A function is asked each time before. */
  readonly witnesses?: readonly AuditWitness[] | (() => Promise<readonly AuditWitness[]>)
  /** What a patient disclosed, and who gives sealed blocks: her diagnoses of the window are judged again. */
  readonly disclosed?: { readonly disclosure: Disclosure; readonly blocks: BlockSource }
  /** Told at the beginning of what an earlier audit executed, if the stores hold some: that is not executed again. */
  readonly onResume?: (executed: ExecutedBefore) => void
  /** Told of every block of Userchain, then of Docchain, once it is compared and executed. */
  readonly onBlock?: (block: AuditedBlock) => void
  /** Told of each finding when it is new, and its height known. */
  readonly onFinding?: (finding: Finding) => void
  /** True: records of the replayed state are compared with what every node proves. */
  readonly isStateCompared?: boolean
  readonly onProgress?: (progress: AuditProgress) => void
}

/** What the stores of an earlier audit hold of a chain. */
export interface ExecutedBefore {
  readonly chain: ChainName
  readonly height: number
  /** Entries, from the first one on. */
  readonly size: number
}

/** Pause between two looks of an audit that goes on. */
const lookPauseMs = 2_000
/** How often, and after which pause, nodes are asked again whether Docchain goes on: they may have started a moment ago. */
const anchorAttempts = 20
const anchorPauseMs = 1_000

/**
 * Audits both ledgers.
 *
 * @throws {ChainError} `ERR_GENESIS_INVALID`; `ERR_STATE_CORRUPT` for stores of another ledger. Whatever nodes do is a finding.
 */
export async function audit(request: AuditRequest): Promise<AuditReport> {
  return new Audit(request).look()
}

/**
 * Audits both ledgers, then goes on: compares and executes what is added, and looks at every node again, for ever. What a node does wrong
 * for a while is a finding each time that it begins.
 *
 * @param follow - `onLook`: told of each report; `signal` ends it after the look under way.
 * @throws as `audit`.
 */
export async function followAudit(
  request: AuditRequest,
  follow: { signal: AbortSignal; onLook?: (report: AuditReport) => void },
): Promise<AuditReport> {
  const audit = new Audit(request)
  let report = await audit.look()
  follow.onLook?.(report)
  while (!follow.signal.aborted) {
    await request.wait(lookPauseMs)
    if (follow.signal.aborted) break
    report = await audit.look()
    follow.onLook?.(report)
  }
  return report
}

class Audit {
  readonly #request: AuditRequest
  readonly #genesis: Genesis
  readonly #ledger: Ledger
  readonly #findings: FindingList
  readonly #nodes: Nodes
  readonly #rules: AuditRules
  readonly #signedHeads: SignedHeads
  readonly #witnesses: WitnessCheck
  readonly #evidence: EvidenceCheck
  readonly #chains: { readonly [C in ChainName]: ChainAudit }
  readonly #executedBefore: ExecutedBefore[] = []
  /** Of this look. */
  #notChecked: string[] = []
  #samples: Samples | undefined
  /** Blocks that the last look with a head missed. */
  #missing: readonly StoredSample[] = []
  /** New findings: told once their height is known, or when the look ends. */
  #untold: FindingParts[] = []
  #transactions = 0
  /** What is to be said of the checks that are made once: true of every look. */
  #onceWords: readonly string[] | undefined
  #readWords: string | undefined
  /** True once a look replayed both chains whole. */
  #isWhole = false
  readonly #disclosed: DisclosedRecords | undefined
  /** What the one check of a disclosure found. */
  #ofDisclosure: FindingParts[] = []
  readonly #reads: ReadCheck
  readonly #promises = new PromiseCheck()
  /** Size after the Userchain block of the last finding `rule.anchor-due`. */
  #overdueSize = 0

  constructor(request: AuditRequest) {
    this.#request = request
    this.#genesis = parseGenesis(request.genesis)
    this.#ledger = Ledger.open({ genesis: request.genesis, stores: request.stores })
    this.#findings = new FindingList((parts) => this.#untold.push(parts))
    for (const chain of chainNames) {
      const { height, size } = this.#ledger.head(chain)
      if (height === 0) continue
      this.#executedBefore.push({ chain, height, size })
      request.onResume?.({ chain, height, size })
    }
    this.#nodes = new Nodes(request.nodes, request.client, this.#findings)
    this.#rules = new AuditRules(this.#ledger, this.#findings)
    this.#signedHeads = new SignedHeads(this.#nodes, this.#findings)
    this.#evidence = new EvidenceCheck(this.#ledger, this.#nodes, this.#findings)
    const { witnesses = [], now, wait } = request
    const context = { ledger: this.#ledger, nodes: this.#nodes, findings: this.#findings }
    const witnessesNow = typeof witnesses === 'function' ? witnesses : async () => witnesses
    this.#witnesses = new WitnessCheck({ witnesses: witnessesNow, now, wait, ...context })
    this.#nodes.onNote = (served) => {
      this.#signedHeads.take(served)
      this.#witnesses.take(served)
    }
    const patient = request.disclosed?.disclosure.patient
    this.#disclosed = patient === undefined ? undefined : new DisclosedRecords(this.#genesis.ledgerId, patient)
    this.#reads = new ReadCheck(this.#ledger, request.fetches ?? [])
    this.#chains = { userchain: this.#chainAudit('userchain'), docchain: this.#chainAudit('docchain') }
  }

  readonly #heightOf = (chain: ChainName, index: number): number | undefined =>
    this.#ledger.index(chain).boundaryAfter(index)?.height

  #chainAudit(chain: ChainName): ChainAudit {
    const { workers, wait, now, onProgress } = this.#request
    const context = { ledger: this.#ledger, nodes: this.#nodes, findings: this.#findings }
    return new ChainAudit(chain, {
      ...context,
      workers,
      wait,
      now,
      onProgress,
      notChecked: (words) => this.#notChecked.push(words),
      onBlock: (block) => this.#onBlock(block),
    })
  }

  #tell(isLookOver: boolean): void {
    const { onFinding } = this.#request
    const findings = this.#untold.map((parts) => ({ parts, finding: toFinding(parts, this.#heightOf) }))
    const isReady = ({ index, height }: Finding): boolean => isLookOver || index === null || height !== null
    this.#untold = findings.filter(({ finding }) => !isReady(finding)).map(({ parts }) => parts)
    for (const { finding } of findings) if (isReady(finding)) onFinding?.(finding)
  }

  #onBlock(block: AuditedBlock): void {
    this.#transactions += block.seal.k
    this.#rules.block(block)
    this.#evidence.block(block)
    for (const [position, transaction] of block.transactions.entries()) {
      this.#samples?.note(block.chain, { index: block.firstIndex + position, height: block.seal.h }, transaction)
    }
    this.#disclosed?.block(block)
    this.#reads.block(block)
    this.#request.onBlock?.(block)
    if (this.#untold.length > 0) this.#tell(false)
  }

  /** One look at everything: all entries the first time, then what was added. */
  async look(): Promise<AuditReport> {
    const { now, flush } = this.#request
    const begunMs = now()
    this.#notChecked = []
    this.#samples = undefined
    this.#nodes.begin()
    const { userchain, docchain } = this.#chains
    const statements = await this.#statements()
    // Docchain first: whatever it is anchored at was published on Userchain before.
    const heads = { docchain: await this.#heads('docchain'), userchain: await this.#heads('userchain') }
    const salt = [...heads.userchain, ...heads.docchain][0]?.checkpoint.root
    this.#samples = salt === undefined ? undefined : new Samples(salt, this.#missing)
    const isUserchainWhole = await userchain.look(heads.userchain)
    flush?.('userchain')
    // What was due by then stands in a block that the heads cover, or in none.
    if (isUserchainWhole) this.#rules.finish(begunMs - publishedMsMax)
    const isWhole = isUserchainWhole && (await docchain.look(heads.docchain))
    if (!isUserchainWhole) this.#notChecked.push('docchain was not replayed, because the replay of userchain stopped')
    flush?.('docchain')
    await userchain.waitForOthers(heads.userchain)
    await docchain.waitForOthers(heads.docchain)
    this.#signedHeads.judge(this.#ledger)
    this.#notChecked.push(...(await this.#witnesses.check(heads)))
    if (this.#onceWords === undefined || (isWhole && !this.#isWhole)) this.#onceWords = await this.#once()
    this.#isWhole ||= isWhole
    this.#notChecked.push(...this.#onceWords)
    for (const parts of this.#ofDisclosure) this.#findings.add(parts)
    if (isWhole) await this.#checkAnchorDue(begunMs - publishedMsMax)
    if (isWhole) await this.#checkConduct(statements, begunMs)
    else this.#notChecked.push('reads and promises of gateways, because the ledger was not replayed whole')
    await collectIncidents(this.#nodes, this.#ledger, this.#findings)
    checkTrail(this.#ledger, this.#request.client.trail, this.#findings)
    this.#evidence.list(this.#notChecked)
    await this.#checkSuccessions()
    await this.#checkSamples()
    this.#tell(true)
    this.#findings.endLook()
    return this.#report(now() - begunMs)
  }

  /** A revocation that Docchain takes no note of. Beyond an old anchor no block may be sealed, so any newer one has taken note. */
  async #checkAnchorDue(nowMs: number): Promise<void> {
    const overdue = this.#rules.overdueAnchor(nowMs)
    if (overdue === undefined) return
    const { size } = this.#ledger.head('docchain')
    for (let attempt = 0; attempt < anchorAttempts && overdue.size !== this.#overdueSize; attempt++) {
      await this.#request.wait(anchorPauseMs)
      const heads = await this.#heads('docchain')
      if (heads.some(({ checkpoint }) => checkpoint.size > size)) {
        this.#notChecked.push('docchain after a revocation that is long past: it went on while this was looked at')
        return
      }
    }
    this.#overdueSize = overdue.size
    const seconds = Math.floor((nowMs - overdue.ms) / 1000)
    const message = `block ${overdue.height} of userchain ends an access or changes who may do what, and docchain has taken no note of it for ${seconds} s`
    const place = { chain: 'userchain', height: overdue.height, index: overdue.size - 1 } as const
    this.#findings.add({ code: 'rule.anchor-due', ...place, message })
  }

  async #checkSuccessions(): Promise<void> {
    const context = { ledger: this.#ledger, nodes: this.#nodes, findings: this.#findings, prior: this.#request.prior }
    this.#notChecked.push(...(await checkSuccessions(context)))
  }

  async #checkSamples(): Promise<void> {
    const { storage, now } = this.#request
    const context = { findings: this.#findings, nowMs: now(), erasedMs: this.#erasedMs }
    if (this.#samples === undefined) return
    this.#notChecked.push(await this.#samples.check(storage, context))
    this.#missing = this.#samples.missing
  }

  readonly #erasedMs = (record: RecordName): number | undefined => erasedMs(this.#ledger, record)

  /** What is looked at once, or twice if the ledger was not replayed whole at first. Returns what is to be said of it. */
  async #once(): Promise<readonly string[]> {
    return [...(await this.#compareState()), ...(await this.#checkDisclosure())]
  }

  async #statements(): Promise<readonly Uint8Array[]> {
    const { promises = [] } = this.#request
    return typeof promises === 'function' ? promises() : promises
  }

  /** What a ledger that was not replayed whole would make of these is not what they are. */
  async #checkConduct(statements: readonly Uint8Array[], nowMs: number): Promise<void> {
    const context = { ledger: this.#ledger, nodes: this.#nodes, findings: this.#findings, nowMs }
    this.#notChecked.push(...(await this.#promises.check(statements, { ...context, nodeKeysOf: this.#nodeKeysOf() })))
    this.#readWords ??= this.#reads.check(this.#findings)
    this.#notChecked.push(this.#readWords)
  }

  async #checkDisclosure(): Promise<readonly string[]> {
    const { disclosed } = this.#request
    if (disclosed === undefined || this.#disclosed === undefined) return []
    // It brings the whole of diagnosis along, which few audits need.
    const { checkDisclosure } = await import('./disclosure-check.ts')
    const found: FindingParts[] = []
    const { same, notChecked } = await checkDisclosure({
      ...disclosed,
      records: this.#disclosed,
      isErased: (record) => this.#erasedMs(record) !== undefined,
      add: (finding) => found.push(finding),
    })
    this.#ofDisclosure = found
    return [
      ...notChecked,
      `diagnoses beyond the disclosed window; within it ${same} have the same bytes when judged again`,
    ]
  }

  /** A key that was replaced signed what it signed. */
  #nodeKeysOf(): (account: Uint8Array) => readonly Uint8Array[] {
    const policies = policiesOf(this.#ledger).toReversed()
    return (account) => {
      const keys = policies.flatMap(({ nodes }) =>
        nodes.filter((one) => equalBytes(one[1], account)).map(([, , key]) => key),
      )
      return keys.filter((key, i) => keys.findIndex((other) => equalBytes(other, key)) === i)
    }
  }

  async #heads(chain: ChainName): Promise<NodeHead[]> {
    return this.#nodes.heads(chain, this.#request.now())
  }

  async #compareState(): Promise<readonly string[]> {
    const { stores, isStateCompared } = this.#request
    if (isStateCompared !== true)
      return ['records of the state that nodes prove were not compared with the replayed state']
    const words: string[] = []
    for (const chain of ['userchain', 'docchain'] as const) {
      const { size, root } = this.#ledger.head(chain)
      const state = { chain, size, store: stores[chain], salt: root }
      words.push(...(await compareState(this.#nodes, state, this.#findings)))
    }
    return words
  }

  #report(milliseconds: number): AuditReport {
    const findings = this.#findings.list(this.#heightOf)
    const chains = { userchain: this.#chainReport('userchain'), docchain: this.#chainReport('docchain') }
    const { k, policy } = this.#ledger.policyOf('userchain', this.#ledger.head('userchain').height + 1)
    const { q, nodes } = policy
    const asked = this.#nodes.count
    const notChecked = [
      ...this.#notChecked,
      ...this.#executedBefore.map(
        ({ chain, height, size }) =>
          `the signatures and rules of the first ${size} entries of ${chain}, up to height ${height}: an earlier audit executed them, and its word is taken; the entries were compared again`,
      ),
      ...(asked < nodes.length
        ? [`${nodes.length - asked} of ${nodes.length} nodes were not named and not asked`]
        : []),
      `cosignatures of earlier heads: only those at changes of the policy and the newest, by ${q} of ${nodes.length} nodes, are kept`,
      `whether genesis ${toHex(this.#genesis.ledgerId)} is the right one, on which all of this rests; ${k} changes of the policy since, each proved by the quorum before it`,
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
