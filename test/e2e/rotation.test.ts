/**
 * The proof that rotation works, through running services, on a ledger with epochs of four seconds. The number of what is
 * proven stands in each name; test/rotation.test.ts has the same numbers at the level of bytes.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import {
  type EnvelopeEntry,
  type KeyBody,
  parseTransactionLeaf,
  signTransaction,
  transactionId,
} from '@healthblock/chain/transaction'
import { openHotStore } from '@healthblock/crypto/hot-store'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Load } from '../../bench/support/load.ts'
import { callNode, type NodeAccess, nodeAccess } from '../../cli/src/cluster/client.ts'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'

const epochMs = 4_000
const periodMs = 1_000
const rateHz = 100
const accounting = [0, 1, 2, 3].map((rank) => `accounting-${rank}`)

interface Reading {
  readonly stream: string
  readonly sequence: number
  readonly generation: number
  readonly epoch: number
  readonly transactionId: string
}

interface Grant {
  readonly grant: string
  readonly doctor: string
  readonly state: string
}

type Row = Record<string, null | number | string | Uint8Array>

describe.skipIf(!hasRedis)('rotation', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let credential: string
  let sentTo = 0

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 2, patients: ['anna'], periodMs, epochMs })
    writeFileSync(join(cluster.root, 'finding.txt'), 'Seen by hand.\n')
    credential = (await cluster.ok<{ credential: string }>('patient', 'device', 'anna')).credential
    sentTo = Date.now() - 60_000
  }, storyMs)

  afterAll(async () => {
    await cluster?.remove()
  })

  const account = (): string => cluster.file.patients[0]?.account as string
  const doctorOf = (name: string): string => cluster.file.doctors.find((one) => one.name === name)?.account as string
  const user = (): NodeAccess => nodeAccess(cluster.dir, cluster.file, 'user')
  const asDevice = (): NodeAccess => ({ ...user(), bearer: credential })

  async function session(): Promise<NodeAccess> {
    const passphrase = readFileSync(clusterPaths.passphrase(cluster.dir, 'anna'), 'utf8').trim()
    const opened = await callNode<{ session: string }>(user(), 'POST', '/v1/sessions', {
      person: account(),
      passphrase,
    })
    return { ...user(), bearer: opened.session }
  }

  /** The device sends some seconds of ECG: as many batches. */
  async function send(seconds = 1): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      const samples = Int16Array.from({ length: rateHz }, (_, at) => (at * 7) % 50)
      await callNode(asDevice(), 'POST', '/v1/streams/ecg/samples', {
        ...{ startMs: sentTo, rateHz, gain: 200, leads: ['ii'], samples: toBase64(new Uint8Array(samples.buffer)) },
      })
      sentTo += 1000
    }
  }

  /** Asks a node's own database. */
  function ask(node: string, sql: string, ...values: (string | number | Uint8Array)[]): Row[] {
    const database = new DatabaseSync(join(cluster.node(node), 'node.db'), { readOnly: true, timeout: 10_000 })
    try {
      return database.prepare(sql).all(...values) as Row[]
    } finally {
      database.close()
    }
  }

  const readings = (): Promise<Reading[]> => cluster.ok<Reading[]>('patient', 'readings', 'anna')
  const grants = (): Promise<Grant[]> => cluster.ok<Grant[]>('patient', 'grants', 'anna')
  const doctorReadings = (doctor: string): Promise<Reading[]> =>
    cluster.ok<Reading[]>('doctor', 'readings', doctor, 'anna')
  const post = (doctor: string, { stream, sequence }: Reading) =>
    cluster.run<{ refused?: { rule: string } }>(
      ...['doctor', 'post', doctor, 'anna', '--in', `${stream}:${sequence}`],
      ...['--text', join(cluster.root, 'finding.txt')],
    )
  const experiment = (doctor: string, name: string): Promise<{ refused: boolean }> =>
    callNode(nodeAccess(cluster.dir, cluster.file, doctor), 'POST', `/v1/experiments/${name}`, { patient: account() })
  const revokeAtOnce = (doctor: string): Promise<{ transactionId: string }> =>
    callNode(user(), 'POST', `/v1/people/${account()}/revocations`, { doctor: doctorOf(doctor) })

  /** Waits until everything that was sealed is on the ledger; gives the records of the ECG. */
  async function delivered(): Promise<Row[]> {
    return eventually('delivery', async () => {
      const { pending } = await callNode<{ pending: number }>(user(), 'POST', '/v1/drain', { timeoutMs: 10_000 })
      const waiting = ask('user', 'SELECT count(*) AS n FROM sample')[0]?.n
      return pending === 0 && waiting === 0
        ? ask(
            'user',
            `SELECT batch.* FROM batch JOIN stream USING (account, stream)
             WHERE state = 'committed' AND stream.kind = 'ecg' ORDER BY batch.sequence`,
          )
        : undefined
    })
  }

  /** No hole, no other generation before its time: what everybody who replays the ledger sees. */
  async function expectWhole(rows: readonly Row[]): Promise<void> {
    expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map((_, index) => index + 1))
    const generations = rows.map(({ generation }) => Number(generation))
    expect(generations).toEqual([...generations].sort((a, b) => a - b))
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { ok: true } })
  }

  test('5: a doctor reads the epochs of the window and no other, and is refused when it is over', async () => {
    const epochNow = (): number => Math.floor(Date.now() / epochMs)
    const sendUntilEpoch = (epoch: number): Promise<true> =>
      eventually(`epoch ${epoch}`, async () => {
        // As fast as time goes: what lies far ahead of the node's clock is refused.
        if (sentTo < Date.now()) await send()
        return epochNow() >= epoch ? true : undefined
      })
    await sendUntilEpoch(epochNow() + 3)
    const from = epochNow() - 1
    const until = epochNow() + 8
    await cluster.ok(
      ...['patient', 'grant', 'anna', 'doctor-a', '--streams', 'ecg'],
      ...['--from', new Date(from * epochMs).toISOString(), '--until', new Date(until * epochMs + 1_500).toISOString()],
    )
    await sendUntilEpoch(from + 4)
    const isInside = ({ epoch }: Reading): boolean => from <= epoch && epoch < until
    const early = await eventually('readings of three epochs', async () => {
      const found = (await readings()).filter((reading) => isInside(reading) && reading.epoch < from + 4)
      return new Set(found.map(({ epoch }) => epoch)).size > 2 ? found : undefined
    })
    await eventually('the doctor reading the window', async () => {
      const read = new Set((await doctorReadings('doctor-a')).map(({ transactionId }) => transactionId))
      return early.every(({ transactionId }) => read.has(transactionId)) ? true : undefined
    })
    await sendUntilEpoch(until + 2)
    await delivered()
    const all = await readings()
    const outside = all.filter((reading) => !isInside(reading))
    expect(outside.some(({ epoch }) => epoch < from)).toBe(true)
    expect(outside.some(({ epoch }) => epoch === from - 1)).toBe(true)
    expect(outside.some(({ epoch }) => epoch >= until)).toBe(true)
    const read = await doctorReadings('doctor-a')
    expect(read.filter((reading) => !isInside(reading))).toEqual([])
    expect(await experiment('doctor-a', 'decrypt')).toMatchObject({ refused: true })
    // What was inside may not be diagnosed any more either: the ledger's own time is past the end.
    for (const reading of [all.at(-1) as Reading, early[0] as Reading]) {
      expect((await post('doctor-a', reading)).value).toMatchObject({ refused: { rule: 'D.live' } })
    }
    expect((await grants()).map(({ state }) => state)).toEqual(['expired'])
  })

  test('1, 2: after a revocation nothing opens, and an old envelope is refused in every new transaction', async () => {
    await cluster.ok('patient', 'grant', 'anna', 'doctor-b', '--streams', 'ecg')
    await send(2)
    await delivered()
    const before = (await readings()).at(-1) as Reading
    await eventually('the doctor reading', async () =>
      (await doctorReadings('doctor-b')).some(({ transactionId }) => transactionId === before.transactionId)
        ? true
        : undefined,
    )
    expect(await experiment('doctor-b', 'decrypt')).toMatchObject({ refused: false })
    await cluster.ok('patient', 'revoke', 'anna', 'doctor-b', '--wait')
    await send(2)
    await delivered()
    const after = (await readings()).at(-1) as Reading
    expect(after.generation).toBeGreaterThan(before.generation)
    expect(await experiment('doctor-b', 'decrypt')).toMatchObject({ refused: true })
    expect(await experiment('doctor-b', 'envelope')).toMatchObject({ refused: true })
    expect((await doctorReadings('doctor-b')).some(({ sequence }) => sequence > before.sequence)).toBe(false)
    // Somebody who stole the household's op key posts the old envelope again, for the old grant and generation and for the new.
    const [kept] = ask('doctor-b', 'SELECT gid, generation, bytes FROM envelope ORDER BY position DESC LIMIT 1')
    const [gid, bytes] = [kept?.gid, kept?.bytes] as [Uint8Array, Uint8Array]
    for (const generation of [Number(kept?.generation), after.generation]) {
      expect(await submitKey([[gid, generation, bytes]], after.generation)).toBe('key.env')
    }
  })

  /** Posts a `key` with these envelopes, signed with the household's own op key; gives the rule that refuses it. */
  async function submitKey(env: EnvelopeEntry[], generation: number): Promise<string | undefined> {
    const wrappingKey = fromHex(readFileSync(join(cluster.node('user'), 'hot.key'), 'utf8').trim())
    const [row] = ask('user', 'SELECT hot FROM person')
    const hot = openHotStore({ file: row?.hot as Uint8Array, wrappingKey })
    const [last] = ask('user', "SELECT body FROM consent WHERE state = 'committed' ORDER BY changed DESC LIMIT 1")
    const newest = decodeCbor(last?.body as Uint8Array) as unknown as KeyBody
    expect(hot.generation).toBe(generation)
    const empty = { cut: [], close: [], open: [] }
    const body: KeyBody = { ...newest, ...empty, env, n: Date.now() + 1000, x: Date.now() + 3_600_000 }
    const signers = [{ account: fromHex(account()), key: 1, signingKey: signingKeyFromSeed(hot.opSeed) }]
    const { leaf, bodyBytes } = signTransaction({
      ledgerId: fromHex(cluster.file.ledgerId),
      ...{ chain: 'userchain', body, signers },
    } as Parameters<typeof signTransaction>[0])
    const tx = transactionId({ ledgerId: fromHex(cluster.file.ledgerId), chain: 'userchain', bodyBytes })
    const answer = await fetch(new URL('/v1/userchain/transactions', cluster.url('accounting-1')), {
      ...{ method: 'POST', headers: { 'content-type': 'application/cbor-seq' } },
      body: leaf as Uint8Array<ArrayBuffer>,
    })
    expect(answer.status).toBe(202)
    return refusalOf('accounting-1', tx)
  }

  /** The rule for which a node refused a transaction, once it did; it must not commit it. */
  function refusalOf(node: string, tx: Uint8Array): Promise<string> {
    return eventually(`the answer of ${node}`, async () => {
      const answer = await fetch(new URL('/v1/userchain/answers', cluster.url(node)), {
        ...{ method: 'POST', headers: { 'content-type': 'application/cbor' } },
        body: encodeCbor({ txs: [tx], waitms: 1_000 }),
      })
      if (!answer.ok) return undefined
      const [[code, what]] = decodeCbor(new Uint8Array(await answer.arrayBuffer())) as unknown as [
        [number, { rule?: string }],
      ]
      if (code === 2) throw new Error(`${node} committed what it should refuse`)
      return code === 3 ? what.rule : undefined
    })
  }

  test('a device that speaks FHIR alone is heard, and a wrong unit is refused by the path of its field', async () => {
    const observation = (code: string, unit: string, value: number) => ({
      resourceType: 'Observation',
      status: 'final',
      code: { coding: [{ system: 'http://loinc.org', code }] },
      effectiveDateTime: new Date().toISOString(),
      valueQuantity: { value, system: 'http://unitsofmeasure.org', code: unit },
    })
    const bundle = (...resources: object[]) => ({
      ...{ resourceType: 'Bundle', type: 'collection', entry: resources.map((resource) => ({ resource })) },
    })
    const post = (body: object) => callNode<{ batches: number }>(asDevice(), 'POST', '/v1/fhir', body)
    const waits = () => ask('user', 'SELECT count(*) AS n FROM sample WHERE content IS NOT NULL')[0]?.n
    const before = waits()
    await expect(
      post(bundle(observation('8867-4', '/min', 70), observation('8310-5', 'K', 310))),
    ).rejects.toMatchObject({
      status: 400,
      body: { code: 'ERR_SAMPLES_INVALID', detail: expect.stringContaining('entry[1].resource.valueQuantity.code') },
    })
    expect(waits()).toBe(before)
    expect(await post(bundle(observation('8867-4', '/min', 70), observation('8310-5', 'Cel', 37)))).toMatchObject({
      batches: 1,
    })
    expect(await post(observation('2708-6', '%', 97))).toMatchObject({ batches: 1 })
  })

  test('3: a grant parked at a dead gateway is refused when the gateway returns after a revocation', async () => {
    await cluster.ok('patient', 'grant', 'anna', 'doctor-b', '--streams', 'ecg')
    await delivered()
    await cluster.kill('user')
    const copy = join(cluster.root, 'user-copy')
    cpSync(cluster.node('user'), copy, { recursive: true })
    // One gateway is left, and it reaches neither the others nor the queue.
    await Promise.all(accounting.map((name) => cluster.kill(name)))
    await cluster.restart('accounting-0', { REDIS_URL: 'redis://127.0.0.1:1' })
    await cluster.restart('user')
    const { transactionId: parked } = await callNode<{ transactionId: string }>(
      ...([await session(), 'POST', `/v1/people/${account()}/grants`] as const),
      { doctor: doctorOf('doctor-a'), streams: ['ecg'] },
    )
    await eventually('the promise of accounting-0', () => {
      const outbox = new DatabaseSync(join(cluster.node('user'), 'outbox.db'), { readOnly: true, timeout: 10_000 })
      const row = outbox.prepare('SELECT status FROM entry WHERE id = unhex(?)').get(parked)
      outbox.close()
      return row?.status === 1 ? true : undefined
    })
    await cluster.kill('user')
    await cluster.kill('accounting-0')
    await Promise.all(accounting.slice(1).map((name) => cluster.restart(name)))
    // The household goes on from a copy that knows nothing of that grant, and takes doctor B's keys back.
    rmSync(cluster.node('user'), { recursive: true })
    cpSync(copy, cluster.node('user'), { recursive: true })
    await cluster.restart('user')
    await cluster.ok('patient', 'revoke', 'anna', 'doctor-b', '--wait')
    await cluster.restart('accounting-0')
    expect(await refusalOf('accounting-0', fromHex(parked))).toBe('key.counter')
    expect((await grants()).filter(({ state }) => state === 'open')).toEqual([])
    await send()
    await delivered()
    expect(await doctorReadings('doctor-a')).not.toContainEqual((await readings()).at(-1))
  })

  test('4: readings and revocations that were made while the ledger was away all take effect, and the stream goes on', async () => {
    for (const doctor of ['doctor-a', 'doctor-b'])
      await cluster.ok('patient', 'grant', 'anna', doctor, '--streams', 'ecg')
    await send()
    const before = await delivered()
    const first = Number(before.at(-1)?.generation)
    await Promise.all(accounting.map((name) => cluster.kill(name)))
    const sealed = (count: number): Promise<true> =>
      eventually('sealing', () =>
        Number(ask('user', 'SELECT count(*) AS n FROM batch')[0]?.n) >= before.length + count ? true : undefined,
      )
    await send()
    await sealed(1)
    await revokeAtOnce('doctor-a')
    await send()
    await sealed(2)
    await revokeAtOnce('doctor-b')
    await send()
    await sealed(3)
    await Promise.all(accounting.map((name) => cluster.restart(name)))
    const after = await delivered()
    expect(after.slice(before.length).map(({ generation }) => generation)).toEqual([first, first + 1, first + 2])
    await expectWhole(after)
    expect((await grants()).filter(({ state }) => state === 'open')).toEqual([])
    for (const doctor of ['doctor-a', 'doctor-b'])
      expect(await experiment(doctor, 'decrypt')).toMatchObject({ refused: true })
  })

  test('6: a node that is killed while it revokes has done it wholly or not at all, and forgets nothing it answered', async () => {
    let answered = 0
    const isOpen = async (): Promise<boolean> =>
      (await grants()).some(({ state, doctor }) => state === 'open' && doctor === doctorOf('doctor-b'))
    for (const delayMs of [0, 3, 8, 15, 30, 60, 120]) {
      if (!(await isOpen())) await cluster.ok('patient', 'grant', 'anna', 'doctor-b', '--streams', 'ecg')
      await send()
      const answer = revokeAtOnce('doctor-b').then(
        () => true,
        () => false,
      )
      // The moment at which it dies, not a wait for something.
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      await cluster.kill('user')
      const isAnswered = await answer
      if (isAnswered) answered++
      await cluster.restart('user')
      const [grant] = ask('user', 'SELECT closed, closegen FROM grants ORDER BY opened DESC LIMIT 1')
      if (isAnswered) expect(grant?.closed).not.toBeNull()
      await send()
      const rows = await delivered()
      if (grant?.closed !== null) expect(rows.at(-1)?.generation).toBe(grant?.closegen)
      expect(await experiment('doctor-b', 'decrypt')).toMatchObject({ refused: grant?.closed !== null })
    }
    // The last one may have been done, and not answered.
    if (answered === 0 && (await isOpen())) await revokeAtOnce('doctor-b')
    await expectWhole(await delivered())
  })

  test('7: with many doctors the revocation is one transaction, and every entry is small', async () => {
    const load = new Load({ dir: cluster.dir, urls: [] } as unknown as ConstructorParameters<typeof Load>[0])
    const doctors = await load.enrolDoctors(cluster.url('accounting-0'), 50)
    const access = await session()
    for (const doctor of doctors)
      await callNode(access, 'POST', `/v1/people/${account()}/grants`, { doctor: toHex(doctor), streams: ['ecg'] })
    await delivered()
    // What is on record is settled a moment later: nothing of the grants may be counted as the revocation's.
    await eventually('every grant settled', async () =>
      ask('user', "SELECT 1 FROM posting WHERE state = 'pending' AND what IN ('key', 'envelope')").length === 0
        ? true
        : undefined,
    )
    await Promise.all(accounting.map((name) => cluster.kill(name)))
    const { transactionId } = await callNode<{ transactionId: string }>(
      ...([user(), 'POST', `/v1/people/${account()}/revocations`] as const),
      { doctor: toHex(doctors[0] as Uint8Array) },
    )
    const posted = ask('user', "SELECT tx, what, leaf FROM posting WHERE state = 'pending'")
    expect(posted.filter(({ what }) => what === 'key').map(({ tx }) => toHex(tx as Uint8Array))).toEqual([
      transactionId,
    ])
    expect(Math.max(...posted.map(({ leaf }) => (leaf as Uint8Array).length))).toBeLessThanOrEqual(65_535)
    const envelopes = posted.flatMap(({ leaf }) => {
      const { body } = parseTransactionLeaf(leaf as Uint8Array)
      return body.t === 'key' || body.t === 'envelope' ? body.env : []
    })
    expect(envelopes).toHaveLength(49)
    await Promise.all(accounting.map((name) => cluster.restart(name)))
    await eventually('refused everywhere', async () => {
      const state = await callNode<{ refusedEverywhereAt: string | null }>(
        ...([access, 'GET', `/v1/people/${account()}/revocations/${transactionId}`] as const),
      )
      return state.refusedEverywhereAt ?? undefined
    })
    await expectWhole(await delivered())
  })
})
