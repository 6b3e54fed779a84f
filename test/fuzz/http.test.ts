/** HTTP of every service, as real processes: no request is a fault of the service, and none makes it larger. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { createToken, type TokenStatement } from '@healthblock/chain/token'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readProcess } from '../../cli/src/cluster/processes.ts'
import { hasRedis, TestCluster } from '../support/cluster.ts'
import { fuzzHttp, type HttpTarget, routesOf } from '../support/http-fuzz.ts'

const growthBytesMax = 150 * 1024 * 1024

describe.skipIf(!hasRedis)('HTTP', { timeout: 3_600_000 }, () => {
  let cluster: TestCluster
  let words: string[]

  beforeAll(async () => {
    const one = { accounting: 1, storage: 1, replicas: 1 }
    cluster = await TestCluster.start({ ...one, doctors: 1, patients: ['anna'], periodMs: 2_000 })
    const { patients, doctors, ledgerId } = cluster.file
    words = ['anna', 'doctor-a', 'ecg', 'vitals', 'userchain', 'docchain', ledgerId, '0', '1', 'checkpoint', 'AAAA']
    words.push(...[...patients, ...doctors].map(({ account }) => account))
  }, 240_000)

  afterAll(async () => {
    await cluster?.remove()
  })

  const secret = (node: string, name: string): string =>
    readFileSync(join(cluster.node(node), 'secrets', name), 'utf8').trim()
  const residentBytes = (node: string): number => {
    const { pid } = readProcess(cluster.node(node))
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return Number(kibibytes) * 1024
  }

  async function attack(node: string, target: Omit<HttpTarget, 'url' | 'words'> & { more?: string[] }): Promise<void> {
    const { pid } = readProcess(cluster.node(node))
    const full = { url: cluster.url(node), words: [...words, ...(target.more ?? [])], ...target }
    expect((await routesOf(full)).length).toBeGreaterThan(3)
    const before = residentBytes(node)
    await fuzzHttp(full)
    expect(readProcess(cluster.node(node)).pid).toBe(pid)
    expect(residentBytes(node) - before).toBeLessThan(growthBytesMax)
    expect(readFileSync(join(cluster.node(node), 'log'), 'utf8')).not.toContain('uncaught')
  }

  test('of an accounting node', async () => {
    const { token } = await cluster.ok<{ token: string }>('ledger', 'token')
    await attack('accounting-0', {
      bearers: [token, secret('accounting-0', 'admin.secret')],
      bodies: [
        { type: 'application/cbor-seq', bytes: encodeCbor([1, { v: 1, t: 'iot' }, []]) },
        { type: 'application/cbor', bytes: encodeCbor({ txs: [new Uint8Array(32)], waitms: 5 }) },
        { type: 'application/octet-stream', bytes: encodeCbor({ term: 1 }) },
      ],
    })
  })

  test('of a storage node', async () => {
    const { token } = await cluster.ok<{ token: string }>('storage', 'token')
    // A member of the network that misbehaves: its own token is good for what stores ask of each other.
    const genesis = parseGenesis(readFileSync(join(cluster.dir, 'genesis.cbor')))
    const { ledgerId } = genesis
    const account = genesisAccounts(genesis).stores[0] as Uint8Array
    const statement: TokenStatement = {
      ...{ account, audience: account },
      scope: 'storage',
      until: Date.now() + 3_600_000,
    }
    const signingKey = signingKeyFromSeed(fromHex(secret('storage-0', 'store.key')))
    const storeToken = createToken({ ledgerId, statement, key: 2, signingKey })
    const multipart = '--x\r\nContent-Disposition: form-data; name="data"\r\n\r\ndata\r\n--x--\r\n'
    await attack('storage-0', {
      bearers: [token, storeToken],
      more: ['bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy', '1ms', '1s'],
      bodies: [
        { type: 'multipart/form-data; boundary=x', bytes: Buffer.from(multipart) },
        { type: 'application/octet-stream', bytes: encodeCbor([new Uint8Array(32)]) },
        { type: 'application/octet-stream', bytes: encodeCbor([new Uint8Array(32), new Uint8Array(0)]) },
        { type: 'application/octet-stream', bytes: encodeCbor({ v: 1, account: new Uint8Array(32), force: 1 }) },
      ],
    })
  })

  test('of a user node', async () => {
    const api = secret('user', 'api.secret')
    const passphrase = readFileSync(join(cluster.dir, 'secrets', 'anna.passphrase'), 'utf8').trim()
    const call = async (method: string, path: string, bearer: string, body?: unknown) => {
      const answer = await fetch(new URL(path, cluster.url('user')), {
        method,
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      return (await answer.json()) as Record<string, string>
    }
    const { session = '' } = await call('POST', '/v1/sessions', api, { person: 'anna', passphrase })
    const { credential = '' } = await call('GET', '/v1/people/anna/device', session)
    expect([session.length, credential.length]).toEqual([64, 64])
    await attack('user', {
      bearers: [api, session, credential],
      // Each costs half a second of a core and 128 MiB on purpose, or waits, or ends the session that the others need.
      except: ['POST /v1/people', 'POST /v1/sessions', 'POST /v1/drain', 'DELETE /v1/sessions'],
    })
  })

  test('of a doctor node', async () => {
    await attack('doctor-a', { bearers: [secret('doctor-a', 'api.secret')] })
  })

  test('leaves everything at work', async () => {
    expect(await cluster.run('status')).toMatchObject({ code: 0 })
    expect(await cluster.run('audit')).toMatchObject({ code: 0, value: { findings: [] } })
  })
})
