import { expect, test } from 'vitest'
import { checkTotp, createTotpSecret, totpOf, totpUri } from './totp.ts'

const secret = new TextEncoder().encode('12345678901234567890')

// RFC 6238 appendix B, SHA-1, cut to six digits.
test.each([
  [59, '287082'],
  [1_111_111_109, '081804'],
  [1_111_111_111, '050471'],
  [1_234_567_890, '005924'],
  [2_000_000_000, '279037'],
  [20_000_000_000, '353130'],
])('at %i s the code is %s', (seconds, code) => {
  expect(totpOf(secret, Math.floor(seconds / 30))).toBe(code)
})

test('a code is taken once, from a clock half a minute off, and no other', () => {
  const nowMs = 1_111_111_111_000
  const step = Math.floor(nowMs / 30_000)
  expect(checkTotp({ secret, code: totpOf(secret, step), nowMs })).toBe(step)
  expect(checkTotp({ secret, code: totpOf(secret, step - 1), nowMs })).toBe(step - 1)
  expect(checkTotp({ secret, code: totpOf(secret, step + 1), nowMs })).toBe(step + 1)
  expect(checkTotp({ secret, code: totpOf(secret, step), nowMs, lastStep: step })).toBeUndefined()
  expect(checkTotp({ secret, code: totpOf(secret, step - 2), nowMs })).toBeUndefined()
  for (const code of ['', '12345', '1234567', 'abcdef', '０８１８０４'])
    expect(checkTotp({ secret, code, nowMs })).toBeUndefined()
})

test('the address for authenticator apps carries the secret in base32 and names that cannot break it', () => {
  const uri = totpUri({ secret, account: 'Ann & "Bob"', issuer: 'HealthBlock' })
  expect(uri).toContain('secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&')
  expect(new URL(uri).pathname).toContain('HealthBlock:Ann%20%26%20%22Bob%22')
  expect(createTotpSecret()).toHaveLength(20)
})
