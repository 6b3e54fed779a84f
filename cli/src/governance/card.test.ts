import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createNodeSecrets, writeKeyFile } from './card.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'healthblock-card-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test('secrets of a node that are there already are set aside, and also when the op key lies among them', () => {
  const op = join(dir, 'op.key')
  writeKeyFile(op)
  const folder = join(dir, 'secrets')
  const options = { ledgerId: new Uint8Array(32), organisation: 'a'.repeat(64) }
  const first = createNodeSecrets(folder, { ...options, opKey: op })
  const key = readFileSync(join(folder, 'node.key'), 'utf8')
  const second = createNodeSecrets(folder, { ...options, opKey: join(folder, 'organisation-op.key') })
  expect(second.keys).not.toEqual(first.keys)
  const [aside, ...more] = readdirSync(dir).filter((name) => name.startsWith('secrets.'))
  expect(more).toEqual([])
  expect(readFileSync(join(dir, aside as string, 'node.key'), 'utf8')).toBe(key)
  expect(readFileSync(join(folder, 'organisation-op.key'), 'utf8')).toBe(readFileSync(op, 'utf8'))
})

test('no key is written over another', () => {
  const path = join(dir, 'root.key')
  writeKeyFile(path)
  expect(() => writeKeyFile(path)).toThrow('no key is written over')
})
