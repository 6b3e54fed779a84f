/** Kubo's own command line, which was not written here, against an embedded node. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cluster, type Place } from '../cluster.fixture.ts'
import { kuboBinary } from './kubo.fixture.ts'

const execute = promisify(execFile)

describe.skipIf(kuboBinary === undefined)("Kubo's command line", () => {
  const cluster = new Cluster()
  let place: Place

  beforeAll(async () => {
    await cluster.prepare(1, { STORAGE_REPLICAS: '1' })
    await cluster.startAll()
    ;[place] = cluster.places as [Place]
  })

  afterAll(() => cluster.end())

  async function ipfs(...args: string[]): Promise<string> {
    return (await ipfsBytes(...args)).toString().trim()
  }

  async function ipfsBytes(...args: string[]): Promise<Buffer> {
    const api = `/ip4/127.0.0.1/tcp/${new URL(place.node?.address.url ?? '').port}`
    const auth = `bearer:${cluster.tenants[0]?.token}`
    const env = { PATH: '/usr/bin:/bin', HOME: cluster.folder, IPFS_PATH: join(cluster.folder, 'none') }
    const { stdout } = await execute(kuboBinary as string, ['--api', api, '--api-auth', auth, ...args], {
      env,
      encoding: 'buffer',
      maxBuffer: 64 * 1024 * 1024,
    })
    return stdout
  }

  /** What a failing command says. */
  async function complaint(...args: string[]): Promise<string> {
    try {
      await ipfs(...args)
    } catch (error) {
      return String((error as { stderr: Buffer }).stderr).trim()
    }
    return ''
  }

  function file(name: string, bytes: Uint8Array): string {
    const path = join(cluster.folder, name)
    writeFileSync(path, bytes)
    return path
  }

  test('block put, get, stat, rm', async () => {
    const bytes = randomBytes(50_000)
    const cid = await ipfs('block', 'put', file('block', bytes))
    expect(Buffer.compare(await ipfsBytes('block', 'get', cid), bytes)).toBe(0)
    expect(await ipfs('block', 'stat', cid)).toBe(`Key: ${cid}\nSize: 50000`)
    expect(await ipfs('block', 'rm', cid)).toBe(`removed ${cid}`)
    expect(await complaint('block', 'get', cid)).toMatch(/^Error: .*could not find/)
    expect(await complaint('block', 'rm', cid)).toMatch(/could not find/)
  })

  test('add, cat, ls, refs, pin ls, files stat', async () => {
    const folder = join(cluster.folder, 'folder')
    mkdirSync(join(folder, 'inner'), { recursive: true })
    const bytes = randomBytes(700_000)
    writeFileSync(join(folder, 'big file'), bytes)
    writeFileSync(join(folder, 'inner', 'small.txt'), 'hello')
    const lines = (await ipfs('add', '-r', '--cid-version=1', folder)).split('\n')
    const cidOf = (name: string): string => lines.find((line) => line.endsWith(` ${name}`))?.split(' ')[1] as string
    const top = cidOf('folder')
    // What the same tool computes by itself, without any node.
    const only = await execute(kuboBinary as string, ['init', '--empty-repo'], {
      env: { HOME: cluster.folder, IPFS_PATH: join(cluster.folder, 'own') },
    }).then(() =>
      execute(kuboBinary as string, ['add', '-r', '-Q', '-n', '--cid-version=1', folder], {
        env: { HOME: cluster.folder, IPFS_PATH: join(cluster.folder, 'own') },
      }),
    )
    expect(top).toBe(only.stdout.trim())
    expect(Buffer.compare(await ipfsBytes('cat', `${top}/big file`), bytes)).toBe(0)
    expect(await ipfs('cat', '--offset=1', '--length=3', `${top}/inner/small.txt`)).toBe('ell')
    expect((await ipfs('ls', top)).split('\n').map((line) => line.trim().split(/\s+/, 2)[1])).toEqual(['700000', '-'])
    expect((await ipfs('refs', '-r', top)).split('\n')).toHaveLength(6)
    expect((await ipfs('pin', 'ls', '--type=recursive')).split('\n')).toContain(`${top} recursive`)
    expect(await ipfs('files', 'stat', `/ipfs/${top}`)).toMatch(/Type: directory/)
    expect(await complaint('cat', top)).toMatch(/this dag node is a directory/)
    const got = join(cluster.folder, 'got')
    await ipfs('get', '-o', got, top)
    expect(readdirSync(got, { recursive: true }).sort()).toEqual(['big file', 'inner', 'inner/small.txt'])
    expect(Buffer.compare(readFileSync(join(got, 'big file')), bytes)).toBe(0)
    for (const options of [[], ['--archive'], ['--compress']]) {
      const one = join(cluster.folder, `one${options.join('')}`)
      await ipfs('get', ...options, '-o', one, `${top}/inner/small.txt`)
    }
    expect(readFileSync(join(cluster.folder, 'one'), 'utf8')).toBe('hello')
    expect(gunzipSync(readFileSync(join(cluster.folder, 'one--compress.gz'))).toString()).toBe('hello')
    expect(readFileSync(join(cluster.folder, 'one--archive.tar')).subarray(0, 9).toString()).toBe('small.txt')
    expect(await complaint('get', '-o', join(cluster.folder, 'none'), `${top}/none`)).toMatch(/no link named "none"/)
  })

  test('dag export gives an archive that comes back, and dag get shows nodes', async () => {
    const cid = await ipfs('add', '-Q', '--cid-version=1', file('exported', randomBytes(600_000)))
    const car = await ipfsBytes('dag', 'export', '--progress=false', cid)
    expect(await ipfs('dag', 'import', file('archive.car', car))).toContain(cid)
    const node = await ipfs('dag', 'put', file('node.json', Buffer.from(`{"file":{"/":"${cid}"}}`)))
    expect(await ipfs('dag', 'get', node)).toBe(`{"file":{"/":"${cid}"}}`)
    expect(await ipfs('repo', 'verify')).toMatch(/verify complete, all blocks validated/)
  })

  test('what would be kept without what was asked for is refused, and the fault is named', async () => {
    const path = file('named', Buffer.from('named'))
    expect(await complaint('add', '--pin-name=mine', path)).toMatch(/pin-name: is not offered/)
    expect(await complaint('add', '--preserve-mode', path)).toMatch(/preserve-mode: is not offered/)
    const cid = await ipfs('add', '-Q', '--cid-version=1', path)
    expect(await complaint('pin', 'add', '--name=mine', cid)).toMatch(/name: pins have no names here/)
    expect(await complaint('cat', 'nonsense')).toMatch(/invalid CID: "nonsense" cannot be read/)
  })

  test('a wrong token, and a command that is not offered', async () => {
    expect(await complaint('repo', 'gc')).toMatch(/[Cc]ommand not found/)
    const api = `/ip4/127.0.0.1/tcp/${new URL(place.node?.address.url ?? '').port}`
    const refused = execute(kuboBinary as string, ['--api', api, '--api-auth', 'bearer:wrong', 'id'], {
      env: { HOME: cluster.folder, IPFS_PATH: join(cluster.folder, 'none') },
    })
    await expect(refused).rejects.toThrow(/token/)
    expect(readFileSync(join(cluster.folder, 'node.json'), 'utf8')).toContain('file')
  })
})
