/** A thief copies the folder of a household and uses its op key; root takes the household back, through running services. */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Cut, IotRecord } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { toBase64, toHex } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { stealHousehold } from '../support/stolen.ts'

const periodMs = 1_000
const rateHz = 100

interface Device {
  readonly device: string
  readonly isOwn: boolean
  readonly state: string
}

interface Reading {
  readonly sequence: number
  readonly generation: number
  readonly transactionId: string
}

describe.skipIf(!hasRedis)('a household whose folder was copied', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let sentTo = 0

  beforeAll(async () => {
    const size = { accounting: 1, storage: 2, replicas: 2, doctors: 1, patients: ['anna'], periodMs }
    cluster = await TestCluster.start(size)
    sentTo = Date.now() - 120_000
  }, storyMs)

  afterAll(async () => {
    await cluster?.remove()
  })

  const user = () => nodeAccess(cluster.dir, cluster.file, 'user')
  const readings = (): Promise<Reading[]> => cluster.ok<Reading[]>('patient', 'readings', 'anna')

  async function send(seconds: number): Promise<void> {
    const { credential } = await cluster.ok<{ credential: string }>('patient', 'device', 'anna')
    for (let i = 0; i < seconds; i++) {
      const samples = Int16Array.from({ length: rateHz }, (_, at) => (at * 7) % 50)
      const form = {
        startMs: sentTo,
        rateHz,
        gain: 200,
        leads: ['ii'],
        samples: toBase64(new Uint8Array(samples.buffer)),
      }
      await callNode({ ...user(), bearer: credential }, 'POST', '/v1/streams/ecg/samples', form)
      sentTo += 1000
    }
  }

  /** Waits until `count` readings of hers are on record, and nothing waits. */
  function recorded(count: number): Promise<Reading[]> {
    return eventually(`${count} readings on record`, async () => {
      await callNode(user(), 'POST', '/v1/drain', { timeoutMs: 5_000 })
      const found = (await readings()).filter(({ transactionId: id }) => id !== null)
      return found.length >= count ? found : undefined
    })
  }

  /** What he does with the copy. */
  function thief(copy: string) {
    const { account, hot, newest, streams, consent, post, addDevice } = stealHousehold(cluster, copy)
    const ecg = streams.find(({ kind }) => kind === 'ecg') as { stream: Uint8Array; sequence: number }
    const write = (stream: Uint8Array, first: number, count: number) => {
      const epoch = Math.floor(Date.now() / 3_600_000)
      const gap = (seq: number): IotRecord => [stream, seq, hot.generation, epoch, 2, 0, new Uint8Array(32)]
      return post({ v: 1, t: 'iot', a: account, r: Array.from({ length: count }, (_, i) => gap(first + i)) })
    }
    return {
      /** Keys of the next generation, every stream cut far ahead. */
      rotate: (ahead: number, own: Uint8Array) => {
        const cut = [...streams, { stream: own, sequence: 1 }].map(({ stream, sequence }): Cut => {
          return [stream, hot.generation, Number(sequence) + ahead]
        })
        const lists = { cut, close: [], open: [], env: [] }
        return post({ ...newest, ...lists, ...consent(), gen: hot.generation + 1, first: 0, why: 3 })
      },
      addDevice,
      write: (count: number) => write(ecg.stream, Number(ecg.sequence) + 1, count),
      /** A record of a stream of his own. */
      writeOwn: (stream: Uint8Array, sequence: number) => write(stream, sequence, 1),
    }
  }

  test('is taken back by "patient rekey": the thief is shut out, every reading is on record, and her doctor reads on', async () => {
    await cluster.ok('patient', 'grant', 'anna', 'doctor-a', '--streams', 'ecg')
    await send(4)
    const before = await recorded(4)
    const copy = join(cluster.root, 'copy')
    cluster.copyFolder('user', copy)
    const stolen = thief(copy)
    const own = randomBytes(8)
    const theft = [await stolen.write(20), await stolen.addDevice(own), await stolen.writeOwn(own, 1)]
    expect([...theft, await stolen.rotate(600, own)]).toEqual([undefined, undefined, undefined, undefined])
    const devices = () => cluster.ok<Device[]>('patient', 'device', 'list', 'anna')
    expect(await devices()).toMatchObject([
      { isOwn: true, state: 'in force' },
      { isOwn: false, state: 'in force', streams: [{ stream: toHex(own), kind: null, records: 1 }] },
    ])
    await send(3)
    const people = () => callNode<{ did: string }[]>(user(), 'GET', '/v1/people')
    const [old] = await people()
    const { transactionId: replaced } = await cluster.ok<{ transactionId: string }>('patient', 'rekey', 'anna')
    expect(replaced).toMatch(/^[0-9a-f]{64}$/)
    expect(await stolen.addDevice()).toBe('device.signature')
    expect(await stolen.writeOwn(own, 2)).toBe('iot.signature')
    await eventually('the new key in use', async () => ((await people())[0]?.did === old?.did ? undefined : true))
    await send(3)
    const after = await recorded(10)
    expect(after.length).toBe(10)
    const newest = after.at(-1) as Reading
    expect(newest.sequence).toBeGreaterThan((before.at(-1)?.sequence ?? 0) + 600)
    expect(newest.generation).toBeGreaterThan((before.at(-1)?.generation ?? 0) + 1)
    await eventually('the doctor reading on', async () => {
      const read = await cluster.ok<Reading[]>('doctor', 'readings', 'doctor-a', 'anna')
      return read.some(({ transactionId: id }) => id === newest.transactionId) ? true : undefined
    })
    // His device goes, hers cannot.
    const [hers, his] = (await devices()) as [Device, Device]
    expect(await cluster.run('patient', 'device', 'remove', 'anna', hers.device)).toMatchObject({ code: 1 })
    const removed = await cluster.ok<{ receipt: string }>('patient', 'device', 'remove', 'anna', his.device)
    expect(await cluster.run('verify', removed.receipt)).toMatchObject({ code: 0, value: { ok: true } })
    expect(await devices()).toMatchObject([{ device: hers.device, isOwn: true, state: 'in force' }])
    expect(await cluster.run('patient', 'device', 'remove', 'anna', his.device)).toMatchObject({ code: 1 })
    const alarms = await cluster.ok<{ code: string }[]>('patient', 'alarms', 'anna')
    // And whatever the doctor's node found in a signal that is no heart's.
    expect(alarms.map(({ code }) => code)).toEqual(
      expect.arrayContaining(['device.foreign', 'keys.foreign', 'stream.gap']),
    )
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true } })
    // It holds over a restart.
    await cluster.kill('user')
    await cluster.restart('user')
    await send(2)
    expect((await recorded(12)).length).toBe(12)
  })

  test('whose folder is restored from before a rekey says so, and is brought back by another one', async () => {
    const older = join(cluster.root, 'older')
    await cluster.kill('user')
    cpSync(cluster.node('user'), older, { recursive: true })
    await cluster.restart('user')
    await cluster.ok('patient', 'rekey', 'anna')
    await cluster.kill('user')
    rmSync(cluster.node('user'), { recursive: true })
    cpSync(older, cluster.node('user'), { recursive: true })
    await cluster.restart('user')
    await send(2)
    const codes = async () =>
      (await cluster.ok<{ code: string }[]>('patient', 'alarms', 'anna')).map(({ code }) => code)
    await eventually('the alarm', async () => ((await codes()).includes('keys.replaced') ? true : undefined))
    expect((await readings()).length).toBe(12)
    await cluster.ok('patient', 'rekey', 'anna')
    await send(2)
    expect((await recorded(16)).length).toBe(16)
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true } })
  })
})
