/**
 * What must hold at every moment (the numbers are those of the design's proof). The first block that an honest node applies at a
 * height is the block of that height for good; everything that any honest node says or holds later is compared with it.
 *
 * I1 every receipt ever given verifies against the final log. I2 one index per transaction id. I3 all quorum-cosigned checkpoints
 * are consistent. I4 a node's cosigned sizes never decrease, one root per size. I5 indices contiguous, one order. I6 equal state root
 * everywhere at every height. I7 every checkpoint ends at a SEAL. I8 nothing is published below quorum. I9 entries never change.
 * Besides: R1 each SEAL names the version of the rules that is in force there. K1 what a node cosigns is signed with a key in force at that size. P1 nobody stages after a switch of the policy before its checkpoint is out. A1 a node acks one block per height and term. T1 it stages in no term older than one it promised. T2 it shows a new leader
 * what it staged. D1 what it says is on its disk when it says so, as SPEC.md §4 of the accounting node has it. S1 it stages no new block whose time or anchor its clock and what it knows
 * forbid. Cores halt only for what was injected, and meet no error that the code does not name.
 */

import { type ChainName, chains } from '@healthblock/chain/chains'
import {
  chainOrigin,
  type VerifiedCheckpoint,
  verifyCheckpoint,
  verifyCosignature,
} from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { type Genesis, parseGenesis } from '@healthblock/chain/genesis'
import { CompactRange, inclusionProof, leafHash, MemoryHashes } from '@healthblock/chain/merkle'
import { createReceipt, verifyReceipt } from '@healthblock/chain/receipt'
import { parseSealLeaf, type Seal } from '@healthblock/chain/seal'
import { verifyStateProof } from '@healthblock/chain/state-tree'
import { encodeStatement, statementMessage } from '@healthblock/chain/statement'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { AppliedBlock, ChainCore, PublishedHead } from '../../services/accounting-node/src/core/chain-core.ts'
import type { CoreEvent } from '../../services/accounting-node/src/core/ports.ts'
import {
  type Ack,
  type Fields,
  type HeadValue,
  parseBlock,
  parseHeadValue,
  parseMessage,
} from '../../services/accounting-node/src/core/wire.ts'
import { AccountingError } from '../../services/accounting-node/src/errors.ts'
import type { Fixture } from './fixture.ts'
import type { Moment, PeerCall } from './network.ts'
import type { Running } from './node.ts'
import { PolicyHistory } from './policies.ts'
import type { Life } from './scheduler.ts'
import { chainNames, Injected, type World } from './world.ts'

/** A broken promise: of which invariant, and how. */
export interface Violation {
  readonly invariant: string
  readonly what: string
}

interface CanonicalBlock {
  readonly height: number
  readonly size: number
  readonly root: Uint8Array
  readonly stateRoot: Uint8Array
}

/** What a node bound itself to, as others heard it: the newest term, and the block that it acked last. */
interface Word {
  term: number
  height: number
  stagedTerm: number
}

/** The one history of a chain. */
class History {
  readonly chain: ChainName
  readonly origin: string
  readonly blocks: CanonicalBlock[] = []
  readonly bySize = new Map<number, CanonicalBlock>()
  readonly leaves: Uint8Array[] = []
  readonly indices = new Map<string, number>()
  readonly range = new CompactRange()
  readonly hashes = new MemoryHashes()
  /** Roots that the register decided on q acks, by height. */
  readonly decided = new Map<number, string>()
  /** What each node acked, by rank, height and term. */
  readonly acked = new Map<string, string>()
  /** By rank. */
  readonly words: Word[]
  /** What each node cosigned: roots by size, and the largest size. */
  readonly cosigned: Map<number, string>[]
  readonly cosignedLargest: number[]

  constructor(genesis: Genesis, chain: ChainName, nodes: number) {
    this.chain = chain
    this.origin = chainOrigin({ ledgerId: genesis.ledgerId, chain })
    this.words = Array.from({ length: nodes }, () => ({ term: 0, height: 0, stagedTerm: 0 }))
    this.cosigned = Array.from({ length: nodes }, () => new Map<number, string>())
    this.cosignedLargest = Array.from({ length: nodes }, () => 0)
  }
}

/** What a peer's process knows of a node's cosignatures. */
interface Known {
  readonly peer: number
  readonly life: Life
  readonly size: number
}

/** What can be seen of a node from outside. */
export interface NodeView {
  /** What its clock shows. */
  unixMs(rank: number): number
  /** True if the bytes stand in a file of its disk. */
  isOnDisk(rank: number, chain: ChainName, file: string, bytes: Uint8Array): boolean
}

/** What an ack is about. */
type Subject = Pick<HeadValue, 'height' | 'size' | 'root'>

/** A receipt that somebody got. */
interface GivenReceipt {
  readonly chain: ChainName
  readonly bytes: Uint8Array
}

const utf8 = new TextDecoder()

/** The stagers' rules (S1), and what a message's way through a node may add. */
const clockDifferenceMsMax = 5_000
const anchorKnownMs = 2_000
const slackMs = 500
/** Receipts that a run makes: each costs as much as a few hundred events. */
const receiptsMax = 2

/** Watches one run. */
export class Invariants {
  readonly #world: World
  readonly #genesis: Genesis
  readonly #isHonest: (rank: number) => boolean
  readonly #node: NodeView
  readonly #histories: Readonly<Record<ChainName, History>>
  readonly #policies: PolicyHistory
  /** Switches whose checkpoints somebody published, by chain and size. */
  readonly #switchesOut = new Set<string>()
  /** Notes that verified, without the line of who published them, and the policies that their sizes were under. */
  readonly #notes = new Map<string, { policies: readonly unknown[]; verified: VerifiedCheckpoint }>()
  readonly #receipts: GivenReceipt[] = []
  readonly #heads = new Map<string, unknown>()
  readonly #lastCosignature = new Map<string, Uint8Array>()
  /** By rank: sizes of Userchain that its process published, and when. */
  readonly #publishedBefore = new Map<number, [size: number, atMs: number][]>()
  /** The process of each rank. */
  readonly #lives = new Map<number, Life>()
  /** By peer, rank and chain: the largest cosignature of the rank that the peer's process has seen. */
  readonly #knownOf = new Map<string, Known>()
  /** By rank and chain: what the peers knew when a process of a disk that went back started. */
  readonly #toldAtStart = new Map<string, Known[]>()
  /** Ranks whose disks went back: their sizes may decrease, but not below what their peers know. */
  readonly rolledBack = new Set<number>()
  /** The first one found. */
  violation: Violation | undefined

  constructor(world: World, fixture: Fixture, isHonest: (rank: number) => boolean, node: NodeView) {
    this.#world = world
    this.#node = node
    this.#genesis = parseGenesis(fixture.genesis)
    this.#isHonest = isHonest
    this.#policies = new PolicyHistory(this.#genesis)
    const count = fixture.nodes.length
    this.#histories = {
      userchain: new History(this.#genesis, 'userchain', count),
      docchain: new History(this.#genesis, 'docchain', count),
    }
  }

  fail(invariant: string, what: string): void {
    this.violation ??= { invariant, what }
    this.#world.trace.step('VIOLATION', -1, invariant, () => what)
  }

  /** Index of a transaction in the one history. */
  indexOf(chain: ChainName, key: string): number | undefined {
    return this.#histories[chain].indices.get(key)
  }

  /** Height of the newest block of the one history. */
  heightOf(chain: ChainName): number {
    return this.#histories[chain].blocks.length - 1
  }

  /** Leaves of the one history. */
  sizeOf(chain: ChainName): number {
    return this.#histories[chain].leaves.length
  }

  /** Watches a process from before it starts. */
  attach(rank: number, { life, cores }: Running): void {
    if (!this.#isHonest(rank)) return
    this.#publishedBefore.set(rank, [])
    this.#lives.set(rank, life)
    if (this.rolledBack.has(rank)) this.#startAnew(rank)
    for (const chain of chainNames) {
      const core = cores[chain]
      this.#open(rank, core)
      core.onApplied((block) => this.#applied(rank, core, block))
      core.onPublished((published) => this.#published(rank, chain, published))
    }
  }

  /** A process starts on a disk that went back: what it signed before counts as far as its peers can tell. */
  #startAnew(rank: number): void {
    for (const chain of chainNames) {
      this.#histories[chain].cosignedLargest[rank] = 0
      const peers = this.#histories[chain].words.map((_, peer) => this.#knownOf.get(`${peer}/${rank}/${chain}`))
      this.#toldAtStart.set(
        `${rank}/${chain}`,
        peers.filter(
          (known) => known !== undefined && !known.life.isDead && this.#lives.get(known.peer) === known.life,
        ) as Known[],
      )
    }
  }

  /** A process opens at what its stores and log hold. */
  #open(rank: number, core: ChainCore): void {
    const history = this.#histories[core.chain]
    if (history.blocks.length === 0) this.#grow(history, core.entries(0, 2), core)
    this.#compare(rank, core, 'opens at')
  }

  #applied(rank: number, core: ChainCore, block: AppliedBlock): void {
    const history = this.#histories[core.chain]
    if (block.height > history.blocks.length) {
      this.fail('I5', `rank ${rank} applied ${core.chain} block ${block.height} after ${history.blocks.length - 1}`)
    } else if (block.height === history.blocks.length) {
      this.#grow(history, block.leaves, core, block)
    }
    this.#world.trace.step(`applied ${core.chain} ${block.height}`, rank, core.head().root)
    this.#compare(rank, core, 'applied')
  }

  /** A new block of the history, read by this file's own eyes. */
  #grow(history: History, leaves: readonly Uint8Array[], core: ChainCore, block?: AppliedBlock): void {
    const { height } = core.head()
    const seal = parseSealLeaf(leaves[leaves.length - 1] as Uint8Array)
    if (seal.h !== history.blocks.length || seal.i0 !== history.leaves.length || seal.k !== leaves.length - 1) {
      this.fail('I5', `${history.chain}: a SEAL of block ${seal.h} at ${seal.i0} after block ${height - 1}`)
    }
    for (const { id, index } of block?.transactions ?? []) {
      const key = toHex(id)
      const before = history.indices.get(key)
      if (before !== undefined) this.fail('I2', `${history.chain}: ${key} at ${before} and at ${index}`)
      history.indices.set(key, index)
    }
    for (const leaf of leaves) {
      history.leaves.push(leaf.slice())
      history.range.append(leafHash(leaf), history.hashes.keep)
    }
    const firstIndex = history.range.size - leaves.length
    this.#checkRules(history.chain, seal)
    this.#policies.grow(history.chain, { leaves, firstIndex, size: history.range.size, seal })
    const { size, root } = history.range
    const grown = { height: history.blocks.length, size, root, stateRoot: seal.st }
    history.blocks.push(grown)
    history.bySize.set(grown.size, grown)
    const decided = history.decided.get(history.blocks.length - 1)
    if (decided !== undefined && decided !== toHex(grown.root)) {
      this.fail('I5', `${history.chain} block ${history.blocks.length - 1} is not the one that was decided`)
    }
  }

  /** A block names the version of the rules that was on record for it. */
  #checkRules(chain: ChainName, { h, i0, anchor, rules }: Seal): void {
    const anchored = anchor?.[0]?.[0] ?? 0
    const height = chain === 'userchain' ? h : (this.#histories.userchain.bySize.get(anchored)?.height ?? 0)
    const known = this.#policies.rules({ before: chain === 'userchain' ? i0 : anchored, height })
    if (rules !== known) this.fail('R1', `${chain} block ${h} is under version ${rules} of the rules, not ${known}`)
  }

  #compare(rank: number, core: ChainCore, what: string): void {
    const head = core.head()
    const known = this.#histories[core.chain].blocks[head.height]
    if (known === undefined || known.size !== head.size || !equalBytes(known.root, head.root)) {
      this.fail('I5', `rank ${rank} ${what} another ${core.chain} block ${head.height}`)
    } else if (!equalBytes(known.stateRoot, head.stateRoot)) {
      this.fail('I6', `rank ${rank} has another state after ${core.chain} block ${head.height}`)
    }
  }

  /** Called after each event of a process. */
  settled(rank: number, { cores }: Running): void {
    if (!this.#isHonest(rank)) return
    for (const chain of chainNames) {
      const core = cores[chain]
      const name = `${rank}/${chain}`
      const head = core.head()
      if (this.#heads.get(name) === head) continue
      this.#heads.set(name, head)
      this.#compare(rank, core, 'is at')
    }
  }

  #published(rank: number, chain: ChainName, published: PublishedHead): void {
    const history = this.#histories[chain]
    const { size, root, checkpoint } = published
    this.#world.trace.step(`published ${chain}`, rank, size)
    if (chain === 'userchain') this.#publishedBefore.get(rank)?.push([size, this.#world.scheduler.nowMs])
    const known = history.bySize.get(size)
    if (known === undefined) this.fail('I7', `rank ${rank} published ${chain} at ${size}, the end of no block`)
    else if (!equalBytes(known.root, root))
      this.fail('I3', `rank ${rank} published another root of ${chain} at ${size}`)
    try {
      const verified = this.#verified(chain, size, checkpoint)
      for (const cosigner of verified.cosigners) this.#know(rank, chain, cosigner, size)
      if (this.#policies.isSwitch(chain, size)) this.#switchesOut.add(`${chain}/${size}`)
      const isSame = verified.size === size && equalBytes(verified.root, root)
      if (!isSame) this.fail('I3', `rank ${rank} published a note of another head`)
    } catch (error) {
      this.fail('I8', `rank ${rank} published ${chain} at ${size}: ${String(error)}`)
    }
  }

  /** A note under a policy that its size is under. Nodes publish the same cosignatures below their own line: they are verified once. */
  #verified(chain: ChainName, size: number, note: string): VerifiedCheckpoint {
    const { origin } = this.#histories[chain]
    const policies = this.#policies.at(chain, size)
    const text = withoutLineOf(note, origin)
    const known = this.#notes.get(text)
    if (known !== undefined && known.policies.length === policies.length) return known.verified
    const [first, ...more] = policies.map((policy) => {
      try {
        return verifyCheckpoint({ note, origin, policy })
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        return error
      }
    })
    const good = [first, ...more].find((one) => !(one instanceof ChainError))
    if (good === undefined || good instanceof ChainError) throw first
    this.#notes.set(text, { policies, verified: good })
    return good
  }

  /** A call that a node makes: its cosignatures are what it signed, whatever becomes of them. */
  called({ from, chain, method, body }: PeerCall): void {
    if (method !== 'cosignature' || !this.#isHonest(from)) return
    const name = `${from}/${chain}`
    const last = this.#lastCosignature.get(name)
    if (last !== undefined && equalBytes(last, body)) return
    this.#lastCosignature.set(name, body)
    const request = parseMessage(body)
    const [size, root] = [request.uint('size'), toHex(request.bytes('root', 32))]
    const history = this.#histories[chain]
    const roots = history.cosigned[from] as Map<number, string>
    const before = roots.get(size)
    if (before !== undefined && before !== root)
      this.fail('I4', `rank ${from} cosigned two roots of ${chain} at ${size}`)
    roots.set(size, root)
    const known = history.bySize.get(size)
    if (known === undefined) this.fail('I7', `rank ${from} cosigned ${chain} at ${size}, the end of no block`)
    else if (toHex(known.root) !== root) this.fail('I3', `rank ${from} cosigned another root of ${chain} at ${size}`)
    const seal = known === undefined ? undefined : history.leaves[size - 1]
    if (seal !== undefined && !this.#node.isOnDisk(from, chain, 'log/blocks', seal)) {
      this.fail('D1', `rank ${from} cosigned ${chain} at ${size} before it was on its disk`)
    }
    if (!this.#isCosigned(chain, { size, root: request.bytes('root', 32) }, utf8.decode(request.bytes('line')))) {
      this.fail('K1', `rank ${from} cosigned ${chain} at ${size} with a key that is not in force there`)
    }
    const largest = history.cosignedLargest[from] as number
    if (size < largest) this.fail('I4', `rank ${from} cosigned ${chain} at ${size} after ${largest}`)
    this.#wasTold(from, chain, size)
    history.cosignedLargest[from] = Math.max(largest, size)
  }

  /** True if a line is of somebody who may cosign this size. */
  #isCosigned(chain: ChainName, head: { size: number; root: Uint8Array }, line: string): boolean {
    const { origin } = this.#histories[chain]
    return this.#policies.at(chain, head.size).some(({ cosigners }) => {
      try {
        verifyCosignature({ line, head: { origin, ...head }, cosigners })
        return true
      } catch {
        return false
      }
    })
  }

  /** A call reaches a node. */
  received({ from, to, chain, method, body }: PeerCall): Moment {
    if (method === 'cosignature') this.#know(to, chain, from, parseMessage(body).uint('size'))
    return { atMs: this.#world.scheduler.nowMs, unixMs: this.#node.unixMs(to) }
  }

  /** A node whose disk went back signs nothing below what two of its peers knew of it when it started: it asks at least one of them. */
  #wasTold(rank: number, chain: ChainName, size: number): void {
    const known = (this.#toldAtStart.get(`${rank}/${chain}`) ?? []).filter(
      ({ life, peer }) => this.#lives.get(peer) === life,
    )
    const second = known.map((one) => one.size).sort((a, b) => b - a)[1]
    if (second !== undefined && size < second) {
      this.fail('I4', `rank ${rank} cosigned ${chain} at ${size}, and its peers know that it cosigned ${second}`)
    }
  }

  /** A peer knows a node's cosignature. */
  #know(peer: number, chain: ChainName, rank: number, size: number): void {
    const life = this.#lives.get(peer)
    if (life === undefined || life.isDead || !this.#isHonest(peer)) return
    const name = `${peer}/${rank}/${chain}`
    const before = this.#knownOf.get(name)
    if (before?.life === life && before.size >= size) return
    this.#knownOf.set(name, { peer, life, size })
  }

  /** An answer that a node gives: what it binds itself to by it. */
  answered(call: PeerCall, answer: Uint8Array, received: Moment): void {
    if (!this.#isHonest(call.to)) return
    const given = parseMessage(answer)
    if (call.method === 'stage' && given.has('ack')) this.#staging(call, received)
    if (call.method === 'collect' && given.has('promised') && !given.has('error')) this.#collected(call, given)
  }

  /** One ack for each height and term, none in a term older than one it promised, none for a new block that clock or anchor forbid. */
  #staging({ to, from, chain, body }: PeerCall, received: Moment): void {
    const request = parseMessage(body)
    const [height, term, bytes] = [request.uint('height'), request.uint('term'), request.bytes('block')]
    this.#acked(chain, { rank: to, height, term, block: `${from} ${toHex(leafHash(bytes))}` })
    if (!this.#node.isOnDisk(to, chain, 'staged/blocks', bytes)) {
      this.fail('D1', `rank ${to} acked ${chain} block ${height} before it was on its disk`)
    }
    const word = this.#histories[chain].words[to] as Word
    if (term < word.term && !this.rolledBack.has(to)) {
      this.fail('T1', `rank ${to} staged ${chain} block ${height} in term ${term} after term ${word.term}`)
    }
    word.term = Math.max(word.term, term)
    if (height > word.height || (height === word.height && term > word.stagedTerm)) {
      word.height = height
      word.stagedTerm = term
    }
    const reasons = request.has('acks') ? request.list('acks').length : 0
    this.#checkSwitch(to, chain, height)
    if (reasons < Math.max(1, this.#policies.votesMin))
      this.#staged(to, chain, parseBlock(bytes).at(-1) as Uint8Array, received)
  }

  /** Nobody stages after a switch before its checkpoint is published by the policy before. */
  #checkSwitch(rank: number, chain: ChainName, height: number): void {
    const before = this.#histories[chain].blocks[height - 1]
    if (before === undefined || !this.#policies.isSwitch(chain, before.size)) return
    const isPublished = this.#switchesOut.has(`${chain}/${before.size}`)
    if (!isPublished) this.fail('P1', `rank ${rank} staged ${chain} block ${height} before the switch was published`)
  }

  /** A collected node shows the block that it acked last, if that may have been decided. */
  #collected({ to, chain }: PeerCall, given: Fields): void {
    const word = this.#histories[chain].words[to] as Word
    word.term = Math.max(word.term, given.uint('promised'))
    const [attested] = given.list('attested')
    const staged = given.has('staged') ? given.map('staged') : undefined
    const isShown =
      staged !== undefined && staged.uint('height') === word.height && staged.uint('term') >= word.stagedTerm
    if (word.height > Number(attested) && !isShown && !this.rolledBack.has(to)) {
      this.fail('T2', `rank ${to} told nothing of ${chain} block ${word.height}, which it staged`)
    }
  }

  #staged(rank: number, chain: ChainName, sealLeaf: Uint8Array, received: Moment): void {
    const { ms, h, anchor } = parseSealLeaf(sealLeaf)
    // The node judged it at some moment between the two.
    const differenceMs = Math.min(Math.abs(ms - received.unixMs), Math.abs(ms - this.#node.unixMs(rank)))
    if (differenceMs > clockDifferenceMsMax + slackMs) {
      this.fail('S1', `rank ${rank} staged ${chain} block ${h}, ${differenceMs} ms off its clock`)
    }
    const known = this.#publishedBefore
      .get(rank)
      ?.findLast(([, atMs]) => atMs < received.atMs - anchorKnownMs - slackMs)
    const anchored = anchor?.[0]?.[0]
    if (anchored !== undefined && known !== undefined && anchored < known[0]) {
      this.fail('S1', `rank ${rank} staged ${chain} block ${h} anchored at ${anchored}, and knew ${known[0]}`)
    }
  }

  #acked(chain: ChainName, ack: { rank: number; height: number; term: number; block: string }): void {
    const history = this.#histories[chain]
    const name = `${ack.rank}/${ack.height}/${ack.term}`
    const before = history.acked.get(name)
    if (before !== undefined && before !== ack.block && !this.rolledBack.has(ack.rank)) {
      this.fail('A1', `rank ${ack.rank} acked two blocks of ${chain} height ${ack.height} in term ${ack.term}`)
    }
    history.acked.set(name, ack.block)
  }

  /** A value that the register took. Answers true if it decided a block that was not decided before. */
  registered(chain: ChainName, bytes: Uint8Array): boolean {
    const history = this.#histories[chain]
    const { height, size, root, acks } = parseHeadValue(bytes)
    const quorum = this.#policies.quorum(chain, size)
    const good = acks.filter((ack) => this.#isAck(chain, { height, size, root }, ack))
    if (height === 0 || new Set(good.map(({ rank }) => rank)).size < quorum) return false
    const before = history.decided.get(height)
    const name = toHex(root)
    if (before !== undefined && before !== name) this.fail('I5', `${chain} height ${height} was decided twice`)
    history.decided.set(height, name)
    const known = history.blocks[height]
    if (known !== undefined && !equalBytes(known.root, root)) {
      this.fail('I5', `${chain} height ${height} was decided again as another block`)
    }
    return before === undefined
  }

  /** True if an ack is signed by the node that has its rank in the policy which decides this block. */
  #isAck(chain: ChainName, { height, size, root }: Subject, { rank, term, signature }: Ack): boolean {
    const publicKey = this.#policies.nodeKeys(chain, size).get(rank)
    if (publicKey === undefined) return false
    const statement = encodeStatement('stage-ack', [chains[chain], height, term, size, root])
    const message = statementMessage({ label: 'stage-ack', ledgerId: this.#genesis.ledgerId, statement })
    try {
      verifySignature({ signature, message, key: parseVerifyingKey(publicKey) })
      return true
    } catch {
      return false
    }
  }

  /** True if a node has this key in the newest policy on record. */
  hasNodeKey(key: Uint8Array): boolean {
    return this.#policies.hasNodeKey(key)
  }

  /** What a core says: it halts only for what was injected, and meets no fault of its own making. */
  said(rank: number, event: CoreEvent): void {
    const isMistake =
      event.kind === 'failed' && (event.error instanceof ReferenceError || event.error instanceof TypeError)
    if (isMistake) this.fail('fault', `rank ${rank}, ${event.part}: ${textOf(event.error)}`)
    if (!this.#isHonest(rank)) return
    if (event.kind === 'halted' && !isInjected(event.error)) {
      this.fail('halt', `rank ${rank} halted ${event.chain}: ${textOf(event.error)}`)
    }
    if (event.kind === 'failed' && !isExpected(event.error)) {
      this.fail('fault', `rank ${rank}, ${event.part}: ${textOf(event.error)}`)
    }
  }

  /** Somebody was told that a transaction is on record: it must be, at this place, under what the node published. */
  committed(
    rank: number,
    place: { chain: ChainName; key: string; index: number; size: number },
    core: ChainCore,
  ): void {
    const { chain, key, index, size } = place
    const history = this.#histories[chain]
    if (history.indices.get(key) !== index) this.fail('I1', `rank ${rank} answered ${key} at ${index}, where it is not`)
    if (!history.bySize.has(size)) this.fail('I7', `rank ${rank} answered with size ${size}, the end of no block`)
    const published = core.published()
    if (published === undefined || published.size < size) {
      this.fail('I1', `rank ${rank} answered ${key} as committed before it was published`)
      return
    }
    // After a change of policy receipts need its trail, which this observer does not keep; who is no member yet gives none.
    const isMember = this.#policies.nodeKeys(chain, size).has(rank)
    const isPlain = this.#policies.changes === 0 && isMember
    if (isPlain && this.#receipts.length < receiptsMax && this.#world.random.chance(0.1)) {
      const hashes = inclusionProof({ index, size: published.size }, history.hashes.read)
      const { checkpoint } = published
      const transaction = { leaf: core.entry(index), index, hashes, checkpoint }
      this.#receipts.push({ chain, bytes: createReceipt({ genesis: this.#genesis, chain, transaction }) })
    }
  }

  /** The end of a run: receipts against the final log, and what each node has on its disk. */
  finished(running: readonly { rank: number; cores: Running['cores'] }[]): void {
    for (const { chain, bytes } of this.#receipts) {
      const { index, transactionId } = verifyReceipt({ bytes, ledgerId: this.#genesis.ledgerId })
      if (this.#histories[chain].indices.get(toHex(transactionId)) !== index) this.fail('I1', `a receipt at ${index}`)
    }
    for (const { rank, cores } of running) {
      if (!this.#isHonest(rank)) continue
      for (const chain of chainNames) {
        this.#compareEntries(rank, cores[chain])
        this.#proveState(rank, cores, chain)
      }
    }
  }

  /** The root in the SEAL is the root of the state that the node has: it proves that a key is absent. */
  #proveState(rank: number, { ledger }: Running['cores'], chain: ChainName): void {
    const key = Uint8Array.of(0x81, this.#world.random.below(24))
    try {
      const { value, proof } = ledger.prove(chain, key)
      verifyStateProof({ key, value, proof, root: ledger.head(chain).stateRoot })
    } catch (error) {
      this.fail('I6', `rank ${rank} has another state of ${chain} than its SEAL says: ${String(error)}`)
    }
  }

  #compareEntries(rank: number, core: ChainCore): void {
    const { leaves } = this.#histories[core.chain]
    const entries = core.entries(0, core.head().size)
    if (entries.length !== core.head().size)
      this.fail('I9', `rank ${rank} has ${entries.length} entries of ${core.chain}`)
    const wrong = entries.findIndex((entry, i) => !equalBytes(entry, leaves[i] as Uint8Array))
    if (wrong >= 0) this.fail('I9', `rank ${rank} has another entry ${wrong} of ${core.chain}`)
  }
}

/** A published note without its first line if that is of a log key, which counts for nothing. */
function withoutLineOf(note: string, origin: string): string {
  const from = note.indexOf('\n\n') + 2
  return note.startsWith(`\u2014 ${origin} `, from)
    ? note.slice(0, from) + note.slice(note.indexOf('\n', from) + 1)
    : note
}

/** True if an injected fault is at the bottom of it. */
export function isInjected(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof Injected) return true
  return false
}

/** Faults that a node may meet: what was injected, and what the code itself names. */
function isExpected(error: unknown): boolean {
  if (isInjected(error)) return true
  return error instanceof AccountingError || error instanceof ChainError || (error as Error)?.name === 'StepDown'
}

/** An error with the place where it was made. */
export function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 4).join(' | ') : String(error)
}
