/** Submission, answers and receipts (SPEC.md §1). */

import { chainNames } from '@healthblock/chain/chains'
import { parseStatement, ruleOfText } from '@healthblock/chain/statement'
import { fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { sourceOf } from '@healthblock/runtime/client-source'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { AccountingError } from '../errors.ts'
import type { Answer } from '../gateway/answer.ts'
import type { Signed } from '../gateway/outbox.ts'
import { RefusalLimit } from '../gateway/refusal-limit.ts'
import { submissionSizeBytesMax, submissionTransactionsMax } from '../gateway/submission.ts'
import type { AccountingNode } from '../node.ts'
import type { Access } from './access.ts'

const waitMsMax = 30_000
const idPattern = '^[0-9a-f]{64}$'

function signedPair({ statement, signature }: Signed): CborValue {
  return [decodeCbor(statement), signature]
}

function answerTuple(answer: Answer): CborValue {
  switch (answer.status) {
    case 'unknown':
      return [0]
    case 'pending':
      return [1]
    case 'committed':
      return [2, answer.index, answer.height, answer.size]
    case 'refused':
      return [3, decodeCbor(answer.signed.statement), answer.signed.signature]
    case 'deferred':
      return [4, decodeCbor(answer.signed.statement), answer.signed.signature]
  }
}

function invalid(field: string, reason: string): AccountingError {
  return new AccountingError(`${field} ${reason}`, { code: 'ERR_SEQUENCE_INVALID', field, reason })
}

function parseQuestion(body: Uint8Array): { ids: Uint8Array[]; waitMs: number } {
  const value = decodeCbor(body)
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) {
    throw invalid('body', 'must be a map')
  }
  const { txs, waitms, ...rest } = value
  if (Object.keys(rest).length > 0) throw invalid(Object.keys(rest)[0] as string, 'is not known')
  if (!Array.isArray(txs) || txs.length === 0 || txs.length > submissionTransactionsMax) {
    throw invalid('txs', `must hold 1 to ${submissionTransactionsMax} ids`)
  }
  const ids = txs.map((id) => {
    if (!(id instanceof Uint8Array) || id.length !== 32) throw invalid('txs', 'must hold ids of 32 bytes')
    return id
  })
  if (typeof waitms !== 'number' || waitms > waitMsMax) throw invalid('waitms', `must be from 0 to ${waitMsMax}`)
  return { ids, waitMs: waitms }
}

function statusJson(answer: Answer): Record<string, unknown> {
  if (answer.status === 'refused') {
    const { rule, height, st } = parseStatement('refused', answer.signed.statement)
    return {
      status: 'refused',
      rule: ruleOfText(rule),
      height,
      stateRoot: toHex(st),
      evidence: evidence(answer.signed),
    }
  }
  if (answer.status === 'deferred') {
    const { missing, height } = parseStatement('deferred', answer.signed.statement)
    return { status: 'deferred', missing, height, evidence: evidence(answer.signed) }
  }
  return { ...answer }
}

/** base64 of canonical CBOR `[statement, signature]`. */
function evidence(signed: Signed): string {
  return toBase64(encodeCbor(signedPair(signed)))
}

/** A ledger that another one carries on takes nothing more. */
function checkOpen(node: AccountingNode): void {
  const ended = node.successions.endedBy
  if (ended === undefined) return
  const successor = toHex(ended.successor.ledgerId)
  throw new AccountingError(`this ledger has ended: ledger ${successor} carries it on`, {
    code: 'ERR_LEDGER_ENDED',
    successor,
  })
}

/** Adds `/v1/<chain>/transactions…` and `/v1/<chain>/answers`. */
export function addTransactionRoutes(
  app: FastifyInstance,
  node: AccountingNode,
  access: Access,
  stopping: AbortSignal,
): void {
  const params = { type: 'object', properties: { id: { type: 'string', pattern: idPattern } }, required: ['id'] }
  const refusals = new RefusalLimit(() => performance.now())
  for (const chain of chainNames) {
    const { gateway } = node.chains[chain]
    app.post<{ Body: Buffer }>(
      `/v1/${chain}/transactions`,
      {
        bodyLimit: submissionSizeBytesMax,
        schema: { tags: ['transactions'], summary: 'submit', consumes: ['application/cbor-seq'] },
      },
      async (request, reply) => {
        if (!(request.body instanceof Uint8Array)) throw invalid('body', 'must be application/cbor-seq')
        checkOpen(node)
        const source = sourceOf(request.ip)
        refusals.check(source)
        const { promise, refused } = await gateway.submit(new Uint8Array(request.body))
        refusals.count(source, refused.length)
        const list = refused.map(signedPair)
        const body = encodeCbor(
          promise === undefined ? { refused: list } : { promise: signedPair(promise), refused: list },
        )
        return reply
          .code(promise === undefined ? 422 : 202)
          .type('application/cbor')
          .send(Buffer.from(body))
      },
    )
    app.post<{ Body: Buffer }>(
      `/v1/${chain}/answers`,
      { bodyLimit: 16_384, schema: { tags: ['transactions'], summary: 'answers', consumes: ['application/cbor'] } },
      async (request, reply) => {
        if (!(request.body instanceof Uint8Array)) throw invalid('body', 'must be application/cbor')
        const { ids, waitMs } = parseQuestion(new Uint8Array(request.body))
        const gone = new AbortController()
        // With a reason of its own no error is made for each answer.
        reply.raw.once('close', () => gone.abort('gone'))
        const answers = await gateway.answers(ids, waitMs, [gone.signal, stopping])
        return reply.type('application/cbor').send(Buffer.from(encodeCbor(answers.map(answerTuple))))
      },
    )
    app.get<{ Params: { id: string } }>(
      `/v1/${chain}/transactions/:id`,
      { schema: { tags: ['transactions'], summary: 'status', params }, onRequest: access.member },
      async (request) => statusJson(gateway.answer(fromHex(request.params.id))),
    )
    app.get<{ Params: { id: string } }>(
      `/v1/${chain}/transactions/:id/receipt`,
      { schema: { tags: ['transactions'], summary: 'receipt', params } },
      async (request, reply) => {
        const file = await node.receipts.receipt(chain, fromHex(request.params.id))
        return reply.type('application/json; charset=utf-8').header('cache-control', 'no-store').send(Buffer.from(file))
      },
    )
  }
}
