/** Records of the state with their proofs, now and as they were (SPEC.md §1). */

import { chainNames } from '@healthblock/chain/chains'
import { fromBase64Url, toBase64, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { AccountingError } from '../errors.ts'
import type { AccountingNode, ChainParts } from '../node.ts'
import type { ProvedState } from '../reading/state-query.ts'
import type { Access } from './access.ts'

/** A record as it is answered. */
function answerOf(found: ProvedState): Record<string, unknown> {
  const { siblings, leaf } = found.proof
  const value = found.value === undefined ? null : toBase64(found.value)
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
}

interface StateQuestion {
  readonly key: string
  readonly height?: number
  readonly index?: number
}

const position = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER }
const querystring = {
  type: 'object',
  properties: { key: { type: 'string', minLength: 1, maxLength: 512 }, height: position, index: position },
  required: ['key'],
}

/** The block after which the state is wanted; undefined: the newest. */
function heightOf({ reader }: ChainParts, { height, index }: StateQuestion): number | undefined {
  if (index === undefined) return height
  const found = reader.heightOf(index)
  if (found !== undefined) return found
  throw new AccountingError(`no published leaf has index ${index}`, { code: 'ERR_NOT_PUBLISHED', what: 'leaf' })
}

/** Adds `GET /v1/<chain>/state`. */
export function addStateRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  for (const chain of chainNames) {
    const parts = node.chains[chain]
    app.get<{ Querystring: StateQuestion }>(
      `/v1/${chain}/state`,
      { schema: { tags: ['state'], summary: 'a record and its proof', querystring }, onRequest: access.member },
      async (request, reply) => {
        const key = fromBase64Url(request.query.key)
        // Refused unless it is canonical CBOR: whatever else it were, it could be no key.
        decodeCbor(key)
        void reply.header('cache-control', 'no-store')
        const height = heightOf(parts, request.query)
        const found = await (height === undefined ? parts.state.get(key) : parts.state.getAt(key, height))
        if (!('executed' in found)) return answerOf(found)
        return reply.code(202).send({ executed: found.executed, height })
      },
    )
  }
}
