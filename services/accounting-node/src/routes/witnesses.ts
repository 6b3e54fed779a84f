/** Which witnesses this node asks, and what they cosigned (SPEC.md §1, §7). */
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { AccountingNode } from '../node.ts'
import type { WitnessProgress, WitnessStatus } from '../witness/witnesses.ts'
import type { Access } from './access.ts'

function progressJson({ cosigned, fault }: WitnessProgress): Record<string, unknown> {
  return { size: cosigned?.size ?? null, ms: cosigned?.ms ?? null, fault: fault ?? null }
}

function witnessJson({ name, vkey, url, userchain, docchain }: WitnessStatus): Record<string, unknown> {
  return { name, vkey, url, userchain: progressJson(userchain), docchain: progressJson(docchain) }
}

const addBody = {
  type: 'object',
  properties: { url: { type: 'string', maxLength: 2048 }, vkey: { type: 'string', maxLength: 1024 } },
  required: ['url', 'vkey'],
  additionalProperties: false,
}
const removeBody = {
  type: 'object',
  properties: { name: { type: 'string', minLength: 1, maxLength: 1024 } },
  required: ['name'],
  additionalProperties: false,
}

/** Adds `/v1/witnesses` and `/v1/witnesses/remove`. */
export function addWitnessRoutes(app: FastifyInstance, { witnesses }: AccountingNode, access: Access): void {
  const tags = ['administration']
  app.get(
    '/v1/witnesses',
    { schema: { tags, summary: 'witnesses that this node asks' }, onRequest: access.memberOrAdministrator },
    (_, reply) => reply.header('cache-control', 'no-store').send(witnesses.list().map(witnessJson)),
  )
  app.post<{ Body: { url: string; vkey: string } }>(
    '/v1/witnesses',
    { schema: { tags, summary: 'ask a witness', body: addBody }, onRequest: access.administrator },
    async ({ body }) => witnessJson(witnesses.add(body)),
  )
  app.post<{ Body: { name: string } }>(
    '/v1/witnesses/remove',
    { schema: { tags, summary: 'ask a witness no more', body: removeBody }, onRequest: access.administrator },
    async ({ body }) => witnessJson(witnesses.remove(body.name)),
  )
}
