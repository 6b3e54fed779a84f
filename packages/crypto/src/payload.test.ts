import { concatBytes, toHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CryptoError } from './errors.ts'
import { headerSizeBytes, openPayloadWith, recordSecret, sealPayloadWith } from './inner/payload.ts'
import { epochKeyFrom, newStreamRoot, restrictNodes } from './key-tree.ts'
import {
  blockOverheadBytes,
  fileBlockSize,
  isBlockSize,
  openPayload,
  type PayloadFields,
  padmeLength,
  parsePayloadHeader,
  payloadClasses,
  payloadKinds,
  recordBlockSizeBytes,
  recordDataSizeMax,
  sealPayload,
  smallestClass,
} from './payload.ts'
import { provider as native } from './provider/native.ts'
import { provider as noble } from './provider/noble.ts'
import { randomBytes } from './random.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const failed = { message: 'could not be opened', detail: { code: 'ERR_OPEN_FAILED' } }
const fields: PayloadFields = {
  kind: payloadKinds.data,
  ledgerId: randomBytes(32),
  owner: randomBytes(32),
  writer: randomBytes(32),
  stream: randomBytes(8),
  generation: 3,
  epoch: 490_000,
  sequence: 17,
}
const epochKey = randomBytes(32)
const plaintext = randomBytes(300)
const seal = (over: Partial<PayloadFields> = {}) =>
  sealPayload({ ...fields, ...over, epochKey, plaintext, sizeBytes: 1024 }).block

function reason(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(CryptoError)
    const { message, detail, cause } = error as CryptoError
    expect(cause).toBeUndefined()
    return { message, detail }
  }
  return 'opened'
}

describe('sealing and opening', () => {
  test('gives the data back, in every class, by both providers', () => {
    const size = fc.constantFrom(...payloadClasses.slice(0, 5))
    const word = fc.maxSafeNat()
    fc.assert(
      fc.property(
        size,
        fc.uint8Array({ maxLength: 796 }),
        word,
        word,
        word,
        (sizeBytes, data, generation, epoch, sequence) => {
          const own = { ...fields, generation, epoch, sequence }
          const { block, header } = sealPayload({ ...own, epochKey, plaintext: data, sizeBytes })
          expect(block.length).toBe(sizeBytes)
          expect(header).toMatchObject({ generation, epoch, sequence, sizeBytes, kind: 0 })
          for (const provider of [native, noble]) {
            expect(toHex(openPayloadWith(provider, { block, epochKey, expected: own }))).toBe(toHex(data))
            const again = { fields: own, epochKey, plaintext: data, sizeBytes, salt: header.salt }
            expect(toHex(sealPayloadWith(provider, again))).toBe(toHex(block))
          }
        },
      ),
      { numRuns: 30 },
    )
  })

  test('classes', () => {
    expect(payloadClasses).toEqual([1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144])
    expect(smallestClass(0)).toBe(1024)
    expect(smallestClass(796)).toBe(1024)
    expect(smallestClass(797)).toBe(2048)
    expect(smallestClass(262_144 - blockOverheadBytes)).toBe(262_144)
    expect(() => smallestClass(262_144 - blockOverheadBytes + 1)).toThrow(code('ERR_SIZE_INVALID'))
    expect(recordDataSizeMax).toBe(16_156)
    const most = sealPayload({ ...fields, epochKey, plaintext: new Uint8Array(796), sizeBytes: 1024 })
    expect(openPayload({ block: most.block, epochKey, expected: fields })).toHaveLength(796)
    const more = { ...fields, epochKey, plaintext: new Uint8Array(797), sizeBytes: 1024 }
    expect(() => sealPayload(more)).toThrow(code('ERR_SIZE_INVALID'))
  })

  test('files have Padmé lengths that tell little and cost at most 12 %', () => {
    expect([0, 1, 2, 9, 100, 1025, 65_535].map(padmeLength)).toEqual([0, 1, 2, 10, 104, 1088, 65_536])
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 900_000 }), (size) => {
        const sizeBytes = fileBlockSize(size)
        expect(isBlockSize(payloadKinds.file, sizeBytes)).toBe(true)
        expect(sizeBytes - blockOverheadBytes).toBeGreaterThanOrEqual(size)
        expect(sizeBytes).toBeLessThanOrEqual(Math.max(1024, (size + blockOverheadBytes) * 1.12))
      }),
    )
    expect(() => fileBlockSize(1_048_576)).toThrow(code('ERR_SIZE_INVALID'))
  })

  test('refuses what the ledger would refuse', () => {
    const base = { ...fields, epochKey, plaintext: new Uint8Array(0), sizeBytes: 1024 }
    for (const wrong of [
      { sizeBytes: 1023 },
      { sizeBytes: 512 },
      { sizeBytes: 524_288 },
      { kind: payloadKinds.gap },
      { kind: 8 as never },
      { kind: payloadKinds.diagnosis },
      { kind: payloadKinds.file, sizeBytes: 1025 },
      { kind: payloadKinds.empty, plaintext: new Uint8Array(1) },
      { sequence: -1 },
      { epoch: 2 ** 53 },
      { generation: 0.5 },
      { stream: new Uint8Array(7) },
      { owner: new Uint8Array(33) },
      { epochKey: new Uint8Array(31) },
    ]) {
      expect(() => sealPayload({ ...base, ...wrong }), JSON.stringify(wrong)).toThrow(code('ERR_ARGUMENT_INVALID'))
    }
    const { block } = sealPayload({ ...base, kind: payloadKinds.amend, sizeBytes: recordBlockSizeBytes })
    expect(parsePayloadHeader(block).kind).toBe(payloadKinds.amend)
  })
})

describe('misuse', () => {
  test('each flipped bit fails, with one error', () => {
    const block = seal()
    for (let bit = 0; bit < block.length * 8; bit++) {
      const wrong = block.slice()
      wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(reason(() => openPayload({ block: wrong, epochKey, expected: fields }))).toEqual(failed)
    }
    for (let bit = 0; bit < block.length * 8; bit += 31) {
      const wrong = block.slice()
      wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(reason(() => openPayloadWith(noble, { block: wrong, epochKey, expected: fields }))).toEqual(failed)
    }
  })

  test('truncated, extended, empty', () => {
    const block = seal()
    for (const wrong of [0, 1, headerSizeBytes, 1008, 1023].map((end) => block.subarray(0, end))) {
      expect(reason(() => openPayload({ block: wrong, epochKey, expected: fields }))).toEqual(failed)
    }
    const longer = concatBytes(block, new Uint8Array(1024))
    expect(reason(() => openPayload({ block: longer, epochKey, expected: fields }))).toEqual(failed)
    expect(() => parsePayloadHeader(block.subarray(1))).toThrow(code('ERR_FORMAT_INVALID'))
    // A view into the middle of a larger buffer is read at its own place.
    expect(
      openPayload({ block: concatBytes(new Uint8Array(3), block).subarray(3), epochKey, expected: fields }),
    ).toEqual(plaintext)
  })

  test('each field must be the transaction’s', () => {
    const block = seal()
    for (const over of [
      { kind: payloadKinds.empty },
      { ledgerId: randomBytes(32) },
      { owner: randomBytes(32) },
      { writer: randomBytes(32) },
      { stream: randomBytes(8) },
      { generation: 2 },
      { epoch: 490_001 },
      { sequence: 18 },
    ]) {
      expect(reason(() => openPayload({ block, epochKey, expected: { ...fields, ...over } }))).toEqual(failed)
    }
  })

  test('the same sequence twice, as after a crash or a restored backup, repeats neither key nor nonce', () => {
    const secrets = new Set<string>()
    const life = () => {
      for (let sequence = 1; sequence <= 200; sequence++) {
        const block = seal({ sequence })
        secrets.add(toHex(recordSecret(native, epochKey, block.subarray(0, headerSizeBytes))))
      }
    }
    life()
    life()
    expect(secrets.size).toBe(400)
    expect(toHex(seal())).not.toBe(toHex(seal()))
  })

  test('an epoch outside the window has no key; a neighbour’s key does not open', () => {
    const root = newStreamRoot()
    const first = 490_000
    const nodes = restrictNodes([root], { first, from: first + 10, until: first + 20 })
    const at = (epoch: number) => epochKeyFrom({ nodes: [root], first, epoch })
    const own = { ...fields, epoch: first + 20 }
    const { block } = sealPayload({ ...own, epochKey: at(first + 20), plaintext, sizeBytes: 1024 })
    expect(() => epochKeyFrom({ nodes, first, epoch: first + 20 })).toThrow(code('ERR_EPOCH_OUTSIDE'))
    for (let epoch = first + 10; epoch < first + 20; epoch++) {
      const key = epochKeyFrom({ nodes, first, epoch })
      expect(reason(() => openPayload({ block, epochKey: key, expected: own }))).toEqual(failed)
    }
  })

  test('a generation rolled back does not open, whatever the header claims', () => {
    const [old, current] = [randomBytes(32), randomBytes(32)]
    const { block } = sealPayload({ ...fields, generation: 4, epochKey: current, plaintext, sizeBytes: 1024 })
    for (const generation of [3, 4]) {
      const expected = { ...fields, generation }
      expect(reason(() => openPayload({ block, epochKey: old, expected }))).toEqual(failed)
    }
    expect(reason(() => openPayload({ block, epochKey: current, expected: fields }))).toEqual(failed)
  })
})

/** Multiplication in GCM's field, bits reflected as in SP 800-38D. */
function multiply(x: bigint, y: bigint): bigint {
  let [z, v] = [0n, y]
  for (let i = 127n; i >= 0n; i--) {
    if ((x >> i) & 1n) z ^= v
    v = v & 1n ? (v >> 1n) ^ (0xe1n << 120n) : v >> 1n
  }
  return z
}
function power(x: bigint, exponent: bigint): bigint {
  let result = 1n << 127n
  for (let e = exponent, base = x; e > 0n; e >>= 1n, base = multiply(base, base))
    if (e & 1n) result = multiply(result, base)
  return result
}
const inverse = (x: bigint) => power(x, 2n ** 128n - 2n)
const toBig = (bytes: Uint8Array) => BigInt(`0x${toHex(bytes)}`)
const fromBig = (value: bigint) =>
  Uint8Array.from(value.toString(16).padStart(32, '0').match(/../g) ?? [], (h) => Number.parseInt(h, 16))

/** One ciphertext that AES-256-GCM opens under both keys (zero nonce): its last block is solved for. */
function twoKeyCiphertext(keys: [Uint8Array, Uint8Array], aad: Uint8Array, length: number): Uint8Array {
  const nonce = new Uint8Array(12)
  const body = randomBytes(length)
  // GHASH's key H follows from tags of chosen inputs: without data and aad the tag is the mask E(J0) alone; two one-block
  // aads that differ in the field's one give tags that differ by H², and the square root is the power 2^127.
  const parameters = keys.map((key) => {
    const none = new Uint8Array(0)
    const mask = toBig(native.aesGcmSeal({ key, nonce, aad: none, plaintext: none }))
    const tagOf = (block: bigint) =>
      toBig(native.aesGcmSeal({ key, nonce, aad: fromBig(block), plaintext: none })) ^ mask
    const square = tagOf(1n << 127n) ^ tagOf(0n)
    return { mask, h: power(square, 2n ** 127n) }
  })
  const blocks: bigint[] = []
  for (const part of [aad, body]) for (let i = 0; i < part.length; i += 16) blocks.push(toBig(part.subarray(i, i + 16)))
  blocks[blocks.length - 1] = 0n
  blocks.push((BigInt(aad.length * 8) << 64n) | BigInt(length * 8))
  const tags = parameters.map(({ h, mask }) => blocks.reduce((sum, block) => multiply(sum ^ block, h), 0n) ^ mask)
  const [a, b] = [parameters[0] as { h: bigint }, parameters[1] as { h: bigint }]
  const [tagA, tagB] = tags as [bigint, bigint]
  const [squareA, squareB] = [multiply(a.h, a.h), multiply(b.h, b.h)]
  const last = multiply(tagA ^ tagB, inverse(squareA ^ squareB))
  body.set(fromBig(last), length - 16)
  return concatBytes(body, fromBig(tagA ^ multiply(last, squareA)))
}

test('a ciphertext made to open under two keys opens under one of them only, thanks to the commitment', () => {
  const [mine, other] = [randomBytes(32), randomBytes(32)]
  const nonce = new Uint8Array(12)
  const header = seal().slice(0, headerSizeBytes)
  const secrets = [mine, other].map((key) => recordSecret(native, key, header)) as [Uint8Array, Uint8Array]
  header.set(secrets[0].subarray(32), 176)
  const keys = secrets.map((secret) => secret.subarray(0, 32)) as [Uint8Array, Uint8Array]
  const sealed = twoKeyCiphertext(keys, header, 800)
  // The attack is real: plain AES-256-GCM accepts it under both keys, with two plaintexts, in both providers.
  for (const provider of [native, noble]) {
    const [one, two] = keys.map((key) => provider.aesGcmOpen({ key, nonce, aad: header, sealed }))
    expect(one).toHaveLength(800)
    expect(two).toHaveLength(800)
    expect(one).not.toEqual(two)
    const block = concatBytes(header, sealed)
    expect(reason(() => openPayloadWith(provider, { block, epochKey: other, expected: fields }))).toEqual(failed)
    // Whichever commitment the header carries, at most one of the two keys passes it.
    expect(provider.equalConstantTime(secrets[0].subarray(32), secrets[1].subarray(32))).toBe(false)
  }
})
