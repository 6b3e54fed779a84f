import { fromBase64Url, toBase64Url } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { b32, flipBit, keyOf } from '../sample.test-support.ts'
import { createToken, parseToken, type TokenStatement, tokenLifetimeMsMax, verifyToken } from './token.ts'

const ledgerId = b32('ledger')
const nowMs = 1_750_000_000_000
const statement: TokenStatement = { account: b32('alice'), audience: ledgerId, scope: 'ledger', until: nowMs + 1000 }
const make = (change: Partial<TokenStatement> = {}, key = 1) =>
  createToken({ ledgerId, statement: { ...statement, ...change }, key, signingKey: keyOf('alice op') })
const check = (token: string, change: Partial<Parameters<typeof verifyToken>[0]> = {}) =>
  verifyToken({
    token,
    ledgerId,
    audiences: [b32('node'), ledgerId],
    scope: 'ledger',
    nowMs,
    keyOf: (account, key) =>
      account.join() === b32('alice').join() && key === 1 ? keyOf('alice op').publicKey : undefined,
    ...change,
  })
const refusal = (reason: string) =>
  expect.objectContaining({ name: 'ChainError', detail: { code: 'ERR_TOKEN_INVALID', reason } })

describe('tokens', () => {
  test('verify for the ledger and for one node', () => {
    expect(check(make())).toEqual(statement)
    expect(check(make({ audience: b32('node') })).audience).toEqual(b32('node'))
    expect(check(make({ until: nowMs + tokenLifetimeMsMax })).until).toBe(nowMs + tokenLifetimeMsMax)
    expect(parseToken(make())).toMatchObject({ key: 1, statement })
  })

  test.each([
    ['audience', make({ audience: b32('other node') }), {}],
    ['scope', make({ scope: 'storage' }), {}],
    ['scope', make(), { scope: 'storage' }],
    ['expired', make({ until: nowMs }), {}],
    ['lifetime', make({ until: nowMs + tokenLifetimeMsMax + 1 }), {}],
    ['key', make({ account: b32('bob') }), {}],
    ['key', make({}, 2), {}],
    ['signature', make(), { keyOf: () => keyOf('alice old op').publicKey }],
    ['signature', make(), { keyOf: () => new Uint8Array(32) }],
    ['signature', make(), { ledgerId: b32('other ledger'), audiences: [ledgerId] }],
    ['format', make({}, 0), {}],
    ['format', make({}, 3), {}],
    ['format', make({ scope: 'admin' as 'ledger' }), {}],
    ['format', `${make()}=`, {}],
    ['format', `${make()}\n`, {}],
    ['format', ` ${make()}`, {}],
    ['format', make().slice(0, -1), {}],
    ['format', '', {}],
    ['format', 'A'.repeat(513), {}],
  ] as const)('%s', (reason, token, change) => {
    expect(() => check(token, change)).toThrow(refusal(reason))
  })

  test('every flipped bit is refused', () => {
    const bytes = fromBase64Url(make())
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      expect(() => check(toBase64Url(flipBit(bytes, bit))), `bit ${bit}`).toThrow(ChainError)
    }
  })

  test('any text is a token or a typed error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.uint8Array().map(toBase64Url)), (text) => {
        expect(() => parseToken(text)).toThrow(refusal('format'))
      }),
      { numRuns: 500 },
    )
  })
})
