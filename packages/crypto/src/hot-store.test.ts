import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { describe, expect, test } from 'vitest'
import { generateKemKeyPair } from './envelope.ts'
import {
  encodeHotStore,
  type HotStoreContents,
  type LiveGrant,
  newHotStoreKey,
  openHotStore,
  parseHotStore,
  sealHotStore,
} from './hot-store.ts'
import { newStreamRoot, restrictNodes } from './key-tree.ts'
import { randomBytes } from './random.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const kemKey = generateKemKeyPair().publicKey
const first = 490_000
const stream = (at: number) => Uint8Array.of(at, 0, 0, 0, 0, 0, 0, 1)
const nodes = (at: number) => ({
  stream: stream(at),
  generation: 4,
  first,
  nodes: restrictNodes([newStreamRoot()], { first, from: first, until: first + 720 }),
})
const grant = (at: number): LiveGrant => ({
  grantId: new Uint8Array(16).fill(at),
  recipient: randomBytes(32),
  suite: 1,
  kemKey,
  streams: [stream(1), stream(2)],
  from: first,
  until: 2 ** 53 - 1,
  rights: 3,
})
const contents: HotStoreContents = {
  opSeed: randomBytes(32),
  kemSeed: randomBytes(32),
  vaultKey: kemKey,
  generation: 4,
  first,
  streams: [
    { stream: stream(1), kind: 1, class: 16_384, lastSequence: 2 ** 40 },
    { stream: stream(2), kind: 0, class: 16_384, lastSequence: 0 },
  ],
  nodes: [nodes(1), nodes(2)],
  grants: [grant(1), grant(2)],
  sealedRoots: [randomBytes(1200)],
}

test('contents survive, in order, whatever order they came in', () => {
  expect(parseHotStore(encodeHotStore(contents))).toEqual(contents)
  const shuffled = {
    ...contents,
    streams: [...contents.streams].reverse(),
    grants: [...contents.grants].reverse(),
    nodes: [...contents.nodes].reverse(),
  }
  expect(encodeHotStore(shuffled)).toEqual(encodeHotStore(contents))
})

test('the file opens under its key, and under nothing else', () => {
  const wrappingKey = newHotStoreKey()
  const file = sealHotStore({ contents, wrappingKey })
  expect(openHotStore({ file, wrappingKey })).toEqual(contents)
  expect(sealHotStore({ contents, wrappingKey })).not.toEqual(file)
  expect(() => openHotStore({ file, wrappingKey: newHotStoreKey() })).toThrow(code('ERR_OPEN_FAILED'))
  for (let at = 0; at < file.length; at++) {
    const wrong = file.slice()
    wrong[at] = (wrong[at] as number) ^ (1 << (at % 8))
    expect(() => openHotStore({ file: wrong, wrappingKey })).toThrow(code('ERR_OPEN_FAILED'))
  }
  for (const end of [0, 8, 55, file.length - 1]) {
    expect(() => openHotStore({ file: file.subarray(0, end), wrappingKey })).toThrow(code('ERR_OPEN_FAILED'))
  }
})

describe('form', () => {
  test('contents out of form are not written', () => {
    for (const over of [
      { opSeed: new Uint8Array(31) },
      { vaultKey: new Uint8Array(1215) },
      { streams: [contents.streams[0], contents.streams[0]] },
      { grants: [grant(1), grant(1)] },
      { grants: [{ ...grant(1), kemKey: new Uint8Array(3) }] },
      { nodes: [nodes(1), nodes(1)] },
      { nodes: [{ ...nodes(1), nodes: [newStreamRoot(), newStreamRoot()] }] },
    ]) {
      expect(() => encodeHotStore({ ...contents, ...over } as HotStoreContents)).toThrow(code('ERR_ARGUMENT_INVALID'))
    }
  })

  test('bytes out of form are not read', () => {
    const map = decodeCbor(encodeHotStore(contents)) as Record<string, never>
    for (const over of [
      { v: 2 },
      { other: 1 },
      { op: 7 },
      {
        streams: [
          [stream(2), 1, 0, 0],
          [stream(1), 1, 0, 0],
        ],
      },
      { streams: [[stream(2), 1, 0]] },
      { grants: [1] },
      { nodes: [[stream(1), 4, first, [[0, 1, new Uint8Array(32)]]]] },
      { sealed: 'x' },
    ]) {
      const bytes = encodeCbor({ ...map, ...over } as never)
      expect(() => parseHotStore(bytes), JSON.stringify(over)).toThrow(code('ERR_FORMAT_INVALID'))
    }
    for (const bytes of [new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(0x80), Uint8Array.of(0xff)]) {
      expect(() => parseHotStore(bytes)).toThrow(code('ERR_FORMAT_INVALID'))
    }
  })
})
