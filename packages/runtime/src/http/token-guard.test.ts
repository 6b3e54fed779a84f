import { StateOverlay } from '@healthblock/chain/state'
import { keyRoles, userTables } from '@healthblock/chain/tables'
import { createToken } from '@healthblock/chain/token'
import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../process/logger.ts'
import { createHttpApp, type HttpApp } from './http-app.ts'
import { createSecretGuard, createTokenGuard, createTokenSource, keyOfState, type TokenGuard } from './token-guard.ts'

const ledgerId = sha256(encodeUtf8('ledger'))
const account = sha256(encodeUtf8('account'))
const node = sha256(encodeUtf8('node'))
let key: SigningKey
let state: StateOverlay
let now: number
let guard: TokenGuard
let app: HttpApp
let url: string

beforeEach(async () => {
  key = generateSigningKey()
  now = 1_700_000_000_000
  state = new StateOverlay({ get: () => undefined })
  userTables.keyHead.set(state, 0, account, keyRoles.op)
  userTables.key.set(state, { key: key.publicKey, o: 1 }, account, keyRoles.op, 0)
  guard = createTokenGuard({ ledgerId, scope: 'ledger', audiences: [node], keyOf: keyOfState(state), now: () => now })
  app = await createHttpApp({ name: 'test', version: '1', logger: createLogger({ name: 'test', level: 'silent' }) })
  app.fastify.get('/who', { onRequest: guard.hook }, async (request) => ({
    account: guard.callerOf(request).account.length,
  }))
  app.fastify.get('/api', { onRequest: createSecretGuard('the-API-secret') }, async () => ({ ok: true }))
  url = (await app.listen({ port: 0 })).url
})
afterEach(() => app.stop())

async function ask(token: string | undefined, path = '/who'): Promise<[number, unknown]> {
  const response = await fetch(url + path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })
  const body = (await response.json()) as { code?: string }
  return [response.status, body.code ?? body]
}

const source = (options: object = {}): (() => string) =>
  createTokenSource({ ledgerId, account, keyNumber: 1, signingKey: key, scope: 'ledger', now: () => now, ...options })

describe('createTokenGuard', () => {
  it('lets a live account in, for the ledger or this node', async () => {
    expect(await ask(source()())).toEqual([200, { account: 32 }])
    expect(await ask(source({ audience: node })())).toEqual([200, { account: 32 }])
  })

  it.each<[string, () => string | undefined, string]>([
    ['no token', () => undefined, 'ERR_TOKEN_MISSING'],
    ['nonsense', () => 'nonsense', 'ERR_TOKEN_INVALID'],
    ['another scope', () => source({ scope: 'storage' })(), 'ERR_TOKEN_INVALID'],
    ['another audience', () => source({ audience: account })(), 'ERR_TOKEN_INVALID'],
    ['another key', () => source({ signingKey: generateSigningKey() })(), 'ERR_TOKEN_INVALID'],
    ['a key that the account has not', () => source({ keyNumber: 2 })(), 'ERR_TOKEN_INVALID'],
    ['an unknown account', () => source({ account: node })(), 'ERR_TOKEN_INVALID'],
    [
      'too long a life',
      () =>
        createToken({
          ledgerId,
          statement: { account, audience: ledgerId, scope: 'ledger', until: now + 86_400_001 },
          key: 1,
          signingKey: key,
        }),
      'ERR_TOKEN_INVALID',
    ],
  ])('answers 401 for %s', async (_what, token, code) => {
    expect(await ask(token())).toEqual([401, code])
  })

  it('forgets a token when it ends and when its key is no longer live', async () => {
    const token = source()()
    expect((await ask(token))[0]).toBe(200)
    now += 3_600_000
    expect((await ask(token))[0]).toBe(401)
    now -= 1
    expect((await ask(token))[0]).toBe(200)
    userTables.key.set(state, { key: key.publicKey, o: 1, c: 9 }, account, keyRoles.op, 0)
    expect((await ask(token))[0]).toBe(401)
  })
})

describe('createTokenSource', () => {
  it('renews at half of the life', () => {
    const next = source({ lifetimeMs: 10_000 })
    const first = next()
    now += 4_999
    expect(next()).toBe(first)
    now += 1
    expect(next()).not.toBe(first)
    expect(guard.verify(next()).until).toBe(now + 10_000)
  })

  it('never asks for more than a checker allows', () => {
    expect(guard.verify(source({ lifetimeMs: 1e12 })()).until).toBeLessThan(now + 86_400_000)
  })
})

describe('createSecretGuard', () => {
  it('takes that secret alone', async () => {
    expect(await ask('the-API-secret', '/api')).toEqual([200, { ok: true }])
    expect((await ask('wrong', '/api'))[1]).toBe('ERR_TOKEN_INVALID')
    expect((await ask(undefined, '/api'))[1]).toBe('ERR_TOKEN_MISSING')
  })
})
