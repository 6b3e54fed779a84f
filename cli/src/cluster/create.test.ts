import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseGenesis, rulesVersionNewest } from '@healthblock/chain/genesis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { canMount, mountSmallDisk } from '../../../test/support/small-disk.ts'
import { main } from '../main.ts'
import { createCluster } from './create.ts'
import { clusterPaths, readCluster } from './layout.ts'

const size = { accounting: 4, storage: 3, replicas: 3, doctors: 1, patients: ['anna'], periodMs: 10_000 }
let root: string
let dir: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hb-create-'))
  dir = join(root, 'cluster')
})
afterEach(() => rmSync(root, { recursive: true }))

test('a new cluster has a ledger, keys and a plan, and no mark of being unfinished', async () => {
  const made = await createCluster(dir, size, Date.now())
  expect(readCluster(dir)).toEqual(made)
  expect(readdirSync(dir)).not.toContain('cluster.unfinished')
  const { params } = parseGenesis(new Uint8Array(readFileSync(clusterPaths.genesis(dir)))).body
  expect(params.seals).toBe(rulesVersionNewest)
})

test('incidents are acknowledged at accounting nodes alone: of another one no secret is looked for', async () => {
  await createCluster(dir, size, Date.now())
  let told = ''
  const io = { stdin: (async function* () {})(), stdout: () => {}, interactive: false }
  const stderr = (text: string): void => {
    told += text
  }
  expect(await main(['ledger', 'acknowledge', 'storage-0', '1', '--dir', dir], { ...io, stderr })).toBe(1)
  expect(told).toContain('there is no accounting node "storage-0" here (accounting-0, ')
})

test('of a cluster that was never started, or is stopped, commands say how to start it', async () => {
  await createCluster(dir, size, Date.now())
  for (const words of [
    ['org', 'show'],
    ['dispute', '--out', join(root, 'd'), '--transaction', 'a'.repeat(64)],
  ]) {
    let err = ''
    const io = { stdin: (async function* () {})(), stdout: () => {}, interactive: false }
    const stderr = (text: string): void => {
      err += text
    }
    expect(await main([...words, '--dir', dir], { ...io, stderr })).toBe(1)
    expect(err).toMatch(/(does not run|no accounting node runs): start the cluster with/)
  }
})

test('the status of a cluster of which nothing runs makes no numbers up', async () => {
  await createCluster(dir, size, Date.now())
  let out = ''
  const stdout = (text: string): void => {
    out += text
  }
  const io = { stdin: (async function* () {})(), stdout, stderr: () => {}, interactive: false }
  expect(await main(['status', '--dir', dir], io)).toBe(1)
  expect(out).toMatch(/^userchain +not known: no accounting node answers$/m)
  expect(out).not.toMatch(/\?|quorum/)
})

test('other sizes than a cluster has are refused by name', async () => {
  await createCluster(dir, size, Date.now())
  let err = ''
  const stderr = (text: string): void => {
    err += text
  }
  const io = { stdin: (async function* () {})(), stdout: () => {}, stderr, interactive: false }
  expect(await main(['up', '--dir', dir, '--accounting', '4', '--patients', '7'], io)).toBe(2)
  expect(err).toContain('holds a cluster already, with --patients 1, which is fixed: leave --patients out')
})

test('what an interrupted creation left is made anew; what anybody else left is not touched', async () => {
  mkdirSync(join(dir, 'accounting-0', 'secrets'), { recursive: true })
  writeFileSync(join(dir, 'accounting-0', 'secrets', 'node.key'), 'old')
  await expect(createCluster(dir, size, Date.now())).rejects.toThrow('is not empty and holds no cluster')
  expect(readFileSync(join(dir, 'accounting-0', 'secrets', 'node.key'), 'utf8')).toBe('old')
  // A file that only has the marker's name is somebody else's too.
  writeFileSync(clusterPaths.unfinished(dir), 'my notes')
  await expect(createCluster(dir, size, Date.now())).rejects.toThrow('is not empty and holds no cluster')
  writeFileSync(clusterPaths.unfinished(dir), 'a cluster that is being made by process 1\n')
  await createCluster(dir, size, Date.now())
  expect(readFileSync(join(dir, 'accounting-0', 'secrets', 'node.key'), 'utf8')).not.toBe('old')
})

test('of two commands that make a cluster in one folder, one is refused and the other undisturbed', async () => {
  const made = await Promise.allSettled([1, 2, 3].map(() => createCluster(dir, size, Date.now())))
  expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  for (const result of made)
    if (result.status === 'rejected') expect(String(result.reason)).toContain('another command')
  expect(readCluster(dir).nodes.every(({ name }) => existsSync(clusterPaths.node(dir, name)))).toBe(true)
  await expect(createCluster(dir, size, Date.now())).rejects.toThrow('holds a cluster already')
})

test('a cluster that another process is making is left to it', async () => {
  mkdirSync(dir)
  writeFileSync(clusterPaths.unfinished(dir), `a cluster that is being made by process ${process.ppid}\n`)
  await expect(createCluster(dir, size, Date.now())).rejects.toThrow('is being made')
  expect(readdirSync(dir)).toEqual(['cluster.unfinished'])
})

test.skipIf(!canMount)('a full disk leaves an empty folder, and a word about it', async () => {
  const disk = mountSmallDisk(dir, 65_536)
  try {
    await expect(createCluster(dir, size, Date.now())).rejects.toThrow(/^no room left for /)
    expect(readdirSync(dir)).toEqual([])
  } finally {
    disk.remove()
  }
})

test('a damaged plan is said to be one', async () => {
  await createCluster(dir, size, Date.now())
  writeFileSync(clusterPaths.file(dir), '{"v": 1, "id"')
  expect(() => readCluster(dir)).toThrow('restore it from a backup')
})
