import fc from 'fast-check'
import type { CID } from 'multiformats/cid'
import { expect, test } from 'vitest'
import { type CarSection, encodeCar, readCar } from './car.ts'
import { StorageError } from './errors.ts'
import { codecRaw, hashBlock, toCid } from './store/block-id.ts'

const blockBytesMax = 4096

function sectionOf(bytes: Uint8Array): CarSection {
  return { cid: toCid({ digest: hashBlock(bytes), codec: codecRaw }), bytes }
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function write(roots: CID[], sections: readonly CarSection[]): Promise<Buffer> {
  async function* all(): AsyncGenerator<CarSection> {
    yield* sections
  }
  const parts: Uint8Array[] = []
  for await (const part of encodeCar(roots, all())) parts.push(part)
  return Buffer.concat(parts)
}

/** What an archive says, as text; undefined if it is refused by name. Any other failure fails the test. */
async function read(archive: Uint8Array, piece: number): Promise<string[] | undefined> {
  try {
    const car = await readCar(inPieces(archive, piece), blockBytesMax)
    const said = car.roots.map(String)
    for await (const { cid, bytes } of car.sections) {
      expect(bytes.length).toBeLessThanOrEqual(blockBytesMax + 128)
      said.push(`${cid} ${Buffer.from(bytes).toString('hex')}`)
    }
    return said
  } catch (error) {
    if (error instanceof StorageError && error.detail.code === 'ERR_DAG_INVALID') return undefined
    throw error
  }
}

const blocks = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 })
const piece = fc.integer({ min: 1, max: 200 })

test('an archive comes out as it went in, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(blocks, piece, async (contents, size) => {
      const sections = contents.map(sectionOf)
      const roots = sections.slice(0, 1).map(({ cid }) => cid)
      const said = [...roots, ...sections.map(({ cid, bytes }) => `${cid} ${Buffer.from(bytes).toString('hex')}`)]
      expect(await read(await write(roots, sections), size)).toEqual(said.map(String))
    }),
  )
})

test('any bytes, and archives that are cut or changed, are read or refused by name', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), piece, async (bytes, size) => {
      await read(bytes, size)
    }),
    { numRuns: 1000 },
  )
  await fc.assert(
    fc.asyncProperty(blocks, piece, fc.nat(), fc.nat(255), async (contents, size, at, value) => {
      const sections = contents.map(sectionOf)
      const archive = await write([], sections)
      await read(archive.subarray(0, at % archive.length), size)
      archive[at % archive.length] = value
      await read(archive, size)
    }),
    { numRuns: 1000 },
  )
})

test('a length past the limit is refused before its bytes are asked for', async () => {
  const header = await write([], [])
  let asked = 0
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield header
    // 2^35 bytes are promised.
    yield new Uint8Array([0xff, 0xff, 0xff, 0xff, 0x7f])
    for (;;) {
      asked++
      yield new Uint8Array(1024)
    }
  }
  const { sections } = await readCar(endless(), blockBytesMax)
  await expect(sections.next()).rejects.toThrow('too long')
  expect(asked).toBe(0)
})
