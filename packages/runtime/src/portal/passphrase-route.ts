/** Changing one's own passphrase: the same route at every node, whoever keeps it. */
import { RuntimeError } from '../errors.ts'
import type { FastifyInstance, FastifyRequest } from '../http/http-app.ts'
import { evidenceProperties } from './second-factor-routes.ts'

/** Fewest characters of a passphrase, after normalisation. */
const lengthMin = 8

const body = {
  type: 'object',
  required: ['passphrase', 'newPassphrase'],
  additionalProperties: false,
  properties: {
    passphrase: { type: 'string', minLength: 1, maxLength: 1024 },
    newPassphrase: { type: 'string', minLength: lengthMin, maxLength: 1024 },
    ...evidenceProperties,
  },
}

/** The old passphrase and the new one. */
export interface PassphraseChange {
  readonly passphrase: string
  readonly newPassphrase: string
}

/**
 * Adds `POST PATH` `{passphrase, newPassphrase, code?, key?}`, 204.
 *
 * @param options - `demandSession`: throws for who is not logged in; `change`: does it, durably.
 */
export function addPassphraseRoute(
  app: FastifyInstance,
  options: {
    path: string
    params?: object
    demandSession: (request: FastifyRequest) => void
    change: (request: FastifyRequest, change: PassphraseChange) => Promise<void>
  },
): void {
  const { path, params, demandSession, change } = options
  const schema = { tags: ['portal'], summary: 'another passphrase', body, ...(params === undefined ? {} : { params }) }
  // Whoever has no session learns nothing, not even what a body should look like.
  const onRequest = async (request: FastifyRequest): Promise<void> => demandSession(request)
  app.post<{ Body: PassphraseChange }>(path, { schema, onRequest }, async (request, reply) => {
    const { passphrase, newPassphrase } = request.body
    if ([...newPassphrase.normalize('NFKC')].length < lengthMin) {
      const reason = `shorter than ${lengthMin} characters`
      const detail = { code: 'ERR_REQUEST_INVALID', field: 'body/newPassphrase', reason } as const
      throw new RuntimeError(`a passphrase has at least ${lengthMin} characters`, detail)
    }
    await change(request, { passphrase, newPassphrase })
    return reply.code(204).send()
  })
}
