import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { type AlarmAct, alarmActs } from '../judging/alarms.ts'
import type { Services } from '../services.ts'
import type { Access } from './access.ts'

const params = { type: 'object', required: ['id'], properties: { id: { type: 'integer', minimum: 1 } } } as const
const openQuery = {
  type: 'object',
  additionalProperties: false,
  properties: { open: { type: 'boolean', default: false } },
} as const
const snoozeBody = {
  type: 'object',
  required: ['minutes'],
  additionalProperties: false,
  properties: { minutes: { type: 'integer', minimum: 1, maximum: 240 } },
} as const

const undoBody = {
  type: 'object',
  required: ['act'],
  additionalProperties: false,
  properties: { act: { type: 'string', enum: alarmActs } },
} as const

/** The worklist: alarms, and what somebody did about them (SPEC.md §5). */
export function registerAlarmRoutes(app: FastifyInstance, services: Services, access: Access): void {
  const { alarms } = services
  const idOf = (request: { params: unknown }): number => (request.params as { id: number }).id

  app.get('/v1/alarms', { schema: { querystring: openQuery } }, async (request) => {
    await services.alarmSentences.recall()
    return alarms.list((request.query as { open: boolean }).open)
  })

  app.post('/v1/alarms/:id/acknowledge', { schema: { params } }, async (request) =>
    alarms.acknowledge(idOf(request), access.nameOf(request)),
  )

  app.post('/v1/alarms/:id/escalate', { schema: { params } }, async (request) =>
    alarms.escalate(idOf(request), access.nameOf(request)),
  )

  app.post('/v1/alarms/:id/snooze', { schema: { params, body: snoozeBody } }, async (request) =>
    alarms.snooze(idOf(request), (request.body as { minutes: number }).minutes, access.nameOf(request)),
  )

  app.post('/v1/alarms/:id/undo', { schema: { params, body: undoBody } }, async (request) =>
    alarms.undo(idOf(request), (request.body as { act: AlarmAct }).act, access.nameOf(request)),
  )

  app.post('/v1/alarms/:id/reopen', { schema: { params } }, async (request) => alarms.reopen(idOf(request)))
}
