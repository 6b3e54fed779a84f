/**
 * What clients hold of gateways: promises, each of whose transactions must be on record in time, or signed as refused or deferred by the same
 * gateway; and refusals, whose transactions must not have been on record by then.
 */
import type { Ledger } from '@healthblock/chain/block'
import { type ChainName, chainOf } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import {
  type GatewayPromise,
  parseStatement,
  type Refusal,
  type StatementName,
  type Statements,
  verifyStatement,
} from '@healthblock/chain/statement'
import { sha256 } from '@healthblock/crypto/hash'
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
  /** Node keys that an account has had, newest first. */
  readonly nodeKeysOf: (account: Uint8Array) => readonly Uint8Array[]
}

/** What stands in a block is published within this time. */
export const publishedMsMax = 10_000
/** So long after the deadline a gateway that does not answer, and may have signed a refusal or deferral, is waited for. */
export const silentMsMax = 600_000

/**
 * Judges promises and refusals, each a CBOR `[statement, signature]`, once: as soon as that can be done. A promise alone convicts nobody: a
 * gateway whose transaction was refused or deferred says so, signed, for 30 days. One instance for one audit.
 */
export class PromiseCheck {
  /** Statements that are judged for good. */
  readonly #judged = new Set<string>()
  #promises = 0
  #transactions = 0

  /**
   * Judges what was not judged before, by a ledger that was replayed whole.
   *
   * @param context - `nowMs`: when the heads up to which the ledger was replayed were asked for.
   * @returns in words what was checked so far, and what could not be.
   */
  async check(statements: readonly Uint8Array[], context: PromiseContext): Promise<string[]> {
    const left = { open: 0, silent: 0 }
    for (const [number, bytes] of statements.entries()) {
      const name = toHex(sha256(bytes))
      if (this.#judged.has(name)) continue
      const outcome = await this.#judge(bytes, number, context)
      if (outcome === 'judged') this.#judged.add(name)
      else left[outcome]++
    }
    const { open, silent } = left
    if (this.#judged.size + open + silent === 0)
      return ['no promise of a gateway was given: whether one was broken shows in what clients keep']
    const words = `promises of gateways, but for ${this.#promises} that were held against the ledger, for ${this.#transactions} transactions`
    return [
      open === 0 ? words : `${words}; the deadline of ${open} has not passed, or only just`,
      ...(silent === 0 ? [] : [`${silent} promises whose gateways do not answer: these have 10 min to show a refusal`]),
    ]
  }

  /** `open`: it is too early; `silent`: only its gateway can tell, and does not answer. */
  async #judge(bytes: Uint8Array, number: number, context: PromiseContext): Promise<'judged' | 'open' | 'silent'> {
    const refusal = read('refused', bytes, context)
    const promise = refusal === undefined ? read('accepted', bytes, context) : undefined
    if (refusal !== undefined) judgeRefusal(refusal.says, refusal.isReplaced, context)
    else if (promise === undefined) {
      const message = `statement ${number} is neither a promise nor a refusal that a node of the policy signed`
      context.findings.add({ code: 'promise.forged', index: number, message })
    } else {
      const { says, isReplaced } = promise
      if (isOpen(says, context)) return 'open'
      if (isSilent(says, context)) return 'silent'
      this.#promises++
      this.#transactions += says.txs.length
      await judge(says, isReplaced, context)
    }
    return 'judged'
  }
}

/** True if a block of before the deadline may hold what is missing, and was not published when the heads were asked for. */
function isOpen({ chain, deadline, txs }: GatewayPromise, { ledger, nowMs }: PromiseContext): boolean {
  if (nowMs > deadline + publishedMsMax) return false
  return deadline > nowMs || txs.some((id) => recordedMs(ledger, chainOf(chain), id) === undefined)
}

/** True if something is missing or late that the gateway may have refused, and it does not answer: its node may be down for a while. */
function isSilent(
  { chain, deadline, txs, gateway }: GatewayPromise,
  { ledger, nodes, nowMs }: PromiseContext,
): boolean {
  if (nowMs > deadline + silentMsMax || nodes.isAnswering(gateway)) return false
  return txs.some((id) => (recordedMs(ledger, chainOf(chain), id) ?? Number.POSITIVE_INFINITY) > deadline)
}

/** The statement, if it is of this kind and a node signed it with a key that it has or had; and whether it has another one since. */
function read<N extends StatementName & ('accepted' | 'refused')>(
  name: N,
  bytes: Uint8Array,
  { ledger, nodeKeysOf }: PromiseContext,
): { says: Statements[N]; isReplaced: boolean } | undefined {
  try {
    const signed = readStatement(bytes)
    const { gateway } = parseStatement(name, signed.statement) as { gateway: Uint8Array }
    for (const [age, publicKey] of nodeKeysOf(gateway).entries()) {
      try {
        return { says: verifyStatement({ name, signed, ledgerId: ledger.ledgerId, publicKey }), isReplaced: age > 0 }
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
      }
    }
    return undefined
  } catch (error) {
    if (!(error instanceof ChainError || error instanceof EncodingError || error instanceof TypeError)) throw error
    return undefined
  }
}

/** When a transaction came on record, Unix ms by its block; undefined if it is not. */
function recordedMs(ledger: Ledger, chain: ChainName, id: Uint8Array): number | undefined {
  const index = ledger.index(chain).find(id)
  return index === undefined ? undefined : ledger.index(chain).boundaryAfter(index)?.ms
}

function nameOf(account: Uint8Array, nodes: Nodes): string {
  return nodes.nameOf(account) ?? `gateway ${toHex(account).slice(0, 16)}`
}

/** Who said it, for a sentence: what a key says that was replaced may be a thief's word. */
function speaker(name: string, isReplaced: boolean): string {
  return isReplaced ? `a node key that ${name} has no longer (lost, stolen or replaced)` : name
}

function judgeRefusal(refusal: Refusal, isReplaced: boolean, context: PromiseContext): void {
  const { chain: number, gateway, tx, rule, height } = refusal
  const { ledger, nodes, findings } = context
  const chain = chainOf(number)
  const index = ledger.index(chain).find(tx)
  const boundary = index === undefined ? undefined : ledger.index(chain).boundaryAfter(index)
  if (boundary === undefined || boundary.height > height) return
  const name = nameOf(gateway, nodes)
  const message = `${speaker(name, isReplaced)} refused ${toHex(tx)} of ${chain} by the rule ${rule} after block ${height}, which had it on record since block ${boundary.height}`
  findings.add({ code: 'refusal.false', chain, height, node: name, subject: toHex(tx), message })
}

async function judge(promise: GatewayPromise, isReplaced: boolean, context: PromiseContext): Promise<void> {
  const { ledger, nodes, findings } = context
  const chain = chainOf(promise.chain)
  const open = promise.txs
    .map((id) => ({ id, ms: recordedMs(ledger, chain, id) }))
    .filter(({ ms }) => ms === undefined || ms > promise.deadline)
  if (open.length === 0) return
  const excused = await excusesOf(
    promise,
    open.map(({ id }) => id),
    context,
  )
  const gateway = nameOf(promise.gateway, nodes)
  const deadline = new Date(promise.deadline).toISOString()
  const shown = nodes.isAnswering(promise.gateway)
    ? 'no refusal is shown'
    : 'it does not answer, so no refusal is shown'
  for (const { id, ms } of open) {
    const subject = toHex(id)
    if (excused.has(subject)) continue
    const promised = `${speaker(gateway, isReplaced)} promised an answer for ${subject} of ${chain} by ${deadline}`
    const place = { chain, height: promise.height, node: gateway, subject }
    if (ms === undefined) {
      const message = `${promised}: it is not on record, and ${shown}`
      findings.add({ code: 'promise.broken', ...place, message })
    } else {
      const message = `${promised}: it came on record at ${new Date(ms).toISOString()}, and ${shown}`
      findings.add({ code: 'promise.late', ...place, message })
    }
  }
}

/** Ids (hex) that the same gateway refused or deferred, as any node shows. */
async function excusesOf(
  promise: GatewayPromise,
  ids: readonly Uint8Array[],
  { nodes }: PromiseContext,
): Promise<Set<string>> {
  const chain = chainOf(promise.chain)
  const excused = new Set<string>()
  for (const node of nodes.answering) {
    const asked = await nodes.ask(node, (client, url) => client.answers(chain, ids, { url, waitMs: 0 }))
    if (asked.kind !== 'answer') continue
    for (const [position, answer] of asked.value.entries()) {
      if (answer.status !== 'refused' && answer.status !== 'deferred') continue
      if (!equalBytes(gatewayOf(answer.status, answer.evidence), promise.gateway)) continue
      excused.add(toHex(ids[position] as Uint8Array))
    }
  }
  return excused
}

function gatewayOf(status: 'refused' | 'deferred', evidence: Uint8Array): Uint8Array {
  return parseStatement(status, readStatement(evidence).statement).gateway
}
