import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  createNodeSecrets,
  createStoreSecrets,
  readCard,
  readStoreKeys,
  renewStoreSecrets,
  writeKeyFile,
} from './card.ts'

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

test('a store gets other keys, and keeps what its blocks are encrypted with', () => {
  const folder = join(dir, 'secrets')
  const first = createStoreSecrets(folder, { ledgerId: new Uint8Array(32), organisation: 'a'.repeat(64) })
  const next = join(dir, 'secrets.next')
  chmodSync(join(folder, 'at-rest.key'), 0o644)
  const second = renewStoreSecrets(next, { from: folder, account: first.account, organisation: first.organisation })
  expect([second.account, second.organisation]).toEqual([first.account, first.organisation])
  expect([second.storeKey === first.storeKey, second.peer === first.peer]).toEqual([false, false])
  const atRest = (where: string): string => readFileSync(join(where, 'at-rest.key'), 'utf8')
  expect(atRest(next)).toBe(atRest(folder))
  expect(statSync(join(next, 'at-rest.key')).mode & 0o777).toBe(0o600)
  expect(readStoreKeys(next)).toEqual({ storeKey: second.storeKey, peer: second.peer })
})

test('a card is read as what it is, and nothing else for one', () => {
  const path = join(dir, 'card.json')
  const store = createStoreSecrets(join(dir, 'secrets'), { ledgerId: new Uint8Array(32), organisation: 'a'.repeat(64) })
  writeFileSync(path, JSON.stringify(store))
  expect(readCard(path)).toEqual(store)
  for (const text of ['null', '{}', '[1]', JSON.stringify({ ...store, peer: 'xyz' }), '{']) {
    writeFileSync(path, text)
    expect(() => readCard(path)).toThrow(/is no(t a)? card/)
  }
})
