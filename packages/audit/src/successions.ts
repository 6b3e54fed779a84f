/**
 * Successions (chain SPEC §10): by whose decision a ledger carries another one on, from the heads that the old quorum attested last, and
 * whether a second one claims the same.
 */

import type { Ledger } from '@healthblock/chain/block'
import { chainNames } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import {
  beyondSuccession,
  rivalApprovals,
  type VerifiedSuccession,
  verifySuccession,
} from '@healthblock/chain/succession'
import { equalBytes, fromBase64, toHex } from '@healthblock/encoding/bytes'
import { EncodingError } from '@healthblock/encoding/errors'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import type { AuditNode, Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'

/** Nodes of the ledger before: those that still answer show what they attested, and which successors they were told of. */
export interface PriorNodes {
  readonly nodes: readonly AuditNode[]
  /** Over the same URLs, trusting the genesis of that ledger. */
  readonly client: LedgerClient
}

/** What successions are judged by. */
export interface SuccessionContext {
  readonly ledger: Ledger
  readonly nodes: Nodes
  readonly findings: FindingList
  readonly prior: PriorNodes | undefined
}

interface Held {
  readonly succession: VerifiedSuccession
  readonly node: string
}

/** Reads one node's list. @returns What holds of it; what does not goes to `onInvalid`. */
function readList(list: readonly unknown[], onInvalid: (reason: string) => void): VerifiedSuccession[] {
  return list.flatMap((item) => {
    try {
      const { succession } = item as { succession: string }
      return [verifySuccession({ bytes: fromBase64(succession) })]
    } catch (error) {
      if (!(error instanceof ChainError || error instanceof EncodingError || error instanceof TypeError)) throw error
      onInvalid(error.message)
      return []
    }
  })
}

/** What the nodes of this ledger hold; a successor's node that shows none is a finding. */
async function heldHere({ ledger, nodes, findings }: SuccessionContext): Promise<Held[]> {
  const held: Held[] = []
  const isSuccessor = ledger.genesis.body.prior !== undefined
  for (const node of nodes.answering) {
    const { name } = node
    const asked = await nodes.ask(node, (client, url) => client.list('successions', { url }))
    if (asked.kind === 'gone') continue
    const list = asked.kind === 'answer' ? asked.value : []
    const own = readList(list, (reason) =>
      findings.add({ code: 'succession.invalid', node: name, message: `${name} shows a succession: ${reason}` }),
    )
    held.push(...own.map((succession) => ({ succession, node: name })))
    if (isSuccessor && !own.some(({ successor }) => equalBytes(successor.ledgerId, ledger.ledgerId))) {
      const message = `genesis names a ledger before it, and ${name} does not show by whose decision it goes on`
      findings.add({ code: 'succession.missing', node: name, message })
    }
  }
  return held
}

/** What the nodes of the ledger before know beyond, or otherwise; and which of them did not answer. */
async function askPrior(
  prior: PriorNodes,
  own: VerifiedSuccession,
  findings: FindingList,
): Promise<{ held: Held[]; silent: string[] }> {
  const held: Held[] = []
  const silent: string[] = []
  for (const { name, url } of prior.nodes) {
    if (url === undefined) {
      silent.push(name)
      continue
    }
    try {
      for (const chain of chainNames) {
        const { size, root } = await prior.client.checkpoint(chain, { url })
        const reason = beyondSuccession(own, { chain, size, root })
        if (reason === undefined) continue
        findings.add({ code: 'succession.behind', chain, node: name, message: `${name}: ${reason}` })
      }
      const list = await prior.client.list('successions', { url })
      held.push(...readList(list, () => {}).map((succession) => ({ succession, node: name })))
    } catch (error) {
      // Most of them are gone: that is why there is a successor.
      if (!(error instanceof RuntimeError)) throw error
      silent.push(name)
    }
  }
  return { held, silent }
}

/** Each pair of successions of one ledger to different ones. */
function findRivals(held: readonly Held[], findings: FindingList): void {
  const distinct = new Map(held.map((one) => [toHex(one.succession.successor.ledgerId), one]))
  const all = [...distinct.values()]
  for (const [position, a] of all.entries()) {
    for (const b of all.slice(position + 1)) {
      const both = rivalApprovals(a.succession, b.succession)
      if (both === undefined) continue
      const names = [a, b].map(({ succession }) => toHex(succession.successor.ledgerId)).sort()
      const message = `ledgers ${names.join(' and ')} both claim to carry on ${toHex(a.succession.prior.ledgerId)}; approved by the same: ${both.map(toHex).join(', ')}`
      findings.add({ code: 'succession.rival', node: b.node, subject: names.join(' '), message })
    }
  }
}

/**
 * Judges what is known of successions to and from this ledger.
 *
 * @returns In words what was found to hold, and what was not looked at.
 */
export async function checkSuccessions(context: SuccessionContext): Promise<string[]> {
  const { ledger, findings, prior } = context
  const held = await heldHere(context)
  const own = held.find(({ succession }) => equalBytes(succession.successor.ledgerId, ledger.ledgerId))
  const words: string[] = []
  if (own !== undefined) {
    const id = toHex(own.succession.prior.ledgerId)
    if (prior === undefined) words.push(`nodes of ledger ${id}, which this one carries on: none was named`)
    else {
      const { held: known, silent } = await askPrior(prior, own.succession, findings)
      held.push(...known)
      if (silent.length > 0)
        words.push(`nodes of ledger ${id}, which this one carries on, that did not answer: ${silent.join(', ')}`)
    }
    words.push(`what ledger ${id} holds up to its last heads: audit it by itself`)
  }
  const next = held.filter(({ succession }) => equalBytes(succession.prior.ledgerId, ledger.ledgerId))
  for (const { succession, node } of next) {
    const id = toHex(succession.successor.ledgerId)
    const note = `anything after this ledger: ${id} carries it on`
    if (!words.includes(note)) words.push(note)
    for (const chain of chainNames) {
      const reason = beyondSuccession(succession, { chain, ...ledger.head(chain) })
      if (reason !== undefined) findings.add({ code: 'succession.behind', chain, node, subject: id, message: reason })
    }
  }
  findRivals(held, findings)
  return words
}
