/** Storage nodes join, get other keys and leave while a ledger runs: real processes, by the commands that people type. */
import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex } from '@healthblock/encoding/bytes'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'

interface StoreStatus {
  readonly name: string
  readonly url: string | null
  readonly blocks?: number
  readonly below?: number
}

describe.skipIf(!hasRedis)('storage nodes of a ledger that runs', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let record: string
  let streamed = 0

  beforeAll(async () => {
    cluster = await TestCluster.start({ accounting: 1, doctors: 1, patients: ['anna'], periodMs: 5_000 })
    record = await writeRecord(cluster.root, { seconds: 200, rhythm: 'irregular' })
  }, storyMs)

  afterAll(async () => {
    await cluster?.remove()
  })

  const stream = async (): Promise<void> => {
    const range = ['--from', String(streamed), '--to', String(streamed + 20)]
    streamed += 20
    await cluster.ok('patient', 'stream', 'anna', '--record', record, ...range, '--speed', 'max', '--wait')
  }
  /** What the stores say of themselves once `isThere` holds. */
  const stores = (what: string, isThere: (rows: StoreStatus[]) => boolean): Promise<StoreStatus[]> =>
    eventually(what, async () => {
      const { value } = await cluster.run<StoreStatus[]>('storage', 'status')
      return isThere(value) ? value : undefined
    })
  const blocksOf = (rows: readonly StoreStatus[], name: string): number =>
    rows.find((row) => row.name === name)?.blocks ?? 0
  const submitted = async (...proposal: string[]): Promise<string> => {
    const file = join(cluster.root, 'proposal.json')
    const root = join(cluster.dir, 'secrets', 'organisation-0-root.key')
    const { preview } = await cluster.ok<{ preview: string[] }>('org', ...proposal, '--out', file)
    await cluster.ok('org', 'sign', file, '--key', root, '--yes')
    await cluster.ok('org', 'submit', file)
    return preview.join('\n')
  }
  /** Status with which a store answers a token that a store's key signs. */
  const answerTo = async (seed: string, account: string): Promise<number> => {
    const ledgerId = fromHex(cluster.file.ledgerId)
    const signingKey = signingKeyFromSeed(fromHex(seed.trim()))
    const common = { ledgerId, account: fromHex(account), signingKey, keyNumber: 2, scope: 'storage' } as const
    const authorization = `Bearer ${createTokenSource(common)()}`
    const url = new URL('/api/v0/version', cluster.url('storage-2'))
    return (await fetch(url, { method: 'POST', headers: { authorization } })).status
  }

  test('a fourth store waits until the organisations admit it, then holds its share', async () => {
    await stream()
    const { card } = await cluster.ok<{ card: string }>('org', 'node', 'storage-3', '--organisation', 'organisation-0')
    const { code, stderr } = await cluster.run('up')
    expect([code, stderr]).toEqual([0, expect.stringContaining('storage-3 runs, and waits to be admitted')])
    await stream()
    const [before] = (await cluster.run<StoreStatus[]>('storage', 'status')).value.filter(
      ({ name }) => name === 'storage-3',
    )
    expect(before).toEqual(expect.not.objectContaining({ blocks: expect.anything() }))
    expect(await submitted('propose', 'policy', '--add', card)).toMatch(/4 stores\n {2}NEW {2}store {2}account /)
    const again = await cluster.run(
      ...['org', 'propose', 'policy', '--add', card, '--out', join(cluster.root, 'x.json')],
    )
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('is a store already')])
    await stores('storage-3 to hold its share', (rows) => blocksOf(rows, 'storage-3') > 0)
    await stream()
  })

  test('a store whose keys were stolen goes on with other ones, over the blocks that it had', async () => {
    const secret = join(cluster.node('storage-0'), 'secrets', 'store.key')
    const stolen = readFileSync(secret, 'utf8')
    const held = blocksOf((await cluster.run<StoreStatus[]>('storage', 'status')).value, 'storage-0')
    expect(held).toBeGreaterThan(0)
    const { card, account } = await cluster.ok<{ card: string; account: string }>(
      ...(['org', 'node', 'storage-0', '--renew'] as const),
    )
    expect(await answerTo(stolen, account)).toBe(200)
    const early = await cluster.run('org', 'node', 'storage-0', '--switch')
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('are not on record')])
    expect(await submitted('propose', 'policy', '--replace', card)).toMatch(/KEYS store {2}account /)
    // As if the command had been interrupted when the old secrets were set aside.
    renameSync(join(cluster.node('storage-0'), 'secrets'), join(cluster.node('storage-0'), 'secrets.before'))
    await cluster.ok('org', 'node', 'storage-0', '--switch')
    await eventually('the stolen key to be of no use', async () =>
      (await answerTo(stolen, account)) === 401 ? true : undefined,
    )
    await cluster.down()
    await cluster.up()
    expect(await answerTo(readFileSync(secret, 'utf8'), account)).toBe(200)
    const rows = await stores('storage-0 to have its blocks', (all) => blocksOf(all, 'storage-0') >= held)
    expect(rows.every(({ url }) => url !== null)).toBe(true)
    await stream()
  })

  test('a store that is suspended is dropped, and the others keep what it kept', async () => {
    const early = await cluster.run('org', 'node', 'storage-1', '--drop')
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('is in the policy in force')])
    expect(await submitted('suspend', 'storage-1')).toContain('GONE store')
    await cluster.ok('org', 'node', 'storage-1', '--drop')
    await cluster.down()
    await cluster.up()
    await stream()
    const rows = await stores('three stores with all copies', (all) => all.every(({ below }) => below === 0))
    expect(rows.map(({ name }) => name)).toEqual(['storage-0', 'storage-2', 'storage-3'])
    expect((await cluster.run('audit')).code).toBe(0)
  })
})
