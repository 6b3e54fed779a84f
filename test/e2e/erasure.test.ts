/** A patient erases a period, through real processes: keys, ledger, every storage node. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'

interface Erased {
  readonly transactionId: string
  readonly receipt: string
  readonly ranges: { stream: string; from: number; to: number }[]
  readonly cids: string[]
  readonly late: object | null
}

interface Reading {
  readonly stream: string
  readonly sequence: number
  readonly generation: number
}

describe.skipIf(!hasRedis)('erasure of a period', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let record: string
  let erased: Erased

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 1, patients: ['anna'], periodMs: 5_000 })
    for (const { name } of cluster.file.nodes.filter(({ role }) => role === 'storage')) {
      await cluster.kill(name)
      await cluster.restart(name, { STORAGE_ERASE_DELAY_SECONDS: '1' })
    }
    record = await writeRecord(cluster.root, { seconds: 60, rhythm: 'irregular' })
    await cluster.ok('patient', 'grant', 'anna', 'doctor-a')
    await cluster.ok('patient', 'stream', 'anna', '--record', record, '--to', '20', '--speed', 'max', '--wait')
  }, storyMs)

  afterAll(() => cluster?.remove())

  test('its keys are destroyed, it is on record, and the receipt verifies', async () => {
    const from = new Date(Date.now() - 3_600_000).toISOString()
    erased = await cluster.ok<Erased>('patient', 'erase', 'anna', '--from', from, '--streams', 'ecg')
    expect(erased.ranges).toEqual([{ stream: expect.any(String), from: 1, to: erased.cids.length }])
    expect(erased.cids.length).toBeGreaterThan(2)
    expect(erased.late).toBeNull()
    expect(await cluster.ok<{ ok: boolean }>('verify', erased.receipt)).toMatchObject({ ok: true })
    expect(await cluster.ok('patient', 'readings', 'anna')).toEqual([])
  })

  test('the same period once more posts nothing, and says that it was erased', async () => {
    const from = new Date(Date.now() - 3_600_000).toISOString()
    const { receipt, transactionId, ranges, cids } = erased
    expect(await cluster.ok('patient', 'erase', 'anna', '--from', from, '--streams', 'ecg')).toMatchObject({
      ...{ isRepeated: true, receipt, transactionId, ranges, cids },
    })
    const timeline = await cluster.ok<{ kind: string }[]>('patient', 'timeline', 'anna')
    expect(timeline.filter(({ kind }) => kind === 'erased')).toHaveLength(1)
  })

  test('no storage node keeps a block of it, and one command proves it', async () => {
    const proof = await eventually('the removal everywhere', async () => {
      const { code, value } = await cluster.run<{ isGone: boolean; blocks: { nodes: object }[] }>(
        ...['storage', 'proof', ...erased.cids],
      )
      return code === 0 ? value : undefined
    })
    expect(proof.isGone).toBe(true)
    for (const { nodes } of proof.blocks) expect(Object.values(nodes)).toEqual(['erased', 'erased', 'erased'])
  })

  test('a token that every node takes removes its own blocks at every store, and asks again for one that was away', async () => {
    const { token } = await cluster.ok<{ token: string }>('storage', 'token')
    const stores = cluster.file.nodes.filter(({ role }) => role === 'storage').map(({ name }) => name)
    const ask = async (name: string, path: string, body?: FormData): Promise<{ status: number; text: string }> => {
      const headers = { authorization: `Bearer ${token}` }
      const answer = await fetch(new URL(`/api/v0/${path}`, cluster.url(name)), {
        ...{ method: 'POST', headers },
        ...(body === undefined ? {} : { body }),
      })
      return { status: answer.status, text: await answer.text() }
    }
    const put = async (): Promise<string> => {
      const form = new FormData()
      form.append('data', new Blob([crypto.getRandomValues(new Uint8Array(700))]))
      return (JSON.parse((await ask(stores[0] as string, 'block/put', form)).text) as { Key: string }).Key
    }
    // Of two nodes the second is malformed: the first, which was stored, is given up wherever it lies.
    const dag = (nodes: string[]): FormData => {
      const form = new FormData()
      for (const node of nodes) form.append('data', new Blob([node]))
      return form
    }
    const node = JSON.stringify({ name: crypto.randomUUID() })
    const { Cid } = JSON.parse((await ask(stores[0] as string, 'dag/put', dag([node]))).text) as {
      Cid: { '/': string }
    }
    const isAnywhere = async (): Promise<boolean> => {
      const asked = stores.map((name) => ask(name, `block/get?arg=${Cid['/']}&offline=true`))
      return (await Promise.all(asked)).some(({ status }) => status === 200)
    }
    expect(await isAnywhere()).toBe(true)
    await ask(stores[0] as string, `block/rm?arg=${Cid['/']}`)
    expect(await isAnywhere()).toBe(false)
    await ask(stores[0] as string, 'dag/put', dag([node, '{"half":'])).catch(() => undefined)
    await eventually('the end of what broke off', async () => ((await isAnywhere()) ? undefined : true))
    const [cid, other] = [await put(), await put()]
    const remove = (of: string) => ask(stores[1] as string, `block/rm?arg=${of}`)
    expect(JSON.parse((await remove(cid)).text)).toEqual({ Hash: cid })
    for (const name of stores) expect((await ask(name, `block/get?arg=${cid}&offline=true`)).status).toBe(500)
    await cluster.kill(stores[2] as string)
    expect(JSON.parse((await remove(other)).text)).toEqual({ Hash: other, Error: expect.stringContaining('ask again') })
    await cluster.restart(stores[2] as string, { STORAGE_ERASE_DELAY_SECONDS: '1' })
    await eventually('the removal everywhere', async () => {
      const { Error: why } = JSON.parse((await remove(other)).text) as { Error?: string }
      return why === undefined || why.includes('could not find') ? true : undefined
    })
    for (const name of stores) expect((await ask(name, `block/get?arg=${other}&offline=true`)).status).toBe(500)
  })

  test('streaming goes on under other keys, and a doctor cannot diagnose what was erased', async () => {
    await cluster.ok(
      ...['patient', 'stream', 'anna', '--record', record, '--from', '20', '--to', '30', '--speed', 'max', '--wait'],
    )
    const newest = (await cluster.ok<Reading[]>('patient', 'readings', 'anna')).at(-1) as Reading
    expect(newest.generation).toBe(2)
    const last = erased.ranges[0]?.to as number
    expect((await cluster.ok<Reading[]>('patient', 'readings', 'anna')).every(({ sequence }) => sequence > last)).toBe(
      true,
    )
    const post = (sequence: number) =>
      cluster.run<{ refused: { rule: string } }>(
        ...['doctor', 'post', 'doctor-a', 'anna', '--in', `${newest.stream}:${sequence}`, '--text', `${record}.hea`],
      )
    await eventually('a diagnosis of what is new', async () =>
      (await post(newest.sequence)).code === 0 ? true : undefined,
    )
    const refused = await post(1)
    expect(refused.code).toBe(1)
  })
})
