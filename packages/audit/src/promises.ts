/** Promises of gateways that clients kept: each transaction must be on record, or signed as refused or deferred by the same gateway. */
import type { Ledger } from '@healthblock/chain/block'
import { ChainError } from '@healthblock/chain/errors'
import { type GatewayPromise, parseStatement, verifyStatement } from '@healthblock/chain/statement'
import { type ChainName, chains } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { EncodingError } from '@healthblock/encoding/errors'
import { readStatement } from '@healthblock/runtime/ledger-client'
import type { Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'

/** What promises are judged by. */
export interface PromiseContext {
  readonly ledger: Ledger
  readonly nodes: Nodes
  readonly findings: FindingList
  readonly nowMs: number
  /** The node key of an account; undefined if it is no node. */
  readonly nodeKeyOf: (account: Uint8Array) => Uint8Array | undefined
}

const chainNames = new Map(Object.entries(chains).map(([name, number]) => [number as number, name as ChainName]))

/**
 * Judges promises, each a CBOR `[statement, signature]`. One alone convicts nobody: a gateway whose transaction was refused or deferred says
 * so, signed, for 30 days.
 *
 * @returns in words what was checked, and what could not be.
 */
export async function checkPromises(promises: readonly Uint8Array[], context: PromiseContext): Promise<string> {
  if (promises.length === 0)
    return 'no promise of a gateway was given: whether one was broken shows in what clients keep'
  let open = 0
  let transactions = 0
  for (const [number, bytes] of promises.entries()) {
    const promise = readPromise(bytes, context)
    if (promise === undefined) {
      const message = `promise ${number} is not signed by a node of the policy`
      context.findings.add({ code: 'promise.forged', index: number, message })
    } else if (promise.deadline > context.nowMs) open++
    else {
      transactions += promise.txs.length
      await judge(promise, context)
    }
  }
  const words = `${promises.length} promises of gateways were held against the ledger, for ${transactions} transactions`
  return open === 0 ? words : `${words}; the deadline of ${open} has not passed`
}

function readPromise(bytes: Uint8Array, { ledger, nodeKeyOf }: PromiseContext): GatewayPromise | undefined {
  try {
    const signed = readStatement(bytes)
    const publicKey = nodeKeyOf(parseStatement('accepted', signed.statement).gateway)
    if (publicKey === undefined) return undefined
    return verifyStatement({ name: 'accepted', signed, ledgerId: ledger.ledgerId, publicKey })
  } catch (error) {
    if (!(error instanceof ChainError || error instanceof EncodingError || error instanceof TypeError)) throw error
    return undefined
  }
}

async function judge(promise: GatewayPromise, context: PromiseContext): Promise<void> {
  const { ledger, nodes, findings } = context
  const chain = chainNames.get(promise.chain) as ChainName
  const missing = promise.txs.filter((id) => ledger.index(chain).find(id) === undefined)
  if (missing.length === 0) return
  const excused = new Set<string>()
  const gateway = nodes.nameOf(promise.gateway) ?? `gateway ${toHex(promise.gateway).slice(0, 16)}`
  for (const node of nodes.answering) {
    const asked = await nodes.ask(node, (client, url) => client.answers(chain, missing, { url, waitMs: 0 }))
    if (asked.kind !== 'answer') continue
    for (const [position, answer] of asked.value.entries()) {
      if (answer.status !== 'refused' && answer.status !== 'deferred') continue
      if (!equalBytes(gatewayOf(answer.status, answer.evidence), promise.gateway)) continue
      excused.add(toHex(missing[position] as Uint8Array))
    }
  }
  const deadline = new Date(promise.deadline).toISOString()
  for (const id of missing.map(toHex)) {
    if (excused.has(id)) continue
    const message = `${gateway} promised an answer for ${id} of ${chain} by ${deadline}: it is not on record, and no refusal is shown`
    findings.add({ code: 'promise.broken', chain, height: promise.height, node: gateway, subject: id, message })
  }
}

function gatewayOf(status: 'refused' | 'deferred', evidence: Uint8Array): Uint8Array {
  return parseStatement(status, readStatement(evidence).statement).gateway
}
