/** A household and its ledger through real processes: faults of the network, of processes and of people. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { changeCluster } from '../../cli/src/cluster/layout.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'

interface Streamed {
  readonly batches: number
  readonly transactions: string[]
  readonly lastSequence: number
}

interface Reading {
  readonly sequence: number
  readonly generation: number
  readonly from: string
  readonly transactionId: string
}

describe.skipIf(!hasRedis)('a household', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let record: string

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 0, patients: ['anna'], periodMs: 2_000 })
    record = await writeRecord(cluster.root, { seconds: 60 })
  }, storyMs)

  afterAll(async () => {
    await cluster?.remove()
  })

  const stream = (from: number, to: number, ...more: string[]): Promise<Streamed> =>
    cluster.ok<Streamed>(
      'patient',
      'stream',
      'anna',
      '--record',
      record,
      '--from',
      String(from),
      '--to',
      String(to),
      '--speed',
      'max',
      ...more,
    )
  const readings = (): Promise<Reading[]> => cluster.ok<Reading[]>('patient', 'readings', 'anna')

  test('streams a record, and each batch has a receipt that verifies', async () => {
    const streamed = await stream(0, 10, '--wait')
    expect(streamed).toMatchObject({ batches: 5, lastSequence: 5 })
    for (const id of streamed.transactions) {
      const receipt = join(cluster.node('user'), 'receipts', `${id}.json`)
      const genesis = join(cluster.dir, 'genesis.cbor')
      expect(await cluster.run('verify', receipt, '--genesis', genesis)).toMatchObject({
        code: 0,
        value: { ok: true, trust: 'pinned' },
      })
      const forged = join(cluster.root, 'forged.json')
      const text = readFileSync(receipt, 'utf8')
      writeFileSync(
        forged,
        text.replace(/"leaf":"(.)/, (_, first: string) => `"leaf":"${first === 'g' ? 'h' : 'g'}`),
      )
      expect((await cluster.run('verify', forged, '--genesis', genesis)).code).toBe(1)
    }
  })

  test('delivers everything in order after the ledger was away', async () => {
    const before = (await readings()).length
    for (const rank of [0, 1, 2, 3]) await cluster.kill(`accounting-${rank}`)
    const streamed = await stream(10, 20)
    expect(streamed.batches).toBe(5)
    expect((await readings()).length).toBe(before)
    await Promise.all([0, 1, 2, 3].map((rank) => cluster.restart(`accounting-${rank}`)))
    const after = await eventually('delivery', async () => {
      const now = await readings()
      return now.length === before + 5 ? now : undefined
    })
    expect(after.map(({ sequence }) => sequence)).toEqual(after.map((_, index) => index + 1))
  })

  test('delivers an hour of batches in order after it had no network at all', async () => {
    const before = (await readings()).length
    const away = [...[0, 1, 2, 3].map((rank) => `accounting-${rank}`), ...[0, 1, 2].map((rank) => `storage-${rank}`)]
    for (const name of away) await cluster.kill(name)
    // Sixty minutes at a batch a minute, six times over: twelve minutes at two seconds.
    const long = await writeRecord(join(cluster.root, 'long'), { seconds: 720 })
    const streamed = await cluster.run<Streamed>(...['patient', 'stream', 'anna', '--record', long, '--speed', 'max'])
    expect(streamed).toMatchObject({ code: 0, value: { batches: 360, transactions: [] } })
    expect(streamed.stderr).toContain('360 of 360 batches are sealed and kept')
    await cluster.kill('user')
    await Promise.all(away.map((name) => cluster.restart(name)))
    await cluster.restart('user')
    const after = await eventually('delivery', async () => {
      const now = await readings()
      return now.length === before + 360 ? now : undefined
    })
    expect(after.map(({ sequence }) => sequence)).toEqual(after.map((_, index) => index + 1))
    expect(after.map(({ from }) => from)).toEqual(after.map(({ from }) => from).sort())
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true } })
  })

  test('loses nothing when its process is killed while it streams', async () => {
    const before = (await readings()).length
    const running = cluster
      .run('patient', 'stream', 'anna', '--record', record, '--from', '20', '--to', '40', '--speed', '20')
      .catch(() => undefined)
    await eventually('the first new batch', async () => ((await readings()).length > before ? true : undefined))
    await cluster.kill('user')
    await running
    await cluster.restart('user')
    const sealed = await eventually('delivery of what was sealed', async () => {
      const drained = await fetch(new URL('/v1/drain', cluster.url('user')), {
        method: 'POST',
        headers: {
          authorization: `Bearer ${readFileSync(join(cluster.node('user'), 'secrets', 'api.secret'), 'utf8').trim()}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ timeoutMs: 20_000 }),
      })
      const { pending } = (await drained.json()) as { pending: number }
      return pending === 0 ? await readings() : undefined
    })
    expect(sealed.length).toBeGreaterThan(before)
    expect(sealed.map(({ sequence }) => sequence)).toEqual(sealed.map((_, index) => index + 1))
  })

  test('a device that is switched on and silent gives empty records and no readings, and a lost block is a gap', async () => {
    const before = await readings()
    const device = await cluster.ok<{ credential: string; streams: { ecg: string } }>('patient', 'device', 'anna')
    const ask = (path: string, body: unknown): Promise<Response> =>
      fetch(new URL(path, cluster.url('user')), {
        method: 'POST',
        headers: { authorization: `Bearer ${device.credential}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    expect((await ask('/v1/streams/profile/switch', { on: true })).status).toBe(404)
    expect((await ask('/v1/streams/ecg/switch', { on: 'yes' })).status).toBe(400)
    expect((await ask('/v1/streams/ecg/switch', { on: true })).status).toBe(200)
    const state = (sql: string): Record<string, unknown>[] => {
      const database = new DatabaseSync(join(cluster.node('user'), 'node.db'), { timeout: 10_000 })
      const rows = database.prepare(sql).all()
      database.close()
      return rows
    }
    await eventually('empty records on the ledger', () =>
      state("SELECT 1 FROM batch WHERE kind = 1 AND state = 'committed'").length >= 3 ? true : undefined,
    )
    await cluster.kill('user')
    // The disk loses a block before it was delivered: written as one that waits, under the next number.
    state('UPDATE stream SET sequence = sequence + 1 WHERE class > 0')
    await cluster.restart('user')
    await eventually('the gap on the ledger', () =>
      state("SELECT 1 FROM batch WHERE kind = 2 AND state = 'committed'").length > 0 ? true : undefined,
    )
    expect(await cluster.ok('patient', 'switch', 'anna', 'ecg', 'off')).toEqual({ on: false })
    const alarms = await cluster.ok<{ code: string; about: string; endedAt: string | null }[]>(
      'patient',
      'alarms',
      'anna',
    )
    expect(alarms.filter(({ code }) => code === 'stream.gap')).toMatchObject([
      { about: device.streams.ecg, endedAt: expect.any(String) },
    ])
    expect((await stream(40, 42, '--wait')).batches).toBe(1)
    expect((await readings()).length).toBe(before.length + 1)
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true } })
  })

  test('goes on while one accounting node and one storage node are down', async () => {
    await cluster.kill('accounting-0')
    await cluster.kill('storage-0')
    const streamed = await stream(40, 50, '--wait')
    expect(streamed.batches).toBe(5)
    await Promise.all([cluster.restart('accounting-0'), cluster.restart('storage-0')])
  })

  test('is still there after down and up, also where one node does not start any more', async () => {
    const before = await readings()
    await cluster.ok('down')
    const file = join(cluster.node('storage-2'), 'secrets', 'store.key')
    const key = readFileSync(file)
    writeFileSync(file, 'damaged\n')
    // Nor does it matter that the cluster is of an older release.
    const { algorithm } = cluster.file
    await changeCluster(cluster.dir, (latest) => ({ ...latest, algorithm: 'f'.repeat(64) }))
    const { code, value, stderr } = await cluster.run<{ nodes: { name: string; state: string }[] }>('up')
    expect(code).toBe(1)
    expect(stderr).toMatch(/^storage-2 ended while starting(?:.|\n)*STORAGE_STORE_KEY_FILE: .*\nthe others go on/)
    expect(value.nodes.filter(({ state }) => state !== 'ready').map(({ name }) => name)).toEqual(['storage-2'])
    expect(await readings()).toEqual(before)
    writeFileSync(file, key)
    await changeCluster(cluster.dir, (latest) => ({ ...latest, algorithm }))
    // Who runs goes on, at the address that it had.
    const others = value.nodes.filter(({ name }) => name !== 'storage-2')
    const whole = await cluster.ok<{ nodes: { name: string; state: string; pid: number }[] }>('up')
    expect(whole.nodes.every(({ state }) => state === 'ready')).toBe(true)
    expect(whole.nodes.filter(({ name }) => name !== 'storage-2')).toEqual(others)
  })

  test.skipIf((process.env.REDIS_URL ?? '') !== '')('a queue that was lost alone is started where it was', async () => {
    const { nodes } = await cluster.ok<{ nodes: unknown[] }>('status')
    await cluster.kill('redis')
    expect(await cluster.ok('up')).toMatchObject({ nodes })
    expect((await stream(48, 50, '--wait')).batches).toBe(1)
  })

  test('one node is stopped, restored from its backup and started while the others go on', async () => {
    const backup = join(cluster.root, 'backup')
    await cluster.ok('ledger', 'backup', '--node', 'accounting-1', '--out', backup)
    const refused = await cluster.run('ledger', 'restore', '--node', 'accounting-1', '--from', backup)
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('down --node accounting-1') })
    expect(await cluster.run('down', '--node', 'accounting-9')).toMatchObject({ code: 1 })
    expect(await cluster.ok('down', '--node', 'accounting-1')).toMatchObject({ stopped: 1 })
    expect((await stream(50, 52, '--wait')).batches).toBe(1)
    await cluster.ok('ledger', 'restore', '--node', 'accounting-1', '--from', backup)
    await cluster.ok('up')
    expect((await stream(52, 54, '--wait')).batches).toBe(1)
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true } })
  })

  test('the command that made it goes on with it; other sizes than it has are refused by name', async () => {
    const sizes = ['--accounting', '4', '--doctors', '0', '--register', 'sqlite', '--period-ms', '2000']
    expect(await cluster.run('up', ...sizes)).toMatchObject({ code: 0, value: { dir: cluster.dir } })
    const { code, stderr } = await cluster.run('up', '--accounting', '4', '--storage', '5')
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining('with --storage 3, which is fixed: leave --storage out'),
    ])
  })

  test('says what is wrong, and nothing changes', async () => {
    const before = (await readings()).length
    writeFileSync(join(cluster.root, 'wrong'), 'not the passphrase\n')
    const wrong = await cluster.run('patient', 'readings', 'anna', '--passphrase-file', join(cluster.root, 'wrong'))
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('passphrase is wrong') })
    expect((await cluster.run('patient', 'readings', 'nobody')).stderr).toContain('there is no patient "nobody"')
    expect((await cluster.run('patient', 'stream', 'anna', '--record', join(cluster.root, 'none'))).stderr).toContain(
      'none.hea does not exist',
    )
    writeFileSync(join(cluster.root, 'broken.hea'), 'broken 1 0 100\nbroken.dat 16 200 16 0 0 0 0 II\n')
    expect(await cluster.run('patient', 'stream', 'anna', '--record', join(cluster.root, 'broken'))).toMatchObject({
      code: 1,
    })
    expect((await cluster.run('patient', 'grant', 'anna', 'ab'.repeat(32))).stderr).toContain(
      'nobody with that account',
    )
    expect(await cluster.run('patient', 'dance', 'anna')).toMatchObject({ code: 2 })
    expect((await readings()).length).toBe(before)
  })

  test('answers nobody without a credential', async () => {
    for (const path of [
      '/v1/people',
      '/v1/people/anna/readings',
      '/v1/people/anna/grants',
      '/v1/events',
      '/v1/jobs/x',
    ]) {
      for (const headers of [{}, { authorization: 'Bearer nothing' }] as Record<string, string>[]) {
        expect((await fetch(new URL(path, cluster.url('user')), { headers })).status).toBe(401)
      }
    }
  })
})
