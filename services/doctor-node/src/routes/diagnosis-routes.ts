import type { SequenceRange } from '@healthblock/chain/transaction'
import { fromHex, toBase64 } from '@healthblock/encoding/bytes'
import { createProblem, type FastifyInstance, type FastifyReply } from '@healthblock/runtime/http-app'
import { readStatement } from '@healthblock/runtime/ledger-client'
import { DoctorNodeError, statusOfCode } from '../errors.ts'
import type { AmendAct, Posted } from '../posting/by-hand.ts'
import { exportDiagnosis } from '../reading/fhir.ts'
import { findDiagnosis, listDiagnoses, refusalView } from '../reading/lists.ts'
import type { Services } from '../services.ts'
import { diagnosesQuery, hex32, patientBody } from './schemas.ts'

const sequence = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER } as const
const rangeSchema = {
  type: 'object',
  required: ['stream', 'from', 'to'],
  additionalProperties: false,
  properties: { stream: { type: 'string', pattern: '^[0-9a-f]{16}$' }, from: sequence, to: sequence },
} as const
const textBytesMax = 4_000
const diagnosesPage = 200
const idParams = { type: 'object', required: ['id'], properties: { id: hex32 } } as const

interface DiagnosesQuery {
  readonly patient?: string
  readonly refused?: boolean
  readonly before?: string
  readonly limit?: number
}

/** Answers 201, or 409 with the ledger's signed refusal. */
async function answer(reply: FastifyReply, work: Promise<Posted>): Promise<unknown> {
  try {
    const posted = await work
    void reply.code(201)
    return posted
  } catch (error) {
    if (!(error instanceof DoctorNodeError) || error.detail.code !== 'ERR_REFUSED') throw error
    const { code, entry } = error.detail
    const status = statusOfCode[code]
    const problem = createProblem({ status, code, detail: error.message })
    const refused = refusalView(entry.refusal) ?? { rule: entry.rule ?? 'unknown' }
    void reply.code(status).type('application/problem+json')
    const statement =
      entry.refusal instanceof Uint8Array ? { statement: toBase64(readStatement(entry.refusal).statement) } : {}
    return JSON.stringify({ ...problem, transactionId: entry.id, refused, ...statement })
  }
}

/** Diagnoses: the machine's and the doctor's own. */
export function registerDiagnosisRoutes(app: FastifyInstance, services: Services): void {
  const { byHand } = services

  app.get('/v1/diagnoses', { schema: { querystring: diagnosesQuery } }, async (request) => {
    const { patient, refused, before, limit } = request.query as DiagnosesQuery
    if (services.identity.doctor === undefined) return []
    return listDiagnoses(services, {
      ...{ isRefused: refused, limit: limit ?? diagnosesPage },
      patient: patient === undefined ? undefined : fromHex(patient),
      before: before === undefined ? undefined : fromHex(before),
    })
  })

  app.post(
    '/v1/diagnoses',
    {
      schema: {
        body: {
          type: 'object',
          required: ['patient', 'in', 'text'],
          additionalProperties: false,
          properties: {
            patient: hex32,
            in: { type: 'array', minItems: 1, maxItems: 16, items: rangeSchema },
            text: { type: 'string', minLength: 1, maxLength: textBytesMax },
          },
        },
      },
    },
    async (request, reply) => {
      const body = request.body as {
        patient: string
        in: { stream: string; from: number; to: number }[]
        text: string
      }
      const inputs = body.in.map(({ stream, from, to }): SequenceRange => [fromHex(stream), from, to])
      return answer(reply, byHand.diagnose({ patient: fromHex(body.patient), inputs, text: body.text }))
    },
  )

  app.post('/v1/diagnoses/request', { schema: { body: patientBody } }, async (request, reply) => {
    services.judge.request(fromHex((request.body as { patient: string }).patient))
    services.wake()
    void reply.code(202)
    return { requested: true }
  })

  registerOneDiagnosis(app, services)
}

/** One diagnosis: as FHIR, and what the doctor says of it. */
function registerOneDiagnosis(app: FastifyInstance, services: Services): void {
  const { byHand } = services

  app.get('/v1/diagnoses/:id', { schema: { params: idParams } }, async (request) => {
    const { id } = request.params as { id: string }
    const found = services.identity.doctor === undefined ? undefined : await findDiagnosis(services, fromHex(id))
    if (found === undefined)
      throw new DoctorNodeError('there is no such diagnosis', { code: 'ERR_DIAGNOSIS_UNKNOWN', diagnosis: id })
    return found
  })

  app.get('/v1/diagnoses/:id/fhir', { schema: { params: idParams } }, async (request, reply) => {
    const bundle = await exportDiagnosis(services, fromHex((request.params as { id: string }).id))
    void reply.type('application/fhir+json')
    return JSON.stringify(bundle)
  })

  app.post(
    '/v1/diagnoses/:id/amend',
    {
      schema: {
        params: idParams,
        body: {
          type: 'object',
          required: ['act'],
          additionalProperties: false,
          properties: {
            act: { type: 'string', enum: ['sign', 'correct', 'withdraw'] },
            text: { type: 'string', maxLength: textBytesMax },
          },
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params as { id: string }
      const { act, text } = request.body as { act: AmendAct; text?: string }
      return answer(reply, byHand.amend({ of: fromHex(id), act, text: text ?? '' }))
    },
  )
}
