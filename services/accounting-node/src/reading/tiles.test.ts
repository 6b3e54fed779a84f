import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CompactRange,
  consistencyProof,
  inclusionProof,
  leafHash,
  MemoryHashes,
  verifyInclusion,
} from '@healthblock/chain/merkle'
import { encodeHashTile, tileNodes, tilesOf } from '@healthblock/chain/tile'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Tiles } from './tiles.ts'

const sizeMax = 66_100
const leaves = Array.from({ length: sizeMax }, (_, index) => encodeUtf8(`leaf ${index}`))
const hashes = new MemoryHashes()
const roots: Uint8Array[] = []
const range = new CompactRange()
for (const leaf of leaves) {
  roots.push(range.root)
  range.append(leafHash(leaf), hashes.keep)
}

let dir: string
let faults: { file: string; index: number }[]
const open = (): Tiles =>
  new Tiles({ dir, entries: (from, to) => leaves.slice(from, to), onFault: (fault) => faults.push(fault) })

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tiles-'))
  faults = []
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('tiles', () => {
  test('every size to 600 has the root of the tree, grown or opened', () => {
    const grown = open()
    for (let size = 1; size <= 600; size++) {
      expect(toHex(grown.grow(size))).toBe(toHex(roots[size] as Uint8Array))
      if (size % 37 === 0 || size === 256 || size === 512) {
        expect(toHex(open().open(size))).toBe(toHex(roots[size] as Uint8Array))
      }
    }
  })

  test('bytes equal those that the tree gives, at every width, and never change', () => {
    const tiles = open()
    const seen = new Map<string, string>()
    for (const size of [1, 200, 256, 257, 700, 65_535, 65_536, 65_537, 66_000]) {
      tiles.grow(size)
      for (const tile of tilesOf(size).filter(({ index, level }) => level > 0 || index < 3 || index > 253)) {
        const bytes = toHex(tiles.tile(tile) as Uint8Array)
        expect(bytes).toBe(toHex(encodeHashTile(hashes.read(tileNodes(tile)))))
        const key = `${tile.level}/${tile.index}`
        expect(bytes.startsWith(seen.get(key) ?? '')).toBe(true)
        seen.set(key, bytes)
        const narrow = tiles.tile({ ...tile, width: 1 })
        expect(bytes.startsWith(toHex(narrow as Uint8Array))).toBe(true)
      }
    }
    expect(tiles.tile({ kind: 'hashes', level: 0, index: 257, width: 256 })).toBeUndefined()
    expect(tiles.tile({ kind: 'hashes', level: 0, index: 300, width: 1 })).toBeUndefined()
    expect(tiles.tile({ kind: 'hashes', level: 9, index: 0, width: 1 })).toBeUndefined()
  })

  test('proofs verify, after a start from files too', () => {
    open().grow(66_000)
    const tiles = open()
    tiles.open(66_000)
    for (const index of [0, 1, 255, 256, 65_535, 65_536, 65_999]) {
      const proof = inclusionProof({ index, size: 66_000 }, tiles.read)
      const leaf = leafHash(leaves[index] as Uint8Array)
      verifyInclusion({ leafHash: leaf, index, size: 66_000, proof, root: roots[66_000] as Uint8Array })
    }
    expect(consistencyProof({ oldSize: 300, size: 66_000 }, tiles.read)).toEqual(
      consistencyProof({ oldSize: 300, size: 66_000 }, hashes.read),
    )
  })

  test.each([
    ['a flipped bit', (bytes: Uint8Array) => bytes.with(100, (bytes[100] as number) ^ 1)],
    ['a cut file', (bytes: Uint8Array) => bytes.slice(0, 8000)],
  ])('%s in a tile file is told and healed', (_, damage) => {
    open().grow(1000)
    const file = join(dir, 'tile/0/001')
    const good = new Uint8Array(readFileSync(file))
    const tiles = open()
    tiles.open(1000)
    writeFileSync(file, damage(good))
    expect(tiles.tile({ kind: 'hashes', level: 0, index: 1, width: 256 })).toEqual(good)
    expect(faults).toEqual([{ file: 'tile/0/001', index: 256 }])
    expect(new Uint8Array(readFileSync(file))).toEqual(good)
  })

  test('missing files are made anew', () => {
    open().grow(700)
    rmSync(join(dir, 'tile'), { recursive: true })
    const tiles = open()
    expect(tiles.open(700)).toEqual(roots[700])
    expect(tiles.tile({ kind: 'hashes', level: 0, index: 1, width: 256 })).toEqual(
      encodeHashTile(hashes.read(tileNodes({ kind: 'hashes', level: 0, index: 1, width: 256 }))),
    )
    expect(readdirSync(join(dir, 'tile/0'))).toEqual(['001'])
    expect(faults).toEqual([])
  })
})
