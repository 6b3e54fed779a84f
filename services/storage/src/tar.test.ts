import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { encodeTar, type TarEntry } from './tar.ts'

const folder = mkdtempSync(join(tmpdir(), 'storage-tar-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700)
}

function entry(path: string, bytes: Uint8Array | undefined): TarEntry {
  const content = inPieces(bytes ?? new Uint8Array(0))
  return { path, type: bytes ? 'file' : 'directory', sizeBytes: bytes?.length ?? 0, content }
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

async function archiveOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of encodeTar(each(entries), 1_700_000_000)) pieces.push(piece)
  return Buffer.concat(pieces)
}

test('what tar reads of an archive are the folders and files that went in, whatever their names and sizes', async () => {
  const long = 'x'.repeat(95)
  const files = new Map([
    ['top/empty', new Uint8Array(0)],
    ['top/one byte', new Uint8Array([7])],
    ['top/block', new Uint8Array(randomBytes(512))],
    ['top/inner/more', new Uint8Array(randomBytes(5000))],
    ['top/inner/Grüße.txt', new Uint8Array(randomBytes(10))],
    [`top/${long}/${long}`, new Uint8Array(randomBytes(20))],
    [`top/${'y'.repeat(89)}`, new Uint8Array(randomBytes(3))],
  ])
  const folders = ['top', 'top/inner', `top/${long}`].map((path) => entry(path, undefined))
  const archive = await archiveOf([...folders, ...[...files].map(([path, bytes]) => entry(path, bytes))])
  execFileSync('tar', ['-xf', '-', '-C', folder], { input: archive })
  for (const [path, bytes] of files) expect(readFileSync(join(folder, path))).toEqual(Buffer.from(bytes))
  expect(statSync(join(folder, 'top/block')).mtimeMs).toBe(1_700_000_000_000)
  expect(archive.length % 512).toBe(0)
})

test('a record that makes its own length longer says the longer one', async () => {
  // Of names around the length at which the record has 100 bytes, and so three digits.
  for (let length = 80; length < 100; length++) {
    const path = `ü${'n'.repeat(length)}`
    const archive = await archiveOf([entry(path, new Uint8Array(1))])
    const size = Number.parseInt(archive.subarray(124, 135).toString(), 8)
    const record = archive.subarray(512, 512 + size).toString()
    expect(record).toBe(`${size} path=${path}\n`)
  }
})

test('a file that is longer or shorter than it says ends the archive with a failure', async () => {
  const wrong = { ...entry('file', new Uint8Array(10)), sizeBytes: 11 }
  await expect(archiveOf([wrong])).rejects.toThrow('file has 10 bytes, not 11')
})
