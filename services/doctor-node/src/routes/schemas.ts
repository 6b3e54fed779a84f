/** JSON schemas that several routes use. */
export const hex32 = { type: 'string', pattern: '^[0-9a-f]{64}$' } as const

/** `?patient=`, an account. */
export const patientQuery = {
  type: 'object',
  additionalProperties: false,
  properties: { patient: hex32 },
} as const

/** Which diagnoses, and how many. */
export const diagnosesQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    patient: hex32,
    refused: { type: 'boolean' },
    before: hex32,
    limit: { type: 'integer', minimum: 1, maximum: 1000 },
  },
} as const

/** A body with the patient alone. */
export const patientBody = {
  type: 'object',
  required: ['patient'],
  additionalProperties: false,
  properties: { patient: hex32 },
} as const
