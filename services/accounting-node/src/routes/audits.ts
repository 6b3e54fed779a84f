/** Audits that this node runs for its people (SPEC.md §1). */
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { AuditRecord } from '../audits/audit-book.ts'
import type { AuditDesk } from '../audits/audit-desk.ts'
import { AccountingError } from '../errors.ts'
import type { AccountingNode } from '../node.ts'
import type { Access } from './access.ts'

const pageMax = 50

/** A record in a list: counts instead of what is long. */
function summaryJson(record: AuditRecord): Record<string, unknown> {
  const { report, findings, ...rest } = record
  return {
    ...rest,
    findings: report?.findings.length ?? findings.length,
    notChecked: report?.notChecked.length ?? null,
    transactions: report?.transactions ?? null,
    seconds: report?.seconds ?? null,
    chains: report?.chains ?? null,
  }
}

function wholeJson(audits: AuditDesk, number: number): Record<string, unknown> {
  const record = audits.get(number)
  if (record === undefined) {
    throw new AccountingError(`there is no audit ${number}`, { code: 'ERR_AUDIT_ABSENT', number })
  }
  return { ...record, progress: audits.progressOf(number) ?? null }
}

const startBody = {
  type: 'object',
  properties: { fromBeginning: { type: 'boolean', default: true } },
  additionalProperties: false,
}
const watchBody = {
  type: 'object',
  required: ['on'],
  properties: { on: { type: 'boolean' } },
  additionalProperties: false,
}
const listQuery = {
  type: 'object',
  properties: { before: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER } },
}
const params = {
  type: 'object',
  required: ['number'],
  properties: { number: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER } },
}

/** Adds `/v1/audits…`. */
export function addAuditRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  const { audits } = node
  const tags = ['audits']
  const onRequest = access.person
  app.get<{ Querystring: { before?: number } }>(
    '/v1/audits',
    { schema: { tags, summary: 'audits, newest first', querystring: listQuery }, onRequest },
    async (request, reply) => {
      void reply.header('cache-control', 'no-store')
      const found = audits.list(pageMax + 1, request.query.before)
      const { runningNumber, watchNumber } = audits
      return {
        running: runningNumber === undefined ? null : wholeJson(audits, runningNumber),
        watch: watchNumber === undefined ? null : wholeJson(audits, watchNumber),
        audits: found.slice(0, pageMax).map(summaryJson),
        next: found.length > pageMax ? (found[pageMax - 1]?.number ?? null) : null,
      }
    },
  )
  app.get<{ Params: { number: number } }>(
    '/v1/audits/:number',
    { schema: { tags, summary: 'an audit with its report', params }, onRequest },
    async (request, reply) => {
      void reply.header('cache-control', 'no-store')
      return wholeJson(audits, request.params.number)
    },
  )
  app.post<{ Body: { fromBeginning: boolean } }>(
    '/v1/audits',
    { schema: { tags, summary: 'begin an audit', body: startBody }, onRequest },
    async (request, reply) => {
      const record = await audits.begin(access.nameOf(request), request.body.fromBeginning)
      return reply.code(202).send(summaryJson(record))
    },
  )
  app.post(
    '/v1/audits/cancel',
    { schema: { tags, summary: 'end the audit that runs' }, onRequest },
    async (_, reply) => {
      await audits.cancel()
      return reply.code(204).send()
    },
  )
  app.put<{ Body: { on: boolean } }>(
    '/v1/audits/watch',
    { schema: { tags, summary: 'the standing watch, on or off', body: watchBody }, onRequest },
    async (request, reply) => {
      await audits.setWatch(request.body.on, access.nameOf(request))
      return reply.code(204).send()
    },
  )
}
