import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FolderCheck } from './folder-check.ts'

let root: string
let dir: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hb-folder-'))
  dir = join(root, 'node')
  mkdirSync(dir)
  writeFileSync(join(dir, 'genesis.cbor'), 'genesis')
})
afterEach(() => rmSync(root, { recursive: true }))

test('a folder that is removed, emptied or replaced is told from the one that it was', async () => {
  const check = new FolderCheck(dir)
  expect(await check.fault()).toBeUndefined()
  renameSync(dir, join(root, 'away'))
  expect(await check.fault()).toContain('ENOENT')
  cpSync(join(root, 'away'), dir, { recursive: true })
  expect(await check.fault()).toContain('another folder')
  rmSync(dir, { recursive: true })
  renameSync(join(root, 'away'), dir)
  expect(await check.fault()).toBeUndefined()
  rmSync(join(dir, 'genesis.cbor'))
  expect(await check.fault()).toContain('ENOENT')
})
