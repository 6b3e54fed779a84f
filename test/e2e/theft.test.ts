/** A thief copies the folder of a household and uses its op key; root takes the household back, through running services. */
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import {
  type Cut,
  type IotRecord,
  type KeyBody,
  signTransaction,
  type TransactionBody,
  transactionId,
} from '@healthblock/chain/transaction'
import { openHotStore } from '@healthblock/crypto/hot-store'
import { randomBytes } from '@healthblock/crypto/random'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex, toBase64 } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { eventually, hasRedis, TestCluster } from '../support/cluster.ts'

const periodMs = 1_000
const rateHz = 100

interface Reading {
  readonly sequence: number
  readonly generation: number
  readonly transactionId: string
}

describe.skipIf(!hasRedis)('a household whose folder was copied', { timeout: 300_000 }, () => {
  let cluster: TestCluster
  let sentTo = 0

  beforeAll(async () => {
    const size = { accounting: 1, storage: 2, replicas: 2, doctors: 1, patients: ['anna'], periodMs }
    cluster = await TestCluster.start(size)
    sentTo = Date.now() - 120_000
  }, 180_000)

  afterAll(async () => {
    await cluster?.remove()
  })

  const user = () => nodeAccess(cluster.dir, cluster.file, 'user')
  const account = (): Uint8Array => fromHex(cluster.file.patients[0]?.account as string)
  const ledgerId = (): Uint8Array => fromHex(cluster.file.ledgerId)
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
    return eventually(`${count} readings on record`, 120_000, async () => {
      await callNode(user(), 'POST', '/v1/drain', { timeoutMs: 5_000 })
      const found = (await readings()).filter(({ transactionId: id }) => id !== null)
      return found.length >= count ? found : undefined
    })
  }

  /** What the copy is good for. */
  function thief(copy: string) {
    const database = new DatabaseSync(join(copy, 'node.db'), { readOnly: true })
    const wrappingKey = fromHex(readFileSync(join(copy, 'hot.key'), 'utf8').trim())
    const hot = openHotStore({ file: database.prepare('SELECT hot FROM person').get()?.hot as Uint8Array, wrappingKey })
    const committed = "SELECT body FROM consent WHERE state = 'committed' ORDER BY changed DESC LIMIT 1"
    const newest = decodeCbor(database.prepare(committed).get()?.body as Uint8Array) as unknown as KeyBody
    const streams = database.prepare('SELECT stream, kind, sequence FROM stream ORDER BY kind').all()
    database.close()
    const ecg = streams.find(({ kind }) => kind === 'ecg') as { stream: Uint8Array; sequence: number }
    let n = Date.now() + 10_000
    const consent = () => ({ v: 1, a: account(), n: n++, x: Date.now() + 3_600_000 }) as const
    /** Gives the rule that refused it; undefined: it is on record. */
    const post = async (body: TransactionBody): Promise<string | undefined> => {
      const signers = [{ account: account(), key: 1, signingKey: signingKeyFromSeed(hot.opSeed) }]
      const { leaf, bodyBytes } = signTransaction({ ledgerId: ledgerId(), chain: 'userchain', body, signers })
      const tx = transactionId({ ledgerId: ledgerId(), chain: 'userchain', bodyBytes })
      const url = (path: string): URL => new URL(`/v1/userchain/${path}`, cluster.url('accounting-0'))
      const type = (name: string) => ({ method: 'POST', headers: { 'content-type': `application/${name}` } })
      const taken = await fetch(url('transactions'), { ...type('cbor-seq'), body: leaf as Uint8Array<ArrayBuffer> })
      if (taken.status === 422) {
        // Refused at the door: a statement and its signature.
        const { refused } = decodeCbor(new Uint8Array(await taken.arrayBuffer())) as unknown as {
          refused: [{ rule: string }][]
        }
        return refused[0]?.[0].rule
      }
      expect(taken.status).toBe(202)
      const [code, what] = await eventually('an answer', 60_000, async () => {
        const answer = await fetch(url('answers'), { ...type('cbor'), body: encodeCbor({ txs: [tx], waitms: 1_000 }) })
        if (!answer.ok) return undefined
        const [told] = decodeCbor(new Uint8Array(await answer.arrayBuffer())) as unknown as [
          [number, { rule?: string }],
        ]
        return told[0] === 2 || told[0] === 3 ? told : undefined
      })
      return code === 2 ? undefined : what.rule
    }
    return {
      /** Keys of the next generation, every stream cut far ahead. */
      rotate: (ahead: number) => {
        const cut = streams.map(({ stream, sequence }): Cut => {
          return [stream as Uint8Array, hot.generation, Number(sequence) + ahead]
        })
        const lists = { cut, close: [], open: [], env: [] }
        return post({ ...newest, ...lists, ...consent(), gen: hot.generation + 1, first: 0, why: 3 })
      },
      addDevice: () =>
        post({
          ...consent(),
          t: 'device',
          dev: randomBytes(16),
          act: 1,
          streams: [randomBytes(8)],
          cert: randomBytes(32),
        }),
      write: (count: number) => {
        const epoch = Math.floor(Date.now() / 3_600_000)
        const first = Number(ecg.sequence) + 1
        const gap = (seq: number): IotRecord => [ecg.stream, seq, hot.generation, epoch, 2, 0, new Uint8Array(32)]
        return post({ v: 1, t: 'iot', a: account(), r: Array.from({ length: count }, (_, i) => gap(first + i)) })
      },
    }
  }

  test('is taken back by "patient rekey": the thief is shut out, every reading is on record, and her doctor reads on', async () => {
    await cluster.ok('patient', 'grant', 'anna', 'doctor-a', '--streams', 'ecg')
    await send(4)
    const before = await recorded(4)
    const copy = join(cluster.root, 'copy')
    cpSync(cluster.node('user'), copy, { recursive: true })
    const stolen = thief(copy)
    expect([await stolen.write(20), await stolen.rotate(600), await stolen.addDevice()]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    await send(3)
    const people = () => callNode<{ did: string }[]>(user(), 'GET', '/v1/people')
    const [old] = await people()
    const { transactionId: replaced } = await cluster.ok<{ transactionId: string }>('patient', 'rekey', 'anna')
    expect(replaced).toMatch(/^[0-9a-f]{64}$/)
    expect(await stolen.addDevice()).toBe('device.signature')
    await eventually('the new key in use', 60_000, async () =>
      (await people())[0]?.did === old?.did ? undefined : true,
    )
    await send(3)
    const after = await recorded(10)
    expect(after.length).toBe(10)
    const newest = after.at(-1) as Reading
    expect(newest.sequence).toBeGreaterThan((before.at(-1)?.sequence ?? 0) + 600)
    expect(newest.generation).toBeGreaterThan((before.at(-1)?.generation ?? 0) + 1)
    await eventually('the doctor reading on', 60_000, async () => {
      const read = await cluster.ok<Reading[]>('doctor', 'readings', 'doctor-a', 'anna')
      return read.some(({ transactionId: id }) => id === newest.transactionId) ? true : undefined
    })
    const alarms = await cluster.ok<{ code: string }[]>('patient', 'alarms', 'anna')
    // And whatever the doctor's node found in a signal that is no heart's.
    expect(alarms.map(({ code }) => code)).toEqual(expect.arrayContaining(['keys.foreign', 'stream.gap']))
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true } })
    // It holds over a restart.
    await cluster.kill('user')
    await cluster.restart('user')
    await send(2)
    expect((await recorded(12)).length).toBe(12)
  })
})
