import { defaultParameters } from '@healthblock/diagnosis/diagnose'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { DoctorNodeError } from '../errors.ts'
import type { LimitChange } from '../judging/patient-limits.ts'
import type { Services } from '../services.ts'
import { hex32 } from './schemas.ts'

const params = { type: 'object', required: ['patient'], properties: { patient: hex32 } } as const
const limit = { anyOf: [{ type: 'integer' }, { type: 'null' }] } as const
const body = {
  type: 'object',
  minProperties: 1,
  additionalProperties: false,
  properties: Object.fromEntries(Object.keys(defaultParameters).map((field) => [field, limit])),
} as const

/** Limits of a patient, as the doctor sets them. */
export function registerLimitRoutes(app: FastifyInstance, services: Services): void {
  const { grants, limits, judge, wake } = services

  const patientOf = (request: { params: unknown }): Uint8Array => {
    const patient = fromHex((request.params as { patient: string }).patient)
    if (grants.all(patient).length === 0)
      throw new DoctorNodeError('this patient never gave access', {
        code: 'ERR_PATIENT_UNKNOWN',
        patient: toHex(patient),
      })
    return patient
  }

  app.get('/v1/patients/:patient/limits', { schema: { params } }, async (request) => ({
    limits: limits.of(patientOf(request)),
    defaults: defaultParameters,
  }))

  app.put('/v1/patients/:patient/limits', { schema: { params, body } }, async (request) => {
    const patient = patientOf(request)
    const { limits: own, hasChanged } = limits.change(patient, request.body as LimitChange)
    if (hasChanged) {
      judge.restart(patient)
      wake()
    }
    return { limits: own, defaults: defaultParameters }
  })
}
