/** Records of the state with their proofs (SPEC.md §1). */

import { chainNames } from '@healthblock/chain/chains'
import { fromBase64Url, toBase64, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { AccountingNode } from '../node.ts'
import type { Access } from './access.ts'

/** Adds `GET /v1/<chain>/state`. */
export function addStateRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  const querystring = {
    type: 'object',
    properties: { key: { type: 'string', minLength: 1, maxLength: 512 } },
    required: ['key'],
  }
  for (const chain of chainNames) {
    app.get<{ Querystring: { key: string } }>(
      `/v1/${chain}/state`,
      { schema: { tags: ['state'], summary: 'a record and its proof', querystring }, onRequest: access.member },
      async (request, reply) => {
        const key = fromBase64Url(request.query.key)
        // Refused unless it is canonical CBOR: whatever else it were, it could be no key.
        decodeCbor(key)
        const found = await node.chains[chain].state.get(key)
        const { siblings, leaf } = found.proof
        const value = found.value === undefined ? null : toBase64(found.value)
        void reply.header('cache-control', 'no-store')
        return {
          height: found.height,
          size: found.size,
          root: toHex(found.root),
          value,
          proof: {
            key: toBase64(found.key),
            leaf: leaf === undefined ? null : [toBase64(leaf.pathHash), toBase64(leaf.valueHash)],
            siblings: siblings.map(toBase64),
            value,
          },
          seal: toBase64(found.sealLeaf),
          inclusion: found.inclusion,
        }
      },
    )
  }
}
