import { fromBase64, fromHex, toBase58, toBase64, toHex } from '@healthblock/encoding/bytes'
import { sourceOf } from '@healthblock/runtime/client-source'
import type { FastifyInstance, FastifyRequest } from '@healthblock/runtime/http-app'
import type { Services } from '../services.ts'

const hex32 = { type: 'string', pattern: '^[0-9a-f]{64}$' } as const
const personParams = {
  type: 'object',
  required: ['p'],
  properties: { p: { type: 'string', minLength: 1, maxLength: 64 } },
} as const

/** `did:key` of an Ed25519 public key: multibase base58btc of multicodec 0xed01 and the key. */
function didOf(publicKey: Uint8Array): string {
  return `did:key:z${toBase58(Uint8Array.of(0xed, 0x01, ...publicKey))}`
}

/** People of the household: enrolment, and the credential of a person's device. */
export function registerPeopleRoutes(app: FastifyInstance, services: Services): void {
  const { access, people, store, ledger, switches } = services

  app.post(
    '/v1/people',
    {
      schema: {
        body: {
          type: 'object',
          required: ['name', 'passphrase', 'sponsor'],
          additionalProperties: false,
          properties: {
            name: { type: 'string', minLength: 1, maxLength: 64 },
            passphrase: { type: 'string', minLength: 8, maxLength: 1024 },
            sponsor: hex32,
          },
        },
      },
      onRequest: async (request) => access.requireApiSecret(request),
    },
    async (request, reply) => {
      const { name, passphrase, sponsor } = request.body as { name: string; passphrase: string; sponsor: string }
      const existing = store.all().find((person) => person.name === name)
      if (existing !== undefined && existing.state === 'pending') {
        // An enrolment that was interrupted goes on with the same account; its phrase was shown when it was made.
        return { account: existing.id, body: toBase64(people.registerBodyOf(existing)), recoveryPhrase: '' }
      }
      const made = await people.create({ name, passphrase, sponsor: fromHex(sponsor) })
      void reply.code(201)
      return { account: made.person.id, body: toBase64(made.body), recoveryPhrase: made.recoveryPhrase }
    },
  )

  registerConfirmation(app, services)
  registerDevices(app, services)

  app.get('/v1/people', { onRequest: async (request) => access.requireApiSecret(request) }, async () =>
    store.all().map((person) => ({
      name: person.name,
      account: person.id,
      did: didOf(person.opKey.publicKey),
      state: person.state === 'live' ? 'live' : 'pending',
    })),
  )

  app.get('/v1/people/:p/device', { schema: { params: personParams } }, async (request) => {
    const { person } = access.requireSession(request)
    return {
      device: toHex(person.device),
      credential: people.deviceCredential(person),
      streams: Object.fromEntries(person.streams.map(({ kind, stream }) => [kind, toHex(stream)])),
      ledger: toHex(ledger.ledgerId),
      switchedOn: switches.list(person),
    }
  })
}

const deviceParams = {
  type: 'object',
  required: ['p', 'device'],
  properties: { ...personParams.properties, device: { type: 'string', pattern: '^[0-9a-f]{32}$' } },
} as const

/** Her devices on the ledger. Removing one gives nobody anything: a second factor is not asked for. */
function registerDevices(app: FastifyInstance, services: Services): void {
  const { access, devices } = services

  app.get('/v1/people/:p/devices', { schema: { params: personParams } }, async (request) => {
    const { person } = access.requireSession(request)
    await services.refresh()
    return devices.list(person)
  })

  app.delete('/v1/people/:p/devices/:device', { schema: { params: deviceParams } }, async (request, reply) => {
    const session = access.requireSession(request)
    await services.refresh()
    const tx = devices.remove(session, (request.params as { device: string }).device)
    services.wake()
    void reply.code(202)
    return { transactionId: toHex(tx) }
  })
}

function registerConfirmation(app: FastifyInstance, services: Services): void {
  const { access, store } = services

  app.post(
    '/v1/people/:p/confirm',
    {
      schema: {
        params: personParams,
        body: {
          type: 'object',
          required: ['signature'],
          additionalProperties: false,
          properties: { signature: { type: 'string', maxLength: 128 } },
        },
      },
      onRequest: async (request) => access.requireApiSecret(request),
    },
    async (request, reply) => {
      const person = store.find((request.params as { p: string }).p)
      services.confirm(person, fromBase64((request.body as { signature: string }).signature))
      void reply.code(202)
      return { account: person.id, state: person.state }
    },
  )
}

/** Sessions by passphrase. */
export function registerSessionRoutes(app: FastifyInstance, services: Services): void {
  const { access, store, sessions } = services

  app.post(
    '/v1/sessions',
    {
      schema: {
        body: {
          type: 'object',
          required: ['person', 'passphrase'],
          additionalProperties: false,
          properties: { person: { type: 'string', maxLength: 64 }, passphrase: { type: 'string', maxLength: 1024 } },
        },
      },
      onRequest: async (request) => access.requireApiSecret(request),
    },
    async (request, reply) => {
      const { person, passphrase } = request.body as { person: string; passphrase: string }
      const session = await sessions.open(store.find(person), passphrase, sourceOf(request.ip), true)
      void reply.code(201)
      return { session: session.id, expiresAt: new Date(session.expiresAtMs).toISOString() }
    },
  )

  const onRequest = async (request: FastifyRequest): Promise<void> => void access.requireSession(request)
  app.delete('/v1/sessions', { onRequest }, async (request, reply) => {
    sessions.close(access.requireSession(request).id)
    void reply.code(204)
  })
}
