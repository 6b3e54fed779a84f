/** What a reader leafs through: blocks newest first, and the transactions of an account (SPEC.md §1). */

import { setImmediate } from 'node:timers/promises'
import { chainNames } from '@healthblock/chain/chains'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { leafKind, parseTransactionLeaf, type TransactionBody } from '@healthblock/chain/transaction'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { AccountingNode } from '../node.ts'
import type { ChainReader, ReadBlock } from '../reading/chain-reader.ts'
import type { Access } from './access.ts'

/** Most blocks of a page. */
const pageMax = 200
/** Leaves that one question looks at: a page ends there, and the answer says where to go on. */
const scannedLeavesMax = 4_096
const foundMax = 100

function summaryOf({ height, i0, size, leaves }: ReadBlock): Record<string, unknown> {
  const types: Record<string, number> = {}
  for (const leaf of leaves.slice(0, -1)) {
    const { t } = parseTransactionLeaf(leaf).body
    types[t] = (types[t] ?? 0) + 1
  }
  const { ms } = parseSealLeaf(leaves.at(-1) as Uint8Array)
  return { height, from: i0, size, ms, transactions: leaves.length - 1, types }
}

/** Leaves that are looked at before everything else of the node has its turn: ordering does not wait for a reader. */
const turnLeaves = 256

/** Blocks from a height down to the first, until the caller has enough or `scannedLeavesMax` were read; yields its turn now and then. */
async function* blocksDown(reader: ChainReader, before: number): AsyncGenerator<ReadBlock> {
  let [scanned, turn] = [0, 0]
  const top = Math.min(before, (reader.published?.height ?? -1) + 1)
  for (let height = top - 1; height >= 0 && scanned < scannedLeavesMax; height--) {
    const block = await reader.block(height)
    scanned += block.leaves.length
    turn += block.leaves.length
    yield block
    if (turn < turnLeaves) continue
    turn = 0
    await setImmediate()
  }
}

/** True if a body speaks of an account: as signer, subject, sponsor or receiver. */
function names(body: TransactionBody, account: Uint8Array): boolean {
  const { a, pat, doctor, sponsor, open } = body as Partial<Record<'a' | 'pat' | 'doctor' | 'sponsor', Uint8Array>> & {
    open?: readonly (readonly [Uint8Array, Uint8Array, ...unknown[]])[]
  }
  const isOne = [a, pat, doctor, sponsor].some((one) => one !== undefined && equalBytes(one, account))
  return isOne || (open?.some(([, to]) => equalBytes(to, account)) ?? false)
}

/** Goes back from a height; `next` is where to go on, null at the beginning of the log. */
async function findAccount(
  node: AccountingNode,
  { chain, account, before }: { chain: 'userchain' | 'docchain'; account: Uint8Array; before: number | undefined },
): Promise<Record<string, unknown>> {
  const { reader, core } = node.chains[chain]
  const found: Record<string, unknown>[] = []
  let next = Math.min(before ?? Number.MAX_SAFE_INTEGER, (reader.published?.height ?? -1) + 1)
  for await (const { height, i0, leaves } of blocksDown(reader, next)) {
    next = height
    for (let at = leaves.length - 2; at >= 0; at--) {
      const transaction = parseTransactionLeaf(leaves[at] as Uint8Array)
      const id = core.ledger.transactionId(chain, transaction)
      const { body } = transaction
      if (names(body, account) || equalBytes(id, account)) {
        found.push({ index: i0 + at, height, type: body.t, transactionId: toHex(id) })
      }
    }
    if (found.length >= foundMax) break
  }
  return { transactions: found, next: next > 0 ? next : null }
}

async function pageOf(reader: ChainReader, before: number, limit: number): Promise<Record<string, unknown>[]> {
  const blocks: Record<string, unknown>[] = []
  for await (const block of blocksDown(reader, before)) {
    blocks.push(summaryOf(block))
    if (blocks.length >= limit) break
  }
  return blocks
}

const uint = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER }
const pageQuery = {
  type: 'object',
  properties: {
    before: { ...uint, default: Number.MAX_SAFE_INTEGER },
    limit: { type: 'integer', minimum: 1, maximum: pageMax, default: 100 },
  },
}
const accountParams = {
  type: 'object',
  required: ['account'],
  properties: { account: { type: 'string', pattern: '^[0-9a-f]{64}$' } },
}
const beforeQuery = { type: 'object', properties: { before: uint } }

/** Adds `/v1/<chain>/summaries`, `/v1/<chain>/places/:index` and `/v1/<chain>/accounts/:account/transactions`. */
export function addExplorerRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  const tags = ['explorer']
  const onRequest = access.memberOrAdministrator
  for (const chain of chainNames) {
    const { reader, core } = node.chains[chain]
    app.get<{ Querystring: { before: number; limit: number } }>(
      `/v1/${chain}/summaries`,
      { schema: { tags, summary: 'blocks in short, newest first', querystring: pageQuery }, onRequest },
      async (request) => {
        const { before, limit } = request.query
        const { published } = reader
        return {
          height: published?.height ?? null,
          size: published?.size ?? null,
          blocks: await pageOf(reader, before, limit),
        }
      },
    )
    const heightParams = { type: 'object', required: ['height'], properties: { height: uint } }
    app.get<{ Params: { height: number } }>(
      `/v1/${chain}/summaries/:height`,
      { schema: { tags, summary: 'a block in short', params: heightParams }, onRequest },
      async (request) => summaryOf(await reader.block(request.params.height)),
    )
    const indexParams = { type: 'object', required: ['index'], properties: { index: uint } }
    app.get<{ Params: { index: number } }>(
      `/v1/${chain}/places/:index`,
      { schema: { tags, summary: 'the block that holds an index', params: indexParams }, onRequest },
      async (request) => {
        const leaf = await reader.entry(request.params.index)
        const kind = leafKind(leaf)
        const id = kind === 'seal' ? null : toHex(core.ledger.transactionId(chain, parseTransactionLeaf(leaf)))
        return { index: request.params.index, height: reader.heightOf(request.params.index), kind, transactionId: id }
      },
    )
    app.get<{ Params: { account: string }; Querystring: { before?: number } }>(
      `/v1/${chain}/accounts/:account/transactions`,
      {
        schema: { tags, summary: 'what names an account', params: accountParams, querystring: beforeQuery },
        onRequest,
      },
      (request) => findAccount(node, { chain, account: fromHex(request.params.account), before: request.query.before }),
    )
  }
}
