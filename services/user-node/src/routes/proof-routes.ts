import { fromHex, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance, FastifyReply } from '@healthblock/runtime/http-app'
import { UserNodeError } from '../errors.ts'
import type { Services } from '../services.ts'

const params = {
  type: 'object',
  required: ['p', 'id'],
  properties: {
    p: { type: 'string', minLength: 1, maxLength: 64 },
    id: { type: 'string', pattern: '^[0-9a-f]{64}$' },
  },
} as const

/** Proofs go out as bytes: whoever gets them checks them. */
function sendBytes(reply: FastifyReply, bytes: Uint8Array, file: { name: string; type: string }): FastifyReply {
  return reply
    .header('cache-control', 'private, no-store')
    .header('content-disposition', `attachment; filename="${file.name}"`)
    .type(file.type)
    .send(Buffer.from(bytes))
}

/** The receipts of a person's transactions, and the genesis file by which they are checked. */
export function registerProofRoutes(app: FastifyInstance, services: Services): void {
  const { access, receipts, genesis, ledger } = services

  app.get('/v1/genesis', async (request, reply) => {
    access.requireSession(request)
    const name = `genesis-${toHex(ledger.ledgerId).slice(0, 8)}.cbor`
    return sendBytes(reply, genesis, { name, type: 'application/octet-stream' })
  })

  app.get('/v1/people/:p/receipts/:id', { schema: { params } }, async (request, reply) => {
    const { person } = access.requireSession(request)
    const { id } = request.params as { id: string }
    const receipt = await receipts.find(person, fromHex(id))
    if (receipt === undefined)
      throw new UserNodeError('there is no receipt of that id yet', { code: 'ERR_TRANSACTION_UNKNOWN', id })
    return sendBytes(reply, receipt, { name: `receipt-${id.slice(0, 8)}.json`, type: 'application/json' })
  })
}
