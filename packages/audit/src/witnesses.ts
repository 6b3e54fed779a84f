/**
 * Witnesses that the auditor knows: each is asked whether what it holds is of the audited log. It says so with its signature, once the log
 * that the nodes show extends what it cosigned before; a log that was cut short, or is another one for the auditor, has none.
 */
import type { Ledger } from '@healthblock/chain/block'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { chainOrigin, parseCheckpoint } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { consistencyProofAsync, verifyConsistency } from '@healthblock/chain/merkle'
import { parseHashTile, tileHashReader, tilePath } from '@healthblock/chain/tile'
import { witnessCosignatures, witnessNote } from '@healthblock/chain/witness'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { WitnessClient } from '@healthblock/runtime/witness-client'
import type { NodeHead, Nodes } from './nodes.ts'
import type { FindingList, FindingParts } from './report.ts'

/** A witness to be asked (`createWitnessClient`). */
export type AuditWitness = WitnessClient

/** What the check works with. */
export interface WitnessCheckContext {
  /** Asked before each question: witnesses come and go, too. */
  readonly witnesses: () => Promise<readonly AuditWitness[]>
  readonly ledger: Ledger
  readonly nodes: Nodes
  readonly findings: FindingList
  readonly now: () => number
  readonly wait: (ms: number) => Promise<void>
}

/** Witnesses are asked no more often than this by an audit that follows. */
const askEveryMs = 30_000
/** Requests of one question: what it holds, then the proof from there. */
const requestsMax = 3
/** How often, and after which pause, nodes are asked for a head that a witness has and they do not show. */
const aheadAttempts = 20
const aheadPauseMs = 250

/** What came of one question: nothing to say, or a sentence about what is not known. */
type Answer =
  | { readonly agrees: true }
  /** `isSilent`: it did not say what it holds. */
  | { readonly agrees: false; readonly words?: string; readonly isSilent?: boolean }

/** Asks the witnesses of an audit. */
export class WitnessCheck {
  readonly #context: WitnessCheckContext
  #askedMs = Number.NEGATIVE_INFINITY
  #witnesses: readonly AuditWitness[] = []
  #words: readonly string[] = []
  /** What the last question found, by witness, chain and code: it lasts until that witness agrees, or says something else. */
  #found = new Map<string, FindingParts>()
  #served: { readonly chain: ChainName; readonly node: string; readonly note: string }[] = []

  constructor(context: WitnessCheckContext) {
    this.#context = context
  }

  /** Takes a checkpoint as a node served it. */
  take(served: { chain: ChainName; node: string; note: string }): void {
    this.#served.push(served)
  }

  /** Judges the witnesses' lines on what nodes served, and asks the witnesses. Returns what is to be said of them. */
  async check(heads: Readonly<Record<ChainName, readonly NodeHead[]>>): Promise<readonly string[]> {
    const { now, findings } = this.#context
    const isTime = Math.abs(now() - this.#askedMs) >= askEveryMs
    if (isTime) this.#witnesses = await this.#context.witnesses()
    this.#judgeServed()
    if (!isTime) {
      for (const parts of this.#found.values()) findings.add(parts)
      return this.#words
    }
    this.#askedMs = now()
    const witnesses = this.#witnesses
    const before = this.#found
    this.#found = new Map()
    const words: string[] = []
    const judged = new Set<string>()
    for (const chain of witnesses.length === 0 ? [] : chainNames) {
      const answers = await Promise.all(witnesses.map((witness) => this.#ask(witness, chain, heads[chain])))
      const count = answers.filter(({ agrees }) => agrees).length
      words.push(
        `${chain} at witnesses that were not named; ${count} of ${witnesses.length} that were named hold the audited head`,
      )
      for (const [i, answer] of answers.entries()) {
        if (!answer.agrees && answer.words !== undefined) words.push(answer.words)
        if (answer.agrees || answer.isSilent !== true) judged.add(`${chain} ${witnesses[i]?.key.name}`)
      }
    }
    // What one said holds until it says otherwise: whoever is accused may keep it from answering, or name it no longer.
    for (const [name, parts] of before) if (!judged.has(`${parts.chain} ${parts.node}`)) this.#found.set(name, parts)
    // What lasts from question to question keeps the place at which it began, or it would be told as news each time.
    for (const [name, parts] of this.#found) {
      const lasting = before.get(name) ?? parts
      this.#found.set(name, lasting)
      findings.add(lasting)
    }
    if (witnesses.length === 0) words.push('witnesses outside the ledger: none was named')
    this.#words = words
    return words
  }

  #judgeServed(): void {
    const { ledger, findings } = this.#context
    const keys = this.#witnesses.map(({ key }) => key)
    const served = this.#served
    this.#served = []
    for (const { chain, node, note } of served) {
      let signed: ReturnType<typeof witnessCosignatures>
      let head: ReturnType<typeof parseCheckpoint>
      try {
        head = parseCheckpoint(note)
        signed = witnessCosignatures(note, keys)
      } catch (error) {
        // Said already: a checkpoint that cannot be read.
        if (!(error instanceof ChainError)) throw error
        continue
      }
      const { origin, size, root } = head
      if (origin !== chainOrigin({ ledgerId: ledger.genesis.ledgerId, chain })) continue
      if (size > ledger.head(chain).size) continue
      const boundary = ledger.index(chain).boundary(size)
      if (boundary !== undefined && equalBytes(boundary.root, root)) continue
      for (const [i, { name }] of keys.entries()) {
        if (signed[i] === undefined) continue
        const message = `${name} cosigned a root of ${chain} at ${size} entries that the log does not have, as ${node} shows: ${toHex(root)}`
        findings.add({ code: 'witness.fork', chain, node: name, message })
      }
    }
  }

  #fork(chain: ChainName, name: string, message: string): Answer {
    return this.#find({ code: 'witness.fork', chain, node: name, message })
  }

  #find(parts: FindingParts): Answer {
    this.#found.set(`${parts.code} ${parts.chain} ${parts.node}`, parts)
    return { agrees: false }
  }

  async #ask(witness: AuditWitness, chain: ChainName, heads: readonly NodeHead[]): Promise<Answer> {
    const { ledger } = this.#context
    const { size, root } = ledger.head(chain)
    const { name } = witness.key
    const shown = heads.filter(({ checkpoint }) => checkpoint.size === size && equalBytes(checkpoint.root, root))
    if (shown.length === 0)
      return { agrees: false, isSilent: true, words: `${chain} at ${name}: no node's head was replayed whole` }
    // A witness may trust the log keys of some nodes only.
    for (const head of shown) {
      const answer = await this.#askUnder(witness, chain, head)
      if (answer !== 'untrusted') return answer
    }
    return {
      agrees: false,
      isSilent: true,
      words: `${chain} at ${name}: it trusts the log key of none of the nodes (403)`,
    }
  }

  async #askUnder(witness: AuditWitness, chain: ChainName, shown: NodeHead): Promise<Answer | 'untrusted'> {
    const { ledger } = this.#context
    const { size, root } = ledger.head(chain)
    const { name } = witness.key
    const head = { origin: chainOrigin({ ledgerId: ledger.genesis.ledgerId, chain }), size, root }
    const checkpoint = witnessNote(shown.note)
    let [oldSize, proof]: [number, readonly Uint8Array[]] = [size, []]
    for (let request = 0; request < requestsMax; request++) {
      const outcome = await witness.ask({ head, checkpoint, oldSize, proof })
      if (outcome.kind === 'cosigned') return { agrees: true }
      if (outcome.kind === 'invalid') {
        return this.#find({ code: 'witness.invalid', chain, node: name, message: `${name}: ${outcome.reason}` })
      }
      if (outcome.kind !== 'holds') {
        if (outcome.kind === 'refused' && outcome.reason === 'untrusted') return 'untrusted'
        const reason = outcome.kind === 'refused' ? `${outcome.reason} (${outcome.status})` : outcome.reason
        if (reason.startsWith('inconsistent')) {
          return this.#fork(chain, name, `${name} holds a head of ${chain} that the audited log does not extend`)
        }
        return { agrees: false, isSilent: true, words: `${chain} at ${name}: ${reason}` }
      }
      if (outcome.size === 0) return { agrees: false, words: `${chain} at ${name}: it has cosigned nothing yet` }
      if (outcome.size > size) return this.#ahead(chain, name, outcome.size)
      if (outcome.size === oldSize) {
        return this.#fork(chain, name, `${name} holds another root of ${chain} at ${oldSize} entries`)
      }
      oldSize = outcome.size
      const boundary = ledger.index(chain).boundary(oldSize)
      if (boundary === undefined) {
        return this.#fork(chain, name, `${name} holds a head of ${chain} at ${oldSize} entries, where no block ends`)
      }
      const proved = await this.#proof(chain, shown, { oldSize, oldRoot: boundary.root })
      if (proved === undefined)
        return { agrees: false, isSilent: true, words: `${chain} at ${name}: no proof could be made` }
      proof = proved
    }
    return { agrees: false, isSilent: true, words: `${chain} at ${name}: it named another size each time` }
  }

  /** From the node's tiles, verified against both roots. */
  async #proof(
    chain: ChainName,
    { node }: NodeHead,
    old: { readonly oldSize: number; readonly oldRoot: Uint8Array },
  ): Promise<readonly Uint8Array[] | undefined> {
    const { nodes, ledger } = this.#context
    const { size, root } = ledger.head(chain)
    const read = tileHashReader({
      size,
      readTile: async (tile) => {
        const asked = await nodes.ask(node, (client, url) => client.tile(chain, tilePath(tile), { url }))
        const bytes = asked.kind === 'answer' ? asked.value : new Uint8Array(0)
        parseHashTile(bytes, tile.width)
        return bytes
      },
    })
    try {
      const proof = await consistencyProofAsync({ oldSize: old.oldSize, size }, read)
      verifyConsistency({ ...old, size, root, proof })
      return proof
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      return undefined
    }
  }

  /** A witness holds more than was audited: nodes show it by now, or somebody hides it. */
  async #ahead(chain: ChainName, name: string, held: number): Promise<Answer> {
    const { nodes, wait, now, ledger } = this.#context
    const { size } = ledger.head(chain)
    for (let attempt = 0; attempt < aheadAttempts; attempt++) {
      const heads = await nodes.heads(chain, now())
      if (heads.some(({ checkpoint }) => checkpoint.size >= held)) {
        return { agrees: false, words: `${chain} at ${name}: it was at ${held} entries when ${size} were audited` }
      }
      await wait(aheadPauseMs)
    }
    const message = `${name} says that it holds ${held} entries of ${chain}; no node shows more than ${size}`
    return this.#find({ code: 'witness.ahead', chain, index: size, node: name, message })
  }
}
