/** The people of this organisation, as its administrators see them: pseudonym, status, licence (SPEC.md §1). */
import { userTables } from '@healthblock/chain/tables'
import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import type { AccountingNode } from '../node.ts'
import type { Access } from './access.ts'

/** Most people of one answer. */
const peopleMax = 200

const querystring = {
  type: 'object',
  properties: { find: { type: 'string', maxLength: 128, default: '' } },
}

/** Adds `GET /v1/people`. */
export function addPeopleRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  app.get<{ Querystring: { find: string } }>(
    '/v1/people',
    {
      schema: { tags: ['administration'], summary: 'cards with their standing on record', querystring },
      onRequest: access.administrator,
    },
    async (request, reply) => {
      void reply.header('cache-control', 'no-store')
      const find = request.query.find.normalize('NFKC').toLocaleLowerCase()
      const state = node.chains.userchain.core.ledger.state('userchain')
      const cards = node.directory
        .list()
        .filter(({ name, account }) => name.toLocaleLowerCase().includes(find) || toHex(account).startsWith(find))
      const people = cards.slice(0, peopleMax).map(({ name, account, role }) => {
        const k = userTables.licenceHead.get(state, account)
        const licence = k === undefined ? undefined : userTables.licence.get(state, account, k)
        return {
          ...{ name, account: toHex(account), role },
          isOnRecord: userTables.account.get(state, account) !== undefined,
          licence: licence === undefined ? null : { state: licence.state, from: licence.from, to: licence.to },
        }
      })
      return { organisation: toHex(node.organisation.account), people, count: cards.length }
    },
  )
}
