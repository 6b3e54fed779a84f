import crypto from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseVerifyingKeyWith, SigningKey, VerifyingKey } from '../inner/signature.ts'
import { provider as native } from '../provider/native.ts'
import { provider as noble } from '../provider/noble.ts'
import { type KnownKey, KnownKeys, sightingsMin } from './known-keys.ts'

const sha512 = (input: Uint8Array) => crypto.hash('sha512', input, 'binary')

function knownKeys(max?: number): KnownKeys {
  return KnownKeys.create(sha512, max) as KnownKeys
}

interface Vector {
  readonly publicKey: string
  readonly message: string
  readonly signature: string
  readonly result?: string
  readonly note?: string
}

function vectors(name: string): Vector[] {
  return JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), 'utf8')).vectors
}

function signed(seed: number, message: Uint8Array) {
  const key = new SigningKey(new Uint8Array(32).fill(seed), native)
  return { publicKey: key.publicKey, message, signature: key.sign(message) }
}

const known = knownKeys()

/** What is confirmed of a signature by itself, which is also what is confirmed of it beside another one, in either lane. */
function isConfirmed(key: KnownKey, signature: Uint8Array, message: Uint8Array): boolean {
  const claim = { key, signature, message }
  const alone = known.confirm([claim])[0] as boolean
  expect(known.confirm([claim, good, claim])).toEqual([alone, true, alone])
  expect(known.confirm([good, claim])).toEqual([true, alone])
  return alone
}

const other = signed(77, Uint8Array.of(1, 2, 3))
const good = { ...other, key: known.add(other.publicKey) as KnownKey }

test.each(['ed25519-rfc8032', 'ed25519-sign-input', 'ed25519-speccheck', 'ed25519-rule', 'ed25519-wycheproof'])(
  'of %s those are confirmed that are valid, and no other',
  (name) => {
    let count = 0
    for (const v of vectors(name)) {
      const signature = fromHex(v.signature)
      // A key that registration refuses has an equation too, and what is no point has no tables.
      if (v.result === 'ERR_KEY_INVALID' || signature.length !== 64) continue
      const key = known.add(fromHex(v.publicKey)) as KnownKey
      expect(isConfirmed(key, signature, fromHex(v.message)), v.note).toBe((v.result ?? 'valid') === 'valid')
      count++
    }
    expect(count).toBeGreaterThan(0)
  },
)

test('the same answer as both providers, for whatever was signed and whatever is altered', () => {
  const bytes = (maxLength: number) => fc.uint8Array({ minLength: 0, maxLength })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 255 }),
      bytes(3000),
      fc.nat(511),
      fc.boolean(),
      (seed, message, bit, isBad) => {
        const { publicKey, signature } = signed(seed, message)
        if (isBad) signature[bit >> 3] = (signature[bit >> 3] as number) ^ (1 << (bit & 7))
        const key = known.add(publicKey) as KnownKey
        expect(isConfirmed(key, signature, message)).toBe(!isBad)
        expect(VerifyingKey.check(parseVerifyingKeyWith(noble, publicKey), signature, message)).toBe(!isBad)
      },
    ),
    { numRuns: 150 },
  )
})

test('S + L in place of S is not confirmed', () => {
  const { publicKey, message, signature } = signed(5, new Uint8Array(10))
  const key = known.add(publicKey) as KnownKey
  const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n
  const s = BigInt(`0x${toHex(signature.slice(32).reverse())}`) + groupOrder
  signature.set(fromHex(s.toString(16).padStart(64, '0')).reverse(), 32)
  expect(isConfirmed(key, signature, message)).toBe(false)
})

test('what was signed by one key is not confirmed of another; what is no point gets no tables', () => {
  const [one, two] = [signed(1, new Uint8Array(4)), signed(2, new Uint8Array(4))]
  const [first, second] = [known.add(one.publicKey) as KnownKey, known.add(two.publicKey) as KnownKey]
  expect(isConfirmed(first, two.signature, two.message)).toBe(false)
  expect(isConfirmed(second, two.signature, two.message)).toBe(true)
  expect(known.add(new Uint8Array(32).fill(0xff))).toBeUndefined()
})

test('many at once, more than are divided together, good and bad', () => {
  const signers = Array.from({ length: 7 }, (_, i) => known.add(signed(i + 1, Uint8Array.of()).publicKey) as KnownKey)
  const claims = Array.from({ length: 200 }, (_, i) => {
    const seed = (i % 7) + 1
    const { signature, message } = signed(seed, Uint8Array.of(i))
    if (i % 5 === 0) signature[i % 64] = (signature[i % 64] as number) ^ 1
    return { key: signers[seed - 1] as KnownKey, signature, message }
  })
  expect(known.confirm(claims)).toEqual(claims.map((_, i) => i % 5 !== 0))
  expect(known.confirm([])).toEqual([])
})

test('when there is no room, the tables of a key that was not used for longest go; more sightings are wanted if they were not worth it', () => {
  const few = knownKeys(2)
  const of = (seed: number) => signed(seed, Uint8Array.of(seed))
  const add = (seed: number) => few.add(of(seed).publicKey) as KnownKey
  const use = (key: KnownKey, seed: number) => few.confirm([{ key, ...of(seed) }])[0]
  const [first, second] = [add(1), add(2)]
  expect(few.sightingsNeeded).toBe(sightingsMin)
  const third = add(3)
  expect([first.isKnown, second.isKnown, third.isKnown]).toEqual([false, true, true])
  expect(few.sightingsNeeded).toBe(2 * sightingsMin)
  expect([use(second, 2), use(third, 3)]).toEqual([true, true])
  for (let i = 0; i < sightingsMin; i++) use(second, 2)
  // The hand clears both and comes to the one that stands first after where it stood: the second, which was worth it.
  const fourth = add(4)
  expect([second.isKnown, third.isKnown, fourth.isKnown]).toEqual([false, true, true])
  expect(few.sightingsNeeded).toBe(sightingsMin)
  expect([use(third, 3), use(fourth, 4)]).toEqual([true, true])
})

test('tables that are never of use are made ever more rarely, within a limit, and as often as before once they are of use', () => {
  const one = knownKeys(1)
  const key = (seed: number) => one.add(signed(seed, Uint8Array.of()).publicKey) as KnownKey
  const needed = Array.from({ length: 8 }, (_, seed) => {
    key(seed + 1)
    return one.sightingsNeeded
  })
  expect(needed).toEqual([16, 32, 64, 128, 256, 256, 256, 256])
  const after = Array.from({ length: 6 }, (_, seed) => {
    const claim = { key: key(seed + 10), ...signed(seed + 10, Uint8Array.of()) }
    const before = one.sightingsNeeded
    for (let i = 0; i < sightingsMin; i++) one.confirm([claim])
    return before
  })
  expect(after).toEqual([256, 128, 64, 32, 16, 16])
})

test('the native provider gives the same answers before, while and after a key becomes known', async () => {
  const key = new SigningKey(crypto.randomBytes(32), native)
  const verifier = native.ed25519Verifier(key.publicKey)
  for (let i = 0; i < 3 * sightingsMin; i++) {
    const message = Uint8Array.of(i)
    const signature = key.sign(message)
    const altered = Uint8Array.from(signature, (byte, at) => (at === i ? byte ^ 4 : byte))
    expect(verifier.verify(signature, message)).toBe(true)
    expect(verifier.verify(altered, message)).toBe(false)
    expect(verifier.verify(signature.subarray(1), message)).toBe(false)
    expect(await verifier.verifyAsync(signature, message)).toBe(true)
    expect(await verifier.verifyAsync(altered, message)).toBe(false)
    expect(await verifier.verifyAsync(signature.subarray(1), message)).toBe(false)
    const handle = verifier
    const unknown = native.ed25519Verifier(signed(9, message).publicKey)
    const checks = [
      { handle, signature, message },
      { handle: unknown, signature, message },
      { handle, signature: altered, message },
      { handle: unknown, signature: signed(9, message).signature, message },
    ]
    expect(native.ed25519VerifyAll(checks)).toEqual([true, false, false, true])
  }
})
