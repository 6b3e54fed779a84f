/** Files of a patient through real processes: in by parts, resumed, out whole and in ranges, erased; memory bounded. */
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { readProcess } from '../../cli/src/cluster/processes.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'

interface Stored {
  readonly sequence: number
  readonly cid: string
  readonly receipt: string
}

describe.skipIf(!hasRedis)('files', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let account: string
  let household: string

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 0, patients: ['anna'] })
    account = cluster.file.patients[0]?.account as string
    household = cluster.file.nodes.find(({ role }) => role === 'user')?.name as string
  }, storyMs)

  afterAll(() => cluster?.remove())

  function file(name: string, size: number): { path: string; bytes: Buffer } {
    const bytes = randomBytes(size)
    const path = join(cluster.root, name)
    writeFileSync(path, bytes)
    return { path, bytes }
  }

  function residentMb(): number {
    const { pid } = readProcess(cluster.node(household))
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024
  }

  async function session(): Promise<{ url: string; bearer: string }> {
    const access = nodeAccess(cluster.dir, cluster.file, household)
    const passphrase = readFileSync(clusterPaths.passphrase(cluster.dir, 'anna'), 'utf8').trim()
    const { session: bearer } = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', {
      person: account,
      passphrase,
    })
    return { url: access.url, bearer }
  }

  test.each([
    ['empty.txt', 0],
    ['small.pdf', 5_000],
    ['scan.dcm', 3_000_000],
  ])('%s of %i bytes comes back as it was, on record with a receipt', async (name, size) => {
    const { path, bytes } = file(name, size)
    const stored = await cluster.ok<Stored>('patient', 'file', 'put', 'anna', path, '--type', 'application/dicom')
    expect(await cluster.ok<{ ok: boolean }>('verify', stored.receipt)).toMatchObject({ ok: true })
    const out = join(cluster.root, `out-${name}`)
    await cluster.ok('patient', 'file', 'get', 'anna', name, '--out', out)
    expect(Buffer.compare(readFileSync(out), bytes)).toBe(0)
    expect(statSync(out).mode & 0o777).toBe(0o600)
    const [row] = (
      await cluster.ok<{ name: string; size: number; state: string }[]>('patient', 'file', 'list', 'anna')
    ).slice(-1)
    expect(row).toMatchObject({ name, size, state: 'on record', type: 'application/dicom' })
    if (size < 100_000) return
    for (const [from, to] of [
      [0, 9],
      [65_530, 65_545],
      [1_000_000, 2_500_000],
      [size - 5, size - 1],
    ] as const) {
      await cluster.ok('patient', 'file', 'get', 'anna', name, '--out', out, '--range', `${from}-${to}`)
      expect(Buffer.compare(readFileSync(out), bytes.subarray(from, to + 1))).toBe(0)
    }
  })

  test('an upload that was cut off by the death of the node goes on where it was', async () => {
    const { path, bytes } = file('cut.bin', 10_000_000)
    const { url, bearer } = await session()
    const call = async (method: string, where: string, body?: Buffer | string): Promise<Record<string, number>> => {
      const type = typeof body === 'string' ? 'application/json' : 'application/octet-stream'
      const response = await fetch(new URL(`/v1/people/${account}/files${where}`, url), {
        method,
        headers: { authorization: `Bearer ${bearer}`, ...(body === undefined ? {} : { 'content-type': type }) },
        ...(body === undefined ? {} : { body: body as string }),
      })
      return { ...((await response.json()) as Record<string, number>), httpStatus: response.status }
    }
    const { sequence } = await call('POST', '', JSON.stringify({ name: 'cut.bin', size: bytes.length }))
    for (const [from, to] of [
      [0, 1_000_000],
      [1_000_000, 2_000_000],
      [2_000_000, 2_333_333],
    ] as const) {
      const part = await call('PUT', `/${sequence}?offset=${from}`, bytes.subarray(from, to))
      expect(part.offset).toBe(to)
    }
    expect((await call('PUT', `/${sequence}?offset=2333333`, bytes.subarray(2_333_333, 4_000_000))).httpStatus).toBe(
      413,
    )
    expect((await call('PUT', `/${sequence}?offset=7`, bytes.subarray(0, 5))).httpStatus).toBe(409)
    await cluster.kill(household)
    await cluster.restart(household)
    const stored = await cluster.ok<Stored>('patient', 'file', 'put', 'anna', path)
    expect(stored.sequence).toBe(sequence)
    const out = join(cluster.root, 'out-cut')
    await cluster.ok('patient', 'file', 'get', 'anna', String(sequence), '--out', out)
    expect(Buffer.compare(readFileSync(out), bytes)).toBe(0)
  })

  test('a change of keys ends an unfinished upload; its number is a gap and the next file follows', async () => {
    const { url, bearer } = await session()
    const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }
    const body = JSON.stringify({ name: 'late.bin', size: 100_000 })
    const begun = await fetch(new URL(`/v1/people/${account}/files`, url), { method: 'POST', headers, body })
    const { sequence } = (await begun.json()) as { sequence: number }
    await cluster.ok('patient', 'erase', 'anna', '--from', '2020-01-01', '--streams', 'ecg')
    const part = await fetch(new URL(`/v1/people/${account}/files/${sequence}?offset=0`, url), {
      method: 'PUT',
      headers: { ...headers, 'content-type': 'application/octet-stream' },
      body: new Uint8Array(10),
    })
    expect([part.status, ((await part.json()) as { code: string }).code]).toEqual([409, 'ERR_FILE_INTERRUPTED'])
    const { path } = file('next.bin', 100)
    const next = await cluster.ok<Stored>('patient', 'file', 'put', 'anna', path)
    expect(next.sequence).toBe(sequence + 1)
  })

  test('an upload that nobody goes on with holds up the next file only until it is given up', async () => {
    expect((await cluster.run('patient', 'file', 'put', 'anna', cluster.root)).code).toBe(1)
    const { url, bearer } = await session()
    const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }
    const body = JSON.stringify({ name: 'left.bin', size: 100_000 })
    const begun = await fetch(new URL(`/v1/people/${account}/files`, url), { method: 'POST', headers, body })
    const { sequence } = (await begun.json()) as { sequence: number }
    // A folder is no file, and began no upload.
    const rows = await cluster.ok<{ name: string; state: string }[]>('patient', 'file', 'list', 'anna')
    expect(rows.filter(({ state }) => state === 'uploading').map(({ name }) => name)).toEqual(['left.bin'])
    const next = cluster.ok<Stored>('patient', 'file', 'put', 'anna', file('after.bin', 100).path)
    expect(await cluster.ok('patient', 'file', 'cancel', 'anna', 'left.bin')).toMatchObject({
      sequence,
      cancelled: true,
    })
    expect(await next).toMatchObject({ sequence: sequence + 1, receipt: expect.any(String) })
    expect((await cluster.run('patient', 'file', 'cancel', 'anna', 'after.bin')).code).toBe(1)
  })

  test('64 MB go through while the node grows by less than 64 MB, up and down', async () => {
    // One session for all: opening a vault takes 128 MiB for a moment, by design.
    const { url, bearer } = await session()
    const headers = { authorization: `Bearer ${bearer}` }
    const through = async (name: string, size: number): Promise<void> => {
      const bytes = randomBytes(size)
      const files = new URL(`/v1/people/${account}/files`, url)
      const json = { ...headers, 'content-type': 'application/json' }
      const begun = await fetch(files, { method: 'POST', headers: json, body: JSON.stringify({ name, size }) })
      const { sequence, partSizeMax } = (await begun.json()) as { sequence: number; partSizeMax: number }
      for (let offset = 0; offset < size; offset += partSizeMax) {
        const part = await fetch(`${files}/${sequence}?offset=${offset}`, {
          method: 'PUT',
          headers: { ...headers, 'content-type': 'application/octet-stream' },
          body: bytes.subarray(offset, offset + partSizeMax),
        })
        expect(part.status).toBe(200)
        await part.arrayBuffer()
      }
      const hash = createHash('sha256')
      const answer = await fetch(`${files}/${sequence}`, { headers })
      for await (const chunk of answer.body ?? []) hash.update(chunk as Uint8Array)
      expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
    }
    await through('warm.bin', 8_000_000)
    const before = residentMb()
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, residentMb())
    }, 50)
    await through('big.bin', 64_000_000)
    clearInterval(timer)
    expect(most - before).toBeLessThan(64)
  })

  /** Begins a file, stores some leaves of it, and gives it up: nobody will erase what no record names. */
  async function abandonUpload(): Promise<void> {
    const blocksNow = async (): Promise<number[]> =>
      (await cluster.run<{ blocks: number }[]>('storage', 'status')).value.map(({ blocks }) => blocks)
    const { url, bearer } = await session()
    const files = new URL(`/v1/people/${account}/files`, url)
    const call = (where: string, method: string, type: string, body: Uint8Array<ArrayBuffer> | string) =>
      fetch(`${files}${where}`, { method, headers: { authorization: `Bearer ${bearer}`, 'content-type': type }, body })
    const about = JSON.stringify({ name: 'given-up.bin', size: 5_000_000 })
    const { sequence } = (await (await call('', 'POST', 'application/json', about)).json()) as { sequence: number }
    const before = await blocksNow()
    const part = new Uint8Array(randomBytes(1024 * 1024))
    expect((await call(`/${sequence}?offset=0`, 'PUT', 'application/octet-stream', part)).status).toBe(200)
    expect(Math.max(...(await blocksNow()).map((count, at) => count - (before[at] as number)))).toBeGreaterThan(2)
    const headers = { authorization: `Bearer ${bearer}` }
    expect((await fetch(`${files}/${sequence}`, { method: 'DELETE', headers })).status).toBe(204)
  }

  test('an erased file is opened by nothing, listed nowhere, and gone from every store', async () => {
    const { path } = file('secret.pdf', 700_000)
    for (const { name } of cluster.file.nodes.filter(({ role }) => role === 'storage')) {
      await cluster.kill(name)
      await cluster.restart(name, { STORAGE_ERASE_DELAY_SECONDS: '1' })
    }
    const { sequence, cid } = await cluster.ok<Stored>('patient', 'file', 'put', 'anna', path)
    await abandonUpload()
    await cluster.ok('patient', 'erase', 'anna', '--from', '2020-01-01', '--streams', 'records')
    expect(await cluster.ok('patient', 'file', 'list', 'anna')).toEqual([])
    const read = await cluster.run(
      'patient',
      'file',
      'get',
      'anna',
      String(sequence),
      '--out',
      join(cluster.root, 'no'),
    )
    expect(read.code).toBe(1)
    await eventually('the removal everywhere', async () => {
      const { code } = await cluster.run('storage', 'proof', cid)
      return code === 0 ? true : undefined
    })
    await eventually('empty stores', async () => {
      const { value } = await cluster.run<{ blocks: number }[]>('storage', 'status')
      return value.every(({ blocks }) => blocks === 0) ? true : undefined
    })
  })
})
