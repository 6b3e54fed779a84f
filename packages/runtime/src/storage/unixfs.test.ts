/** Files and directories against the packages that define them: the same bytes both ways, and nothing else accepted. */
import { randomBytes } from 'node:crypto'
import * as dagPb from '@ipld/dag-pb'
import fc from 'fast-check'
import { UnixFS } from 'ipfs-unixfs'
import { exporter } from 'ipfs-unixfs-exporter'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { CID } from 'multiformats/cid'
import { describe, expect, test } from 'vitest'
import { isRuntimeError } from '../errors.ts'
import { type DagBlock, importFile, nodeLinksMax, parseFileNode, readFile, readFileNode } from './unixfs.ts'

class Blocks {
  readonly map = new Map<string, Uint8Array>()
  reads = 0
  readonly put = async ({ cid, bytes }: DagBlock): Promise<void> => {
    this.map.set(cid.toString(), bytes)
  }
  readonly get = async (cid: CID): Promise<Uint8Array> => {
    this.reads++
    const bytes = this.map.get(cid.toString())
    if (bytes === undefined) throw new Error(`no ${cid}`)
    return bytes
  }
}

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of source) parts.push(part)
  return Buffer.concat(parts)
}

/** The root as `ipfs-unixfs-importer` makes it. */
async function reference(bytes: Uint8Array, leafBytes: number, rawLeaves: boolean): Promise<CID> {
  const sink = { put: async (cid: CID) => cid } as never
  const options = {
    rawLeaves,
    cidVersion: rawLeaves ? (1 as const) : (0 as const),
    chunker: fixedSize({ chunkSize: leafBytes }),
    layout: balanced({ maxChildrenPerNode: nodeLinksMax }),
  }
  for await (const { cid } of importer([{ content: bytes }], sink, options as never)) return cid as unknown as CID
  throw new Error('nothing was made')
}

describe('a file', () => {
  const leafBytes = 16
  const sizes = [0, 1, 15, 16, 17, 173 * 16, 174 * 16, 175 * 16, 348 * 16 + 1]
  test.each(sizes)('of %i bytes in leaves of 16 is what the reference makes of it, raw and wrapped', async (size) => {
    const bytes = randomBytes(size)
    for (const rawLeaves of [true, false]) {
      const blocks = new Blocks()
      const cidVersion = rawLeaves ? 1 : 0
      const made = await importFile(chunks(bytes, 1000), { put: blocks.put, leafBytes, rawLeaves, cidVersion })
      expect(made.cid.toString()).toBe((await reference(bytes, leafBytes, rawLeaves)).toString())
      expect(made.sizeBytes).toBe(size)
      const root = await readFileNode(made.cid, blocks.get)
      expect(root.sizeBytes).toBe(size)
      expect(Buffer.compare(await collect(readFile(root, blocks.get)), bytes)).toBe(0)
      expect(made.dagSizeBytes).toBe(root.dagSizeBytes)
    }
  })

  test('of three levels is what the reference makes of it', async () => {
    const bytes = randomBytes(nodeLinksMax ** 2 + 1)
    const { cid } = await importFile(chunks(bytes, 1000), { put: async () => {}, leafBytes: 1 })
    expect(cid.toString()).toBe((await reference(bytes, 1, true)).toString())
  })

  test('is read by the reference as it was written here', async () => {
    const bytes = randomBytes(1_000_000)
    const blocks = new Blocks()
    const { cid } = await importFile(chunks(bytes, 70_000), { put: blocks.put })
    const source = {
      async *get(wanted: CID) {
        yield await blocks.get(wanted)
      },
    } as never
    const entry = await exporter(cid as never, source)
    if (!('content' in entry)) throw new TypeError('no file')
    const content = entry.content() as AsyncIterable<Uint8Array>
    expect(Buffer.compare(await collect(content), bytes)).toBe(0)
  })

  test('of one leaf has a node above it where a root must be dag-pb', async () => {
    const blocks = new Blocks()
    const { cid } = await importFile(chunks(randomBytes(5), 5), { put: blocks.put, isAlwaysNode: true })
    expect(cid.code).toBe(dagPb.code)
    expect((await collect(readFile(await readFileNode(cid, blocks.get), blocks.get))).length).toBe(5)
  })

  test('is read in any range, and no leaf outside it is fetched', async () => {
    const bytes = randomBytes(40_000)
    const blocks = new Blocks()
    const { cid } = await importFile(chunks(bytes, 999), { put: blocks.put, leafBytes })
    const root = await readFileNode(cid, blocks.get)
    await fc.assert(
      fc.asyncProperty(fc.nat(41_000), fc.nat(2000), async (offset, length) => {
        blocks.reads = 0
        const part = await collect(readFile(root, blocks.get, { offset, length }))
        expect(Buffer.compare(part, bytes.subarray(offset, offset + length))).toBe(0)
        expect(blocks.reads).toBeLessThanOrEqual(length / leafBytes + 4)
      }),
      { numRuns: 50 },
    )
  })

  test('has its root kept last, and is not there if a put fails', async () => {
    const order: string[] = []
    const put = async ({ cid }: DagBlock): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3))
      order.push(cid.toString())
    }
    const { cid } = await importFile(chunks(randomBytes(16 * 400), 100), { put, leafBytes })
    expect(order.at(-1)).toBe(cid.toString())
    let count = 0
    const failing = async (): Promise<void> => {
      if (++count === 100) throw new Error('full')
    }
    await expect(importFile(chunks(randomBytes(16 * 400), 100), { put: failing, leafBytes })).rejects.toThrow('full')
    expect(count).toBeLessThan(120)
  })
})

describe('bad nodes', () => {
  const cid = CID.parse('bafybeidct5v6gs3hb4wh4a4fhuicwfo5tfv5kyjm7repoubduremdkyrei')
  const refuses = (bytes: Uint8Array): boolean => {
    try {
      parseFileNode(cid, bytes)
      return false
    } catch (error) {
      if (isRuntimeError(error, 'ERR_DAG_INVALID')) return true
      throw error
    }
  }

  test('sizes that do not fit the links, other kinds, and noise are refused', () => {
    const link = { Name: '', Hash: cid, Tsize: 1 }
    const file = new UnixFS({ type: 'file' })
    expect(refuses(dagPb.encode({ Data: file.marshal(), Links: [link] }))).toBe(true)
    for (const type of ['symlink', 'hamt-sharded-directory', 'metadata'] as const) {
      const data =
        type === 'hamt-sharded-directory' ? new UnixFS({ type, fanout: 256n, hashType: 0x22n }) : new UnixFS({ type })
      expect(refuses(dagPb.encode({ Data: data.marshal(), Links: [] }))).toBe(true)
    }
    expect(refuses(new Uint8Array([1, 2, 3]))).toBe(true)
  })

  test('any bytes are read or refused by name', () => {
    const good = new UnixFS({ type: 'file', data: new Uint8Array(40) })
    const seed = dagPb.encode({ Data: good.marshal(), Links: [] })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(seed.length - 1), fc.nat(255), (bytes, at, value) => {
        refuses(bytes)
        refuses(seed.with(at, value))
      }),
      { numRuns: 2000 },
    )
  })

  test('a leaf of another size than its parent says ends the reading', async () => {
    const blocks = new Blocks()
    const { cid: root } = await importFile(chunks(randomBytes(64), 64), { put: blocks.put, leafBytes: 16 })
    for (const [name, bytes] of blocks.map) if (bytes.length === 16) blocks.map.set(name, bytes.subarray(1))
    const node = await readFileNode(root, blocks.get)
    await expect(collect(readFile(node, blocks.get))).rejects.toThrow(/another size/)
  })

  test('a tree that is nested without end is not followed', async () => {
    const blocks = new Blocks()
    let child = CID.createV1(dagPb.code, cid.multihash)
    let bytes = dagPb.encode({ Data: new UnixFS({ type: 'file', data: new Uint8Array(1) }).marshal(), Links: [] })
    for (let depth = 0; depth < 30; depth++) {
      await blocks.put({ cid: child, bytes })
      const parent = new UnixFS({ type: 'file' })
      parent.addBlockSize(1n)
      bytes = dagPb.encode({ Data: parent.marshal(), Links: [{ Name: '', Hash: child, Tsize: 1 }] })
      const digest = new Uint8Array(34).fill(depth)
      digest.set([0x12, 0x20])
      child = CID.decode(new Uint8Array([1, 0x70, ...digest]))
    }
    await blocks.put({ cid: child, bytes })
    await expect(collect(readFile(await readFileNode(child, blocks.get), blocks.get))).rejects.toThrow(/nested/)
  })
})
