/** Successions: which ledger this one carries on, and which one carries it on (SPEC.md §1, §6). */

import { chainNames } from '@healthblock/chain/chains'
import { fromBase64, toBase64, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { administered } from '../events.ts'
import type { AccountingNode } from '../node.ts'
import { type KeptSuccession, successionSizeBytesMax } from '../successions.ts'

function successionJson({ prior, successor, bytes }: KeptSuccession): Record<string, unknown> {
  return { prior: toHex(prior.ledgerId), successor: toHex(successor.ledgerId), succession: toBase64(bytes) }
}

const body = {
  type: 'object',
  properties: {
    succession: { type: 'string', minLength: 4, maxLength: Math.ceil(successionSizeBytesMax / 3) * 4 },
  },
  required: ['succession'],
  additionalProperties: false,
}

/** Adds `/v1/successions`. The approvals inside are the credential. */
export function addSuccessionRoutes(app: FastifyInstance, node: AccountingNode): void {
  app.get('/v1/successions', { schema: { tags: ['log'], summary: 'ledgers before and after this one' } }, (_, reply) =>
    reply.header('cache-control', 'no-store').send(node.successions.list().map(successionJson)),
  )
  app.post<{ Body: { succession: string } }>(
    '/v1/successions',
    { bodyLimit: 2 * successionSizeBytesMax, schema: { tags: ['log'], summary: 'end this ledger', body } },
    async (request) => {
      const heads = chainNames.flatMap((chain) => {
        const { published } = node.chains[chain].reader
        return published === undefined ? [] : [{ chain, size: published.size, root: published.root }]
      })
      const kept = node.successions.take(fromBase64(request.body.succession), heads)
      administered(node.logger, { act: 'succession', transactionId: toHex(kept.successor.ledgerId) })
      return successionJson(kept)
    },
  )
}
