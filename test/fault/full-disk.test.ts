/**
 * A disk that is full, for one node of each kind in turn: the others go on, the node says what is wrong, nothing that was
 * acknowledged is lost, nothing is half written, and once there is room it goes on by itself.
 */
import { cpSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { canMount, mountSmallDisk, type SmallDisk } from '../support/small-disk.ts'

const mebibyte = 1024 * 1024
const sizes = { 'accounting-1': 64, 'storage-1': 256, user: 32, 'doctor-a': 32 } as const
type NodeName = keyof typeof sizes

interface Reading {
  readonly stream: string
  readonly sequence: number
}

describe.skipIf(!hasRedis || !canMount)('a full disk', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let record: string
  let at = 0
  const disks = new Map<NodeName, SmallDisk>()

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 1, patients: ['anna'], periodMs: 2_000 }, (made) => {
      for (const [name, size] of Object.entries(sizes) as [NodeName, number][]) {
        const dir = made.node(name)
        renameSync(dir, `${dir}.made`)
        disks.set(name, mountSmallDisk(dir, size * mebibyte))
        cpSync(`${dir}.made`, dir, { recursive: true })
        rmSync(`${dir}.made`, { recursive: true })
      }
    })
    record = await writeRecord(cluster.root, { seconds: 120 })
    await cluster.ok('patient', 'grant', 'anna', 'doctor-a')
  }, storyMs)

  afterAll(async () => {
    await cluster?.down()
    for (const disk of disks.values()) disk.remove()
    await cluster?.remove()
  })

  const disk = (name: NodeName): SmallDisk => disks.get(name) as SmallDisk
  const log = (name: NodeName): string => readFileSync(`${cluster.node(name)}/log`, 'utf8')
  const stream = (...more: string[]) => {
    const from = at
    at += 10
    return cluster.run<{ lastSequence: number; error?: { message: string } }>(
      ...['patient', 'stream', 'anna', '--record', record, '--from', String(from), '--to', String(at)],
      ...['--speed', 'max', ...more],
    )
  }
  const readings = () => cluster.ok<Reading[]>('patient', 'readings', 'anna')
  const isReady = async (name: NodeName): Promise<true | undefined> => {
    const answer = await fetch(new URL('/readyz', cluster.url(name))).catch(() => undefined)
    return answer?.ok === true ? true : undefined
  }
  const heads = () =>
    Promise.all(
      ['accounting-0', 'accounting-1'].map(async (name) => {
        const answer = await fetch(new URL('/v1/userchain/head', cluster.url(name)))
        return (await answer.json()) as { size: number; root: string }
      }),
    )

  test('of an accounting node: the others order, and it catches up', async () => {
    disk('accounting-1').fill()
    expect(await stream('--wait')).toMatchObject({ code: 0, value: { lastSequence: 5 } })
    await eventually('the node to stop', () =>
      cluster.run('status').then(({ value }) => {
        const { nodes } = value as { nodes: { name: string; url: string | null }[] }
        return nodes.find(({ name }) => name === 'accounting-1')?.url === null ? true : undefined
      }),
    )
    expect(await stream('--wait')).toMatchObject({ code: 0 })
    disk('accounting-1').free()
    await eventually('the node to be ready', () => isReady('accounting-1').catch(() => undefined))
    await eventually('the same head', async () => {
      const [one, two] = await heads()
      return one?.root === two?.root ? true : undefined
    })
  })

  test('of a storage node: two copies are kept elsewhere, and the third follows', async () => {
    disk('storage-1').fill()
    expect(await stream('--wait')).toMatchObject({ code: 0 })
    const token = (await cluster.ok<{ token: string }>('storage', 'token')).token
    const ask = (name: NodeName | 'storage-0', path: string, body?: FormData) =>
      fetch(new URL(path, cluster.url(name)), {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { body }),
      })
    // What is put at the full node is kept by two others before it says so.
    const block = new Uint8Array(65_536).fill(1)
    const body = new FormData()
    body.append('data', new Blob([block]))
    const put = await ask('storage-1', '/api/v0/block/put?cid-codec=raw', body)
    expect(put.status).toBe(200)
    const { Key: cid } = (await put.json()) as { Key: string }
    const got = await ask('storage-0', `/api/v0/block/get?arg=${cid}`)
    expect(new Uint8Array(await got.arrayBuffer())).toEqual(block)
    disk('storage-1').free()
    await eventually('the third copies', async () => {
      const { code, value } = await cluster.run<{ NumObjects: number }[]>('storage', 'status')
      const counts = new Set(value.map(({ NumObjects }) => NumObjects))
      return code === 0 && counts.size === 1 ? true : undefined
    })
  })

  test('of the user node: nothing is promised, nothing changes, and it goes on where it was', async () => {
    const before = await readings()
    disk('user').fill()
    const failed = await eventually('a refusal', async () => {
      const outcome = await stream()
      return outcome.code === 0 ? undefined : outcome
    })
    expect(failed.stderr).toContain('no room left')
    const refused = await cluster.run('patient', 'revoke', 'anna', 'doctor-a')
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('no room left') })
    disk('user').free()
    expect(await cluster.ok('patient', 'grants', 'anna')).toMatchObject([{ state: 'open' }])
    expect(await stream('--wait')).toMatchObject({ code: 0 })
    const after = await readings()
    expect(after.length).toBeGreaterThan(before.length)
    expect(after.map(({ sequence }) => sequence)).toEqual(after.map((_, index) => index + 1))
  })

  test('of the doctor node: it reads and judges what came meanwhile', async () => {
    disk('doctor-a').fill()
    expect(await stream('--wait')).toMatchObject({ code: 0 })
    await eventually('a word about it', () => (log('doctor-a').length > 0 ? true : undefined))
    disk('doctor-a').free()
    const all = (await readings()).map(({ sequence }) => sequence)
    await eventually('all readings at the doctor', async () => {
      const own = await cluster.ok<Reading[]>('doctor', 'readings', 'doctor-a', 'anna')
      return own.length === all.length ? true : undefined
    })
  })

  test('leaves ledgers that an audit finds nothing wrong with', async () => {
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true, findings: [] } })
  })
})
