import { encodeUtf8 } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import {
  CompactRange,
  consistencyProof,
  consistencyProofAsync,
  inclusionProof,
  inclusionProofAsync,
  leafHash,
  MemoryHashes,
} from './merkle.ts'
import {
  encodeEntryBundle,
  encodeHashTile,
  type HashTile,
  hashEntries,
  newEntryBundles,
  newTiles,
  parseEntryBundle,
  parseHashTile,
  parseTilePath,
  tileHashReader,
  tileNodes,
  tilePath,
  tilesOf,
} from './tile.ts'

test.each([
  [{ kind: 'hashes', level: 0, index: 1234067, width: 256 }, 'tile/0/x001/x234/067'],
  [{ kind: 'hashes', level: 0, index: 273, width: 112 }, 'tile/0/273.p/112'],
  [{ kind: 'hashes', level: 63, index: 0, width: 1 }, 'tile/63/000.p/1'],
  [{ kind: 'entries', index: 1000, width: 256 }, 'tile/entries/x001/000'],
  [{ kind: 'entries', index: 999, width: 255 }, 'tile/entries/999.p/255'],
] as const)('path of %j', (tile, path) => {
  expect(tilePath(tile)).toBe(path)
  expect(parseTilePath(path)).toEqual(tile)
})

test.each([
  'tile/0/67',
  'tile/0/0067',
  'tile/0/x000/067',
  'tile/00/067',
  'tile/64/067',
  'tile/-1/067',
  'tile/0/067.p/0',
  'tile/0/067.p/256',
  'tile/0/067.p/01',
  'tile/0/001/067',
  'tile/0/x001',
  'tile/0/067/',
  '/tile/0/067',
  'tile/entries/../067',
  'tile/data/067',
  'tile/0/067\n',
  'tile/0/x999/x999/x999/x999/x999/x999/999',
])('refuses the path %j', (path) => {
  expect(() => parseTilePath(path)).toThrow(
    expect.objectContaining({ name: 'ChainError', detail: { code: 'ERR_TILE_FORMAT', reason: 'path' } }),
  )
})

test('the tiles of 70,000 leaves are those of the specification', () => {
  const tiles = tilesOf(70_000)
  const count = (level: number, full: boolean) =>
    tiles.filter((tile) => tile.level === level && (tile.width === 256) === full).map(({ width }) => width)
  expect([count(0, true).length, count(0, false)]).toEqual([273, [112]])
  expect([count(1, true).length, count(1, false)]).toEqual([1, [17]])
  expect([count(2, true).length, count(2, false)]).toEqual([0, [1]])
  expect(tilesOf(256).map(tilePath)).toEqual(['tile/0/000', 'tile/1/000.p/1'])
  expect(tilesOf(0)).toEqual([])
})

test('growing writes each tile that changed', () => {
  expect(newTiles({ oldSize: 250, size: 260 }).map(tilePath)).toEqual([
    'tile/0/000',
    'tile/0/001.p/4',
    'tile/1/000.p/1',
  ])
  expect(newTiles({ oldSize: 256, size: 257 }).map(tilePath)).toEqual(['tile/0/001.p/1'])
  expect(newTiles({ oldSize: 257, size: 257 })).toEqual([])
  expect(newEntryBundles({ oldSize: 255, size: 257 }).map(tilePath)).toEqual([
    'tile/entries/000',
    'tile/entries/001.p/1',
  ])
  fc.assert(
    fc.property(fc.nat(200_000), fc.nat(200_000), (a, b) => {
      const [oldSize, size] = [Math.min(a, b), Math.max(a, b)]
      const before = new Set(tilesOf(oldSize).map(tilePath))
      const wanted = tilesOf(size).map(tilePath)
      expect(newTiles({ oldSize, size }).map(tilePath)).toEqual(wanted.filter((path) => !before.has(path)))
    }),
    { numRuns: 30 },
  )
})

test('entry bundles read back', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 700 }), { minLength: 1, maxLength: 20 }), (entries) => {
      const bundle = encodeEntryBundle(entries)
      expect(parseEntryBundle(bundle, entries.length).map((e) => [...e])).toEqual(entries.map((e) => [...e]))
      expect(() => parseEntryBundle(bundle, entries.length + 1)).toThrow(ChainError)
      expect(() => parseEntryBundle(bundle.slice(0, -1), entries.length)).toThrow(ChainError)
    }),
  )
  const largest = new Uint8Array(65_535)
  expect(parseEntryBundle(encodeEntryBundle([largest]), 1)[0]?.length).toBe(65_535)
  expect(() => encodeEntryBundle([new Uint8Array(65_536)])).toThrow(ChainError)
  expect(() => parseEntryBundle(new Uint8Array(3), 1)).toThrow(ChainError)
})

test('any bytes are a bundle or a typed error', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.integer({ min: -1, max: 300 }), (bytes, width) => {
      try {
        const entries = parseEntryBundle(bytes, width)
        expect([...encodeEntryBundle(entries)]).toEqual([...bytes])
      } catch (error) {
        expect(error).toBeInstanceOf(ChainError)
      }
      try {
        expect([...encodeHashTile(parseHashTile(bytes, width))]).toEqual([...bytes])
      } catch (error) {
        expect(error).toBeInstanceOf(ChainError)
      }
    }),
  )
})

test('proofs from tiles equal proofs from hashes, each tile read once', async () => {
  const sizeMax = 70_000
  const store = new MemoryHashes()
  const range = new CompactRange()
  const entry = (i: number) => encodeUtf8(`entry ${i}`)
  for (let i = 0; i < sizeMax; i++) range.append(leafHash(entry(i)), store.keep)
  for (const size of [1, 2, 255, 256, 257, 511, 600, 65_535, 65_536, 65_537, sizeMax]) {
    const reads: string[] = []
    const readTile = async (tile: HashTile) => {
      reads.push(tilePath(tile))
      return encodeHashTile(store.read(tileNodes(tile)))
    }
    const read = tileHashReader({ size, readTile })
    const served = new Set(tilesOf(size).map(tilePath))
    for (const index of [0, 1, Math.floor(size / 2), size - 1].filter((i) => i < size)) {
      expect(await inclusionProofAsync({ index, size }, read)).toEqual(inclusionProof({ index, size }, store.read))
      expect(new Set(reads).size).toBe(reads.length)
      expect(reads.filter((path) => !served.has(path))).toEqual([])
      reads.length = 0
      const sizes = { oldSize: index, size }
      expect(await consistencyProofAsync(sizes, read)).toEqual(consistencyProof(sizes, store.read))
      reads.length = 0
    }
  }
  expect(hashEntries([entry(0), entry(1)])).toEqual(
    store.read([
      { level: 0, index: 0 },
      { level: 0, index: 1 },
    ]),
  )
  await expect(
    tileHashReader({ size: 3, readTile: async () => new Uint8Array(96) })([{ level: 1, index: 1 }]),
  ).rejects.toThrow(expect.objectContaining({ detail: { code: 'ERR_HASH_MISSING', level: 1, index: 1 } }))
})
