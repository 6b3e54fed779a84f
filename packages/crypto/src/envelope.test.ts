import { concatBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  composeEnvelope,
  type EnvelopeContents,
  type EnvelopeContext,
  encapsulationSizeBytes,
  envelopeNodes,
  envelopeSizes,
  generateKemKeyPair,
  kemKeyPairFromSeed,
  openEnvelope,
  openWithKemKey,
  parseKemPublicKey,
  sealEnvelope,
  sealToKemKey,
  streamKinds,
} from './envelope.ts'
import { CryptoError } from './errors.ts'
import { encodeContents, envelopeInfo, padContents, parseContents, unpadContents } from './inner/envelope.ts'
import { hpkeSeal, KemKeyPair } from './inner/kem.ts'
import { coverRange, epochKeyFrom, newStreamRoot, shredNodes, type TreeNode } from './key-tree.ts'
import { provider as native } from './provider/native.ts'
import { provider as noble } from './provider/noble.ts'
import { randomBytes } from './random.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const failed = { message: 'could not be opened', detail: { code: 'ERR_OPEN_FAILED' } }
const doctor = generateKemKeyPair()
const suite = doctor.suite
const context: EnvelopeContext = {
  ledgerId: randomBytes(32),
  patient: randomBytes(32),
  grantId: randomBytes(16),
  generation: 5,
  recipient: randomBytes(32),
  recipientKemKey: doctor.publicKey,
}
const first = 490_000
const stream = (at: number) => Uint8Array.of(at, 0, 0, 0, 0, 0, 0, 1)
const streams = (roots: readonly TreeNode[]) =>
  roots.map((root, i) => ({ stream: stream(9 - i), kind: streamKinds.ecg, class: 16_384, nodes: [root] }))
const contents = composeEnvelope({
  range: { first, from: first },
  streams: streams([newStreamRoot(), newStreamRoot(), newStreamRoot()]),
  diagnosis: [{ stream: stream(100), nodes: [newStreamRoot()] }],
})

async function reason(opening: Promise<unknown>): Promise<unknown> {
  try {
    await opening
  } catch (error) {
    expect(error).toBeInstanceOf(CryptoError)
    const { message, detail, cause } = error as CryptoError
    expect(cause).toBeUndefined()
    return { message, detail }
  }
  return 'opened'
}

describe('sealing and opening', () => {
  test('gives the contents back, in the smallest size that fits', async () => {
    const envelope = await sealEnvelope({ suite, context, contents })
    expect(envelope).toHaveLength(1472)
    expect(await openEnvelope({ keyPair: doctor, context, envelope })).toEqual(contents)
    const reopened = kemKeyPairFromSeed(doctor.exportSeed())
    expect(await openEnvelope({ keyPair: reopened, context, envelope })).toEqual(contents)
  })

  test('sizes of typical grants', async () => {
    const roots = [newStreamRoot(), newStreamRoot(), newStreamRoot()]
    const sizeOf = async (from: number, until?: number) => {
      const diagnosis = [{ stream: stream(100), nodes: [newStreamRoot()] }]
      const composed = composeEnvelope({ range: { first, from, until }, streams: streams(roots), diagnosis })
      return (await sealEnvelope({ suite, context, contents: composed })).length
    }
    expect(await sizeOf(first)).toBe(1472)
    expect(await sizeOf(first, first + 90 * 24)).toBe(1792)
    expect(await sizeOf(first + 1001, first + 1001 + 90 * 24)).toBeLessThanOrEqual(4096)
    expect(await sizeOf(first + 1, first + 2 ** 20 - 1)).toBeLessThanOrEqual(8192)
  })

  test('one provider seals, the other opens', async () => {
    const seed = doctor.exportSeed()
    const info = envelopeInfo(native, context)
    expect(toHex(info)).toBe(toHex(envelopeInfo(noble, context)))
    for (const [from, to] of [
      [native, noble],
      [noble, native],
    ] as const) {
      const sealed = await hpkeSeal(from.hpke, {
        publicKey: doctor.publicKey,
        info,
        plaintext: padContents(encodeContents(contents)),
      })
      const opened = await KemKeyPair.open(new KemKeyPair(seed, to), info, sealed)
      expect(parseContents(unpadContents(opened))).toEqual(contents)
    }
  })

  test('each sealing has its own encapsulation', async () => {
    const seen = new Set<string>()
    for (let i = 0; i < 20; i++) {
      const envelope = await sealEnvelope({ suite, context, contents })
      seen.add(toHex(envelope.subarray(0, encapsulationSizeBytes)))
    }
    expect(seen.size).toBe(20)
  })

  test('many at once', async () => {
    const all = Array.from({ length: 20 }, async (_, i) => {
      const own = { ...context, generation: i }
      const envelope = await sealEnvelope({ suite, context: own, contents })
      return openEnvelope({ keyPair: doctor, context: own, envelope })
    })
    for (const opened of await Promise.all(all)) expect(opened).toEqual(contents)
  })
})

describe('misuse', () => {
  test('each flipped bit fails, with one error', { timeout: 300_000 }, async () => {
    const envelope = await sealEnvelope({ suite, context, contents })
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const wrong = envelope.slice()
      wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7))
      const got = await reason(openEnvelope({ keyPair: doctor, context, envelope: wrong }))
      // One comparison per bit is what takes the time; a mismatch is reported in full.
      if ((got as typeof failed).detail?.code !== 'ERR_OPEN_FAILED') expect(got, `bit ${bit}`).toEqual(failed)
    }
  })

  test('replayed, moved, swapped: does not open anywhere else', async () => {
    const envelope = await sealEnvelope({ suite, context, contents })
    for (const over of [
      { ledgerId: randomBytes(32) },
      { patient: randomBytes(32) },
      { grantId: randomBytes(16) },
      { generation: 4 },
      { generation: 6 },
      { recipient: randomBytes(32) },
    ]) {
      expect(await reason(openEnvelope({ keyPair: doctor, context: { ...context, ...over }, envelope }))).toEqual(
        failed,
      )
    }
    expect(await reason(openEnvelope({ keyPair: generateKemKeyPair(), context, envelope }))).toEqual(failed)
  })

  test('truncated, extended, of another size', async () => {
    const envelope = await sealEnvelope({ suite, context, contents })
    for (const wrong of [
      envelope.subarray(0, 1471),
      envelope.subarray(1),
      concatBytes(envelope, new Uint8Array(320)),
      new Uint8Array(0),
    ]) {
      expect(await reason(openEnvelope({ keyPair: doctor, context, envelope: wrong }))).toEqual(failed)
    }
  })

  test('authentic and yet out of form', async () => {
    const map = decodeCbor(encodeContents(contents)) as Record<string, never>
    const info = envelopeInfo(native, context)
    for (const over of [
      { v: 2 },
      { more: 1 },
      { first: 'x' },
      { cover: [] },
      { cover: [[21, 0]] },
      {
        cover: [
          [1, 0],
          [0, 0],
        ],
      },
      {
        cover: [
          [1, 1],
          [1, 0],
        ],
      },
      { streams: [[stream(1), 1, 0, new Uint8Array(31)]] },
      {
        streams: [
          [stream(1), 1, 0, new Uint8Array(32)],
          [stream(1), 1, 0, new Uint8Array(32)],
        ],
      },
      { diagnosis: [[stream(1).subarray(1), new Uint8Array(32)]] },
    ]) {
      const plaintext = padContents(encodeCbor({ ...map, ...over } as never))
      const envelope = await hpkeSeal(native.hpke, { publicKey: doctor.publicKey, info, plaintext })
      expect(await reason(openEnvelope({ keyPair: doctor, context, envelope })), JSON.stringify(over)).toEqual(failed)
    }
    for (const spoil of [
      (p: Uint8Array) => p.fill(1, p.length - 1),
      (p: Uint8Array) => p.fill(255, 0, 4),
      (p: Uint8Array) => p.fill(0),
    ]) {
      const plaintext = padContents(encodeContents(contents))
      spoil(plaintext)
      const envelope = await hpkeSeal(native.hpke, { publicKey: doctor.publicKey, info, plaintext })
      expect(await reason(openEnvelope({ keyPair: doctor, context, envelope }))).toEqual(failed)
    }
  })

  test('keys and suites that are none', async () => {
    const all = (byte: number) => new Uint8Array(1216).fill(byte)
    // Coefficients of exactly the modulus, 3329 = 0xd01, in either half of three bytes.
    const even = doctor.publicKey.slice()
    even.set([0x01, ((even[1] as number) & 0xf0) | 0x0d])
    const odd = doctor.publicKey.slice()
    odd.set([((odd[1150] as number) & 0x0f) | 0x10, 0xd0], 1150)
    expect(parseKemPublicKey({ suite, bytes: doctor.publicKey })).toEqual(doctor.publicKey)
    expect(() => parseKemPublicKey({ suite: 0, bytes: doctor.publicKey })).toThrow(code('ERR_SUITE_UNKNOWN'))
    for (const recipientKemKey of [
      all(255),
      even,
      odd,
      new Uint8Array(1215),
      concatBytes(doctor.publicKey.subarray(0, 1184), new Uint8Array(32)),
    ]) {
      const sealing = sealEnvelope({ suite, context: { ...context, recipientKemKey }, contents })
      await expect(sealing).rejects.toThrow(code('ERR_KEY_INVALID'))
      expect(() => parseKemPublicKey({ suite, bytes: recipientKemKey })).toThrow(code('ERR_KEY_INVALID'))
      const plaintext = new Uint8Array(1)
      const portable = hpkeSeal(noble.hpke, { publicKey: recipientKemKey, info: plaintext, plaintext })
      await expect(portable).rejects.toThrow(code('ERR_KEY_INVALID'))
    }
    await expect(sealEnvelope({ suite: 2, context, contents })).rejects.toThrow(code('ERR_SUITE_UNKNOWN'))
    const short = { ...context, grantId: new Uint8Array(15) }
    await expect(sealEnvelope({ suite, context: short, contents })).rejects.toThrow(code('ERR_ARGUMENT_INVALID'))
    expect(() => kemKeyPairFromSeed(new Uint8Array(31))).toThrow(code('ERR_ARGUMENT_INVALID'))
  })
})

describe('contents', () => {
  test('any well-formed contents survive, and pad to a known size', () => {
    const cover = fc
      .tuple(fc.nat(5000), fc.integer({ min: 1, max: 5000 }))
      .map(([from, length]) =>
        coverRange({ first: 0, from, until: from + length }).map(({ depth, index }) => [depth, index] as const),
      )
    fc.assert(
      fc.property(cover, fc.nat(6), fc.nat(6), (positions, count, findings) => {
        const keys = randomBytes(32 * positions.length)
        const value: EnvelopeContents = {
          first,
          cover: positions,
          streams: Array.from({ length: count }, (_, i) => ({ stream: stream(i), kind: 1, class: 1024, keys })),
          diagnosis: Array.from({ length: findings }, (_, i) => ({ stream: stream(i), keys })),
        }
        const bytes = encodeContents(value)
        expect(parseContents(bytes)).toEqual(value)
        const padded = padContents(bytes)
        expect(envelopeSizes).toContain(padded.length + encapsulationSizeBytes + 16)
        expect(toHex(unpadContents(padded))).toBe(toHex(bytes))
      }),
      { numRuns: 60 },
    )
  })

  test('too much for the largest envelope', () => {
    expect(() => padContents(new Uint8Array(16_384 - 1140))).not.toThrow()
    expect(() => padContents(new Uint8Array(16_384 - 1139))).toThrow(code('ERR_SIZE_INVALID'))
  })

  test('a composed envelope opens its window, less what was destroyed', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(300), fc.nat(300), fc.nat(300), (a, b, c, d) => {
        const window = { first, from: first + Math.min(a, b), until: first + Math.max(a, b) + 1 }
        const gone = { first, from: first + Math.min(c, d), until: first + Math.max(c, d) + 1 }
        const [whole, root] = [newStreamRoot(), newStreamRoot()]
        const left = shredNodes([root], gone)
        const composed = composeEnvelope({
          range: window,
          streams: [
            { stream: stream(1), kind: 1, class: 0, nodes: [whole] },
            { stream: stream(2), kind: 2, class: 0, nodes: left },
          ],
          diagnosis: [],
        })
        expect(parseContents(encodeContents(composed))).toEqual(composed)
        const [one, two] = composed.streams.map(({ keys }) => envelopeNodes(composed, keys)) as [TreeNode[], TreeNode[]]
        for (const epoch of [
          window.from - 1,
          window.from,
          window.until - 1,
          window.until,
          gone.from - 1,
          gone.from,
          gone.until - 1,
          gone.until,
        ]) {
          const inside = window.from <= epoch && epoch < window.until
          const destroyed = gone.from <= epoch && epoch < gone.until
          for (const [nodes, source, has] of [
            [one, [whole], inside],
            [two, [root], inside && !destroyed],
          ] as const) {
            if (has)
              expect(epochKeyFrom({ nodes, first, epoch })).toEqual(epochKeyFrom({ nodes: source, first, epoch }))
            else expect(() => epochKeyFrom({ nodes, first, epoch })).toThrow(code('ERR_EPOCH_OUTSIDE'))
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  test('no window, no envelope', () => {
    const granted = streams([newStreamRoot()])
    for (const range of [
      { first, from: first + 2, until: first + 2 },
      { first, from: first - 9, until: first },
    ]) {
      expect(() => composeEnvelope({ range, streams: granted, diagnosis: [] })).toThrow(code('ERR_EPOCH_OUTSIDE'))
    }
  })
})

test('sealed to a key: opens for the same label and context only', async () => {
  const plaintext = randomBytes(100)
  const options = { suite, publicKey: doctor.publicKey, label: 'request', context: Uint8Array.of(1, 2), plaintext }
  const sealed = await sealToKemKey(options)
  expect(sealed).toHaveLength(100 + 1138)
  const open = (over: object) =>
    openWithKemKey({ keyPair: doctor, label: 'request', context: Uint8Array.of(1, 2), sealed, ...over })
  expect(await open({})).toEqual(plaintext)
  for (const over of [
    { label: 'request2' },
    { context: Uint8Array.of(1) },
    { keyPair: generateKemKeyPair() },
    { sealed: sealed.subarray(0, 1137) },
  ]) {
    expect(await reason(open(over))).toEqual(failed)
  }
  expect(await reason(open({ sealed: new Uint8Array(1) }))).toEqual(failed)
  await expect(open({ sealed: concatBytes(Uint8Array.of(0, 9), sealed.subarray(2)) })).rejects.toThrow(
    code('ERR_SUITE_UNKNOWN'),
  )
  await expect(sealToKemKey({ ...options, label: 'No\0' })).rejects.toThrow(code('ERR_ARGUMENT_INVALID'))
})
