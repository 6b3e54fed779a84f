/** The same requests to an embedded node and to Kubo's own daemon: the answers are the same, byte for byte but for what is said here. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { findFreePort } from '@healthblock/runtime/ports'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cluster, type Place } from '../cluster.fixture.ts'
import { kuboBinary } from './kubo.fixture.ts'
import { KuboDaemon } from './kubo-daemon.ts'

interface Part {
  readonly name?: string
  readonly type?: string
  readonly body?: string | Buffer
}

interface Answer {
  readonly status: number
  readonly type: string | undefined
  readonly text: string
}

describe.skipIf(kuboBinary === undefined)('an embedded node and Kubo', () => {
  const cluster = new Cluster()
  let place: Place
  let daemon: KuboDaemon

  beforeAll(async () => {
    await cluster.prepare(1, { STORAGE_REPLICAS: '1' })
    await cluster.startAll()
    ;[place] = cluster.places as [Place]
    daemon = new KuboDaemon({
      ...{ binary: kuboBinary as string, dir: join(cluster.folder, 'kubo'), host: '127.0.0.1', onRestart: () => {} },
      identitySeed: new Uint8Array(randomBytes(32)),
      swarmKey: new Uint8Array(randomBytes(32)),
      port: await findFreePort(),
    })
    await daemon.start([])
  })

  afterAll(async () => {
    await daemon.stop()
    await cluster.end()
  })

  function bodyOf(parts: readonly Part[]): Buffer {
    const pieces = parts.flatMap(({ name = 'f', type = 'application/octet-stream', body = '' }) => {
      const head = `--b\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n`
      return [Buffer.from(head), Buffer.from(body), Buffer.from('\r\n')]
    })
    return Buffer.concat([...pieces, Buffer.from('--b--\r\n')])
  }

  async function ask(base: string, token: string, path: string, parts?: readonly Part[]): Promise<Answer> {
    const response = await fetch(new URL(`/api/v0/${path}`, base), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        ...(parts === undefined ? {} : { 'content-type': 'multipart/form-data; boundary=b' }),
      },
      ...(parts === undefined ? {} : { body: new Uint8Array(bodyOf(parts)) }),
    })
    const text = Buffer.from(await response.arrayBuffer()).toString('latin1')
    const type = response.headers.get('content-type')?.split(';')[0]
    // Errors have a reason more than Kubo's.
    return { status: response.status, type, text: text.replace(/,"Reason":"[A-Z_]+"/, '').trimEnd() }
  }

  async function both(path: string, parts?: readonly Part[]): Promise<[Answer, Answer]> {
    return await Promise.all([
      ask(place.node?.address.url as string, cluster.tenants[0]?.token as string, path, parts),
      ask(daemon.client.url, daemon.client.token as string, path, parts),
    ])
  }

  const hello = { body: 'hello world' }
  const raw = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
  const v0 = 'QmaozNR7DZHQK1ZcU9p7QdrshMvXqWK6gpu5rmrkPdT3L4'
  const file = 'Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD'
  const absent = 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnuUvv'
  const folder = [
    { name: 'd', type: 'application/x-directory' },
    { name: 'd/a.txt', body: 'a' },
    { name: 'd/sub/b.txt', body: 'b' },
  ]
  const root = 'bafybeiaumsoecgwym4ciy7z7be2cmo4f4asvfogq6572i3xsydd7qdrmz4'
  const medium = { name: 'm', body: Buffer.alloc(300_000, 'healthblock') }

  test.each<[string, (readonly Part[])?]>([
    ['block/put', [hello]],
    ['block/put', [hello, { body: 'two' }, { body: '' }]],
    ['block/put?format=v0', [hello]],
    ['block/put?format=protobuf', [hello]],
    ['block/put?cid-codec=dag-cbor&pin=0', [hello]],
    ['block/put?cid-codec=raw&pin=T', [{ body: 'pinned' }]],
    ...[
      raw,
      `/ipfs/${raw}`,
      `ipfs://${raw}`,
      raw.toUpperCase(),
      'zb2rhj7crUKTQYRGCRATFaQ6YFLTde2YzdqbbhAASkL9uRDXn',
      v0,
    ].map((name): [string] => [`block/get?arg=${name}`]),
    ['block/get?arg=f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9'],
    [`block/stat?arg=${raw}`],
    [`block/stat?arg=${v0}`],
    [`block/rm?arg=${absent}`],
    [`block/rm?arg=${absent}&force=true`],
    [`block/rm?arg=${absent}&force=true&quiet=true`],
    ['add?raw-leaves=true', [medium]],
    ['add?cid-version=1', [medium]],
    ['add?silent=true', [medium]],
    ['add?cid-version=1', folder],
    [`pin/add?arg=${root}/sub`],
    [`pin/add?arg=${root}`],
    ['add?pin=false', [hello]],
    [`pin/add?arg=${file}&recursive=false`],
    [`pin/ls?arg=${file}`],
    [`pin/ls?arg=${root}/sub`],
    [`pin/ls?arg=${absent}`],
    [`pin/rm?arg=${root}&recursive=0`],
    [`pin/rm?arg=${root}`],
    [`pin/rm?arg=${file}`],
    [`pin/rm?arg=${file}`],
    [`block/rm?arg=${v0}`],
    [`dag/export?arg=${root}/sub`],
    [`dag/resolve?arg=ipfs://${root}/sub/b.txt`],
  ])('%s', async (path, parts) => {
    const [ours, theirs] = await both(path, parts)
    // A refusal has a status of its own here; both are errors, and say the same.
    if (theirs.status === 500) expect(ours.status).toBeGreaterThanOrEqual(400)
    expect({ ...ours, status: theirs.status }).toEqual(theirs)
    if (theirs.status < 500) expect(ours.status).toBe(theirs.status)
  })

  test('what is no yes or no, no pin of a type, or not there, is an error at both', async () => {
    for (const path of [
      `block/get?arg=${raw}&offline=maybe`,
      'pin/ls?type=some',
      `dag/export?arg=${absent}&timeout=100ms`,
    ]) {
      const [ours, theirs] = await both(path)
      expect([path, ours.status >= 400, theirs.status >= 400]).toEqual([path, true, true])
    }
    const url = place.node?.address.url as string
    const response = await fetch(`${url}/api/v0/version`, {
      headers: { authorization: `Bearer ${cluster.tenants[0]?.token}` },
    })
    expect([response.status, await response.text()]).toEqual([405, '405 - Method Not Allowed\n'])
  })

  test('of several blocks in one body all are kept or none', async () => {
    const small = Buffer.from(randomBytes(100))
    const client = cluster.client(place)
    const { numObjects } = await client.repo.stat()
    const [refused] = await both('block/put', [{ body: small }, { body: Buffer.alloc(2 * 1024 * 1024 + 1) }])
    expect(refused.status).toBe(413)
    expect((await client.repo.stat()).numObjects).toBe(numObjects)
  })
})
