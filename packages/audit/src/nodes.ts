/** The nodes under audit: each is asked alone, and what it fails to do becomes a finding that names it. */

import type { ChainName } from '@healthblock/chain/chains'
import type { VerifiedCheckpoint } from '@healthblock/chain/checkpoint'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError, messageOf } from '@healthblock/runtime/errors'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import type { FindingList } from './report.ts'

/** A node to audit. Without `url` it is known not to run, which is a finding; `url` is read again at each look. */
export interface AuditNode {
  readonly name: string
  readonly url?: string | undefined
}

/** Every accounting node that is to be asked; a function is asked before each look, since nodes come and go. */
export type AuditNodes = readonly AuditNode[] | (() => readonly AuditNode[])

/** A checkpoint older than this is stale: nodes cosign anew every 60 s. */
export const staleMs = 150_000

/** A checkpoint that a node serves, verified. */
export interface NodeHead {
  readonly node: LiveNode
  readonly checkpoint: VerifiedCheckpoint
  /** As it was served. */
  readonly note: string
}

/** A node that answers. */
export interface LiveNode {
  readonly name: string
  readonly url: string
  /** Set once it stopped answering: it is asked no more. */
  isGone: boolean
}

/** What came of asking a node: an answer, or the status with which it refused, or nothing that can be used. */
export type Asked<T> =
  | { readonly kind: 'answer'; readonly value: T }
  | { readonly kind: 'refused'; readonly status: number }
  | { readonly kind: 'wrong'; readonly reason: string }
  | { readonly kind: 'gone' }

/** Asks nodes and notes their conduct. */
export class Nodes {
  /** Called with every note that a node serves as its checkpoint, good or not. */
  onNote: (served: { chain: ChainName; node: string; note: string }) => void = () => {}
  readonly #nodesNow: () => readonly AuditNode[]
  #live: LiveNode[] = []
  /** Nodes that are named in this look. */
  count = 0
  /** Names by account, as far as nodes signed what they served. */
  readonly #names = new Map<string, string>()
  readonly #client: LedgerClient
  readonly #findings: FindingList

  constructor(nodes: AuditNodes, client: LedgerClient, findings: FindingList) {
    this.#nodesNow = typeof nodes === 'function' ? nodes : () => nodes
    this.#client = client
    this.#findings = findings
  }

  /** Begins a look: nodes that were gone, or did not run, are asked again. */
  begin(): void {
    this.#live = []
    const nodes = this.#nodesNow()
    this.count = nodes.length
    for (const { name, url } of nodes) {
      if (url !== undefined) this.#live.push({ name, url: url.replace(/\/$/, ''), isGone: false })
      else this.#findings.add({ code: 'node.unreachable', node: name, message: `${name} does not run` })
    }
  }

  /** Notes which account a node signs for. */
  learn(account: Uint8Array, name: string): void {
    this.#names.set(toHex(account), name)
  }

  /** Name of the node of an account, if it showed itself. */
  nameOf(account: Uint8Array): string | undefined {
    return this.#names.get(toHex(account))
  }

  /** True if the node of this account showed itself and still answers. */
  isAnswering(account: Uint8Array): boolean {
    const name = this.nameOf(account)
    return this.answering.some((node) => node.name === name)
  }

  /** Nodes that still answer. */
  get answering(): readonly LiveNode[] {
    return this.#live.filter(({ isGone }) => !isGone)
  }

  /** Asks one node, once more if it did not answer. A node that is gone or refuses the credential is a finding. */
  async ask<T>(node: LiveNode, work: (client: LedgerClient, url: string) => Promise<T>): Promise<Asked<T>> {
    if (node.isGone) return { kind: 'gone' }
    let failure: unknown
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        return { kind: 'answer', value: await work(this.#client, node.url) }
      } catch (error) {
        failure = error
        if (!isRuntimeError(error, 'ERR_SOURCE_UNREACHABLE') && !isBusy(error)) break
      }
    }
    if (isRuntimeError(failure, 'ERR_SOURCE_UNREACHABLE')) {
      node.isGone = true
      this.#findings.add({ code: 'node.unreachable', node: node.name, message: `${node.name}: ${failure.message}` })
      return { kind: 'gone' }
    }
    if (isRuntimeError(failure, 'ERR_SOURCE_REFUSED')) {
      const { status } = failure.detail
      if (status === 401 || status === 403) {
        this.#findings.add({ code: 'node.refused', node: node.name, message: `${node.name}: ${failure.message}` })
      }
      return { kind: 'refused', status }
    }
    if (isRuntimeError(failure, 'ERR_SOURCE_MISBEHAVED')) return { kind: 'wrong', reason: failure.detail.reason }
    throw failure
  }

  /** The newest checkpoint of every node that serves a good one. */
  async heads(chain: ChainName, nowMs: number): Promise<NodeHead[]> {
    const heads = await Promise.all(this.answering.map((node) => this.head(chain, node, nowMs)))
    return heads.flatMap((head) => (head === undefined ? [] : [head]))
  }

  /** The newest checkpoint of one node: cosigned by a quorum, with the line of a log key, and not stale; else a finding. */
  async head(chain: ChainName, node: LiveNode, nowMs: number): Promise<NodeHead | undefined> {
    const asked = await this.ask(node, (client, url) => client.checkpointNote(chain, { url }))
    if (asked.kind === 'gone') return undefined
    const name = node.name
    const refuse = (reason: string): undefined => {
      const message = `${name} serves no checkpoint of ${chain} that holds: ${reason}`
      this.#findings.add({ code: 'checkpoint.invalid', chain, node: name, message })
    }
    if (asked.kind !== 'answer')
      return refuse(asked.kind === 'wrong' ? asked.reason : `it refused with ${asked.status}`)
    const note = asked.value
    // What it signed is looked at whether or not a quorum signed with it.
    this.onNote({ chain, node: name, note })
    let checkpoint: VerifiedCheckpoint
    let fault: string | undefined
    try {
      checkpoint = await this.#client.verifyCheckpoint(chain, note, node.url)
      fault = this.#logLineFault(chain, note)
      if (nowMs - checkpoint.oldestTime > staleMs || fault !== undefined) {
        // At a switch it holds under two policies, and the second may be news.
        await this.#client.refreshTrail(node.url).catch(() => {})
        checkpoint = await this.#client.verifyCheckpoint(chain, note, node.url)
        fault = this.#logLineFault(chain, note)
      }
    } catch (error) {
      return refuse(messageOf(error))
    }
    if (fault !== undefined) {
      const message = `${name} serves a checkpoint of ${chain} without the line of a log key: ${fault}`
      this.#findings.add({ code: 'checkpoint.log-line', chain, node: name, message })
    }
    const ageMs = nowMs - checkpoint.oldestTime
    if (ageMs > staleMs) {
      const message = `the checkpoint of ${chain} that ${name} serves was last cosigned ${Math.round(ageMs / 1000)} s ago`
      this.#findings.add({ code: 'checkpoint.stale', chain, node: name, message })
    }
    return { node, checkpoint, note }
  }

  /** Why a checkpoint has no good line of a log key; undefined if it has one. */
  #logLineFault(chain: ChainName, note: string): string | undefined {
    try {
      this.#client.trail.receiptForm(chain, note)
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  }
}

function isBusy(error: unknown): boolean {
  return isRuntimeError(error, 'ERR_SOURCE_REFUSED') && error.detail.status >= 500
}

/** The head to audit: the largest that a quorum cosigned. Heads of one size with different roots are findings. */
export function newestHead(heads: readonly NodeHead[], chain: ChainName, findings: FindingList): NodeHead | undefined {
  let newest: NodeHead | undefined
  for (const head of heads) if (newest === undefined || head.checkpoint.size > newest.checkpoint.size) newest = head
  const bySize = new Map<number, NodeHead>()
  for (const head of heads) {
    const { size, root } = head.checkpoint
    const other = bySize.get(size)
    if (other === undefined) bySize.set(size, head)
    else if (!equalBytes(other.checkpoint.root, root)) {
      const message = `${head.node.name} and ${other.node.name} serve two cosigned roots of ${chain} at ${size} entries`
      findings.add({ code: 'checkpoint.fork', chain, index: size - 1, node: head.node.name, message })
    }
  }
  return newest
}
