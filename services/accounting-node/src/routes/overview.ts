/** How the nodes stand, and what an open page hears (SPEC.md §1). */
import { sendEvents } from '@healthblock/runtime/event-stream'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { AccountingError } from '../errors.ts'
import type { AccountingNode } from '../node.ts'
import type { PortalEvent } from '../overview/portal-events.ts'
import type { Access } from './access.ts'

/** Most pages that listen at one time. */
const streamsMax = 64

/** Adds `/v1/nodes` and `/v1/events`. */
export function addOverviewRoutes(
  app: FastifyInstance,
  node: AccountingNode,
  access: Access,
  stopping: AbortSignal,
): void {
  app.get(
    '/v1/nodes',
    { schema: { tags: ['overview'], summary: 'every node as this one sees it' }, onRequest: access.person },
    async (_, reply) => {
      void reply.header('cache-control', 'no-store')
      return node.look.look()
    },
  )
  let streams = 0
  app.get(
    '/v1/events',
    { schema: { tags: ['overview'], summary: 'what changes, as server-sent events' }, onRequest: access.person },
    (request, reply) => {
      if (streams >= streamsMax) {
        throw new AccountingError('too many pages listen', { code: 'ERR_STATE_BUSY', retryAfterMs: 5_000 })
      }
      const end = access.sessionOf(request)?.end
      sendEvents<PortalEvent>(reply, {
        stopping: end === undefined ? stopping : AbortSignal.any([stopping, end]),
        listen: (send) => {
          streams++
          const stop = node.events.listen(send)
          let isOpen = true
          return () => {
            if (isOpen) streams--
            isOpen = false
            stop()
          }
        },
      })
    },
  )
}
