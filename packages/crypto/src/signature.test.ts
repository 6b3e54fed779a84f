import crypto from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { areSignaturesAheadWith, parseVerifyingKeyWith, SigningKey, VerifyingKey } from './inner/signature.ts'
import { provider as native } from './provider/native.ts'
import { provider as noble } from './provider/noble.ts'
import {
  areSignaturesAhead,
  generateSigningKey,
  parseVerifyingKey,
  signingKeyFromSeed,
  verifySignature,
  verifySignatureAsync,
} from './signature.ts'

function vectors<T>(name: string): T[] {
  const file = JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'))
  expect(file.source).toMatch(/./)
  expect(file.vectors.length).toBeGreaterThan(0)
  return file.vectors
}

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const providers = [native, noble]

describe.each(providers)('Ed25519 ($name)', (provider) => {
  test.each(['ed25519-rfc8032', 'ed25519-sign-input'])('%s', (file) => {
    for (const v of vectors<Record<string, string>>(file)) {
      const key = new SigningKey(fromHex(v.seed as string), provider)
      expect(toHex(key.publicKey)).toBe(v.publicKey)
      expect(toHex(key.sign(fromHex(v.message as string)))).toBe(v.signature)
      const verifying = parseVerifyingKeyWith(provider, key.publicKey)
      expect(VerifyingKey.check(verifying, fromHex(v.signature as string), fromHex(v.message as string))).toBe(true)
    }
  })

  test.each(['ed25519-speccheck', 'ed25519-rule', 'ed25519-wycheproof'])('%s', (file) => {
    for (const v of vectors<{ publicKey: string; message: string; signature: string; result: string; note: string }>(
      file,
    )) {
      let result = 'valid'
      try {
        const key = parseVerifyingKeyWith(provider, fromHex(v.publicKey))
        const good = VerifyingKey.check(key, fromHex(v.signature), fromHex(v.message))
        if (!good) result = 'ERR_SIGNATURE_INVALID'
      } catch (error) {
        result = (error as { detail: { code: string } }).detail.code
      }
      expect(result, v.note).toBe(v.result)
    }
  })
})

test('the equation by itself, for keys that registration refuses', () => {
  // The portable provider computes the plain equation and refuses to decode what is not canonical. OpenSSL 3.5.8 refuses
  // small orders besides; 3.5.4 does not, and decodes keys that are not canonical: hence the check of the key, everywhere.
  for (const v of vectors<{ publicKey: string; message: string; signature: string; equation?: boolean; note: string }>(
    'ed25519-speccheck',
  )) {
    const [key, message, signature] = [fromHex(v.publicKey), fromHex(v.message), fromHex(v.signature)]
    const accepted = native.ed25519Verifier(key).verify(signature, message)
    if (v.equation === undefined) {
      expect(() => noble.ed25519Verifier(key), v.note).toThrow()
    } else {
      expect(noble.ed25519Verifier(key).verify(signature, message), v.note).toBe(v.equation)
      if (!v.equation) expect(accepted, v.note).toBe(false)
    }
  }
})

test('both providers sign and verify alike', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(511),
      (seed, message, bit) => {
        const a = new SigningKey(seed, native)
        const b = new SigningKey(seed, noble)
        expect(toHex(a.publicKey)).toBe(toHex(b.publicKey))
        const signature = a.sign(message)
        expect(toHex(signature)).toBe(toHex(b.sign(message)))
        const flipped = signature.slice()
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
        for (const provider of providers) {
          const key = parseVerifyingKeyWith(provider, a.publicKey)
          expect(VerifyingKey.check(key, signature, message)).toBe(true)
          expect(VerifyingKey.check(key, flipped, message)).toBe(false)
          expect(VerifyingKey.check(key, signature.subarray(0, 63), message)).toBe(false)
        }
      },
    ),
    { numRuns: 30 },
  )
})

describe('the public functions', () => {
  test('sign, verify, export', async () => {
    const key = generateSigningKey()
    const message = new Uint8Array(300)
    const check = { signature: key.sign(message), message, key: parseVerifyingKey(key.publicKey) }
    verifySignature(check)
    await verifySignatureAsync(check)
    expect(signingKeyFromSeed(key.exportSeed()).publicKey).toEqual(key.publicKey)
    const other = { ...check, message: new Uint8Array(301) }
    expect(() => verifySignature(other)).toThrow(code('ERR_SIGNATURE_INVALID'))
    await expect(verifySignatureAsync(other)).rejects.toThrow(code('ERR_SIGNATURE_INVALID'))
    await expect(verifySignatureAsync({ ...check, signature: new Uint8Array(0) })).rejects.toThrow(
      code('ERR_SIGNATURE_INVALID'),
    )
    expect(() => signingKeyFromSeed(new Uint8Array(31))).toThrow(code('ERR_ARGUMENT_INVALID'))
  })

  test('ahead of the check of the key: the same answer under every key that passes it', () => {
    const key = generateSigningKey()
    const message = new Uint8Array(300)
    const check = { signature: key.sign(message), message, publicKey: key.publicKey }
    const altered = Uint8Array.from(check.signature, (byte, i) => (i === 40 ? byte ^ 1 : byte))
    const identity = Uint8Array.of(1, ...new Uint8Array(63))
    const asked = [
      check,
      { ...check, signature: altered },
      { ...check, publicKey: new Uint8Array(31) },
      { ...check, signature: identity },
      check,
    ]
    expect(areSignaturesAhead(asked)).toEqual([true, false, false, false, true])
    expect(areSignaturesAhead([])).toEqual([])
    for (const file of ['ed25519-speccheck', 'ed25519-rule']) {
      for (const v of vectors<Record<string, string>>(file)) {
        const [publicKey, signature] = [fromHex(v.publicKey as string), fromHex(v.signature as string)]
        let parsed: VerifyingKey
        try {
          parsed = parseVerifyingKeyWith(native, publicKey)
        } catch {
          continue
        }
        const bytes = fromHex(v.message as string)
        const ahead = { publicKey, signature, message: bytes }
        for (const one of providers) {
          expect(areSignaturesAheadWith(one, [ahead])).toEqual([VerifyingKey.check(parsed, signature, bytes)])
        }
      }
    }
  })

  test('ahead: a key that comes again and again stays known, however many others come once', () => {
    const key = generateSigningKey()
    const message = new Uint8Array(3)
    const often = { signature: key.sign(message), message, publicKey: key.publicKey }
    for (let i = 0; i < 20; i++) expect(areSignaturesAhead([often])).toEqual([true])
    const openSsl = vi.spyOn(crypto, 'verify')
    // S is not below L, which is seen at once.
    const signature = new Uint8Array(64).fill(0xff)
    for (let i = 0; i < 90; i++) {
      const others = Array.from({ length: 100 }, (_, j) => {
        const publicKey = new Uint8Array(32)
        new DataView(publicKey.buffer).setUint32(0, 1000 * i + j)
        return { signature, message, publicKey }
      })
      expect(areSignaturesAhead([...others, often]).lastIndexOf(true)).toBe(100)
    }
    expect(openSsl.mock.calls.filter(([, , , asked]) => asked === often.signature)).toEqual([])
    expect(openSsl).toHaveBeenCalledTimes(9000)
    openSsl.mockRestore()
  })

  test('the same key is parsed once, and a copy is kept', () => {
    const bytes = generateSigningKey().publicKey.slice()
    const key = parseVerifyingKey(bytes)
    expect(parseVerifyingKey(bytes.slice())).toBe(key)
    bytes[0] = (bytes[0] as number) ^ 1
    expect(key.publicKey).not.toEqual(bytes)
  })
})
