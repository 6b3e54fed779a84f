import { readFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { randomBytes } from '@healthblock/crypto/random'
import { EtcdClient, etcdBytes, etcdRangeEnd } from '@healthblock/runtime/etcd'
import { findFreePort } from '@healthblock/runtime/ports'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { etcdInstalled, startTestEtcd, type TestEtcd } from '../../../../test/support/etcd.ts'
import { describeHeadRegister } from '../../../../test/support/register-conformance.ts'
import { type EtcdRegister, openEtcdRegister, registerPrefix } from './etcd-register.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const failed = { detail: { code: 'ERR_REGISTER_FAILED' } }

/** Passes on what a client sends, and nothing of what comes back: the connection ends instead. */
async function startDeafProxy(port: number): Promise<{ url: string; server: Server }> {
  const server = createServer((socket) => {
    const upstream = connect(port, '127.0.0.1')
    socket.pipe(upstream)
    upstream.once('data', () => {
      socket.destroy()
      upstream.destroy()
    })
    for (const each of [socket, upstream]) each.on('error', () => {})
  })
  const own = await findFreePort()
  await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${own}`, server }
}

describe.skipIf(!etcdInstalled)('the register in etcd (needs etcd-server)', () => {
  let etcd: TestEtcd
  let proxy: { url: string; server: Server }
  const opened: EtcdRegister[] = []
  beforeAll(async () => {
    etcd = await startTestEtcd({ members: 1 })
    proxy = await startDeafProxy(Number(new URL(etcd.urls[0] as string).port))
  })
  afterEach(() => {
    for (const register of opened.splice(0)) register.close()
  })
  afterAll(async () => {
    proxy?.server.close()
    await etcd?.stop()
  })

  function open(ledgerId: Uint8Array, endpoints: readonly string[] = etcd.urls): EtcdRegister {
    const register = openEtcdRegister({ ledgerId, endpoints })
    opened.push(register)
    return register
  }

  describeHeadRegister(
    () => {
      const ledgerId = randomBytes(32)
      return {
        client: () => open(ledgerId),
        deafClient: () => open(ledgerId, [proxy.url]),
        async reopen() {
          await etcd.signal(0, 'SIGKILL')
          etcd.launch(0)
          await etcd.ready()
        },
        async lose() {
          const client = new EtcdClient({ endpoints: etcd.urls, timeoutMs: 5_000 })
          const prefix = registerPrefix(ledgerId)
          const range = { key: etcdBytes(prefix), range_end: etcdRangeEnd(prefix) }
          await client.call('/v3/kv/deleterange', range, { repeatable: true })
          client.close()
        },
      }
    },
    { isRemote: true },
  )

  it('says so when nothing answers, within seconds', async () => {
    const register = open(randomBytes(32), [`http://127.0.0.1:${await findFreePort()}`])
    await expect(register.read('userchain')).rejects.toMatchObject(failed)
    await expect(register.cas('userchain', undefined, bytes('one'))).rejects.toMatchObject(failed)
  })
})

describe.skipIf(!etcdInstalled)('three members of etcd with users (needs etcd-server)', () => {
  let etcd: TestEtcd
  const ledgerId = randomBytes(32)
  const others = randomBytes(32)
  const opened: { close(): void }[] = []
  beforeAll(async () => {
    etcd = await startTestEtcd({ members: 3 })
    const root = new EtcdClient({ endpoints: etcd.urls, timeoutMs: 5_000 })
    const say = (path: string, message: Record<string, unknown>) =>
      root.call(`/v3/auth/${path}`, message, { repeatable: true })
    const prefix = registerPrefix(ledgerId)
    const perm = { permType: 'READWRITE', key: etcdBytes(prefix), range_end: etcdRangeEnd(prefix) }
    await say('role/add', { name: 'ledger' })
    await say('role/grant', { name: 'ledger', perm })
    for (const [name, role] of [
      ['root', 'root'],
      ['node', 'ledger'],
    ] as const) {
      await say('user/add', { name, password: `of ${name}` })
      await say('user/grant', { user: name, role })
    }
    await say('enable', {})
    root.close()
  })
  afterEach(() => {
    for (const each of opened.splice(0)) each.close()
  })
  afterAll(() => etcd?.stop())

  function open(ledger = ledgerId, password = 'of node'): EtcdRegister {
    const register = openEtcdRegister({
      ledgerId: ledger,
      endpoints: etcd.urls,
      credentials: { user: 'node', password },
    })
    opened.push(register)
    return register
  }

  it('lets a node change its own ledger, and no other', async () => {
    expect(await open().cas('userchain', undefined, bytes('one'))).toBe(true)
    expect(await open().read('userchain')).toEqual(bytes('one'))
    await expect(open(others).read('userchain')).rejects.toThrow('permission denied')
    await expect(open(others).cas('userchain', undefined, bytes('one'))).rejects.toThrow('permission denied')
    await expect(open(ledgerId, 'a wrong one').read('userchain')).rejects.toThrow('authentication failed')
    await expect(openEtcdRegister({ ledgerId, endpoints: etcd.urls }).read('userchain')).rejects.toMatchObject(failed)
  })

  it('goes on while any one member is killed or stands still, with tokens that members have forgotten', async () => {
    const [a, b] = [open(), open()]
    let value = (await a.read('userchain')) as Uint8Array
    for (const [member, signal] of [
      [0, 'SIGKILL'],
      [1, 'SIGSTOP'],
      [2, 'SIGKILL'],
    ] as const) {
      await etcd.signal(member, signal)
      for (const [i, register] of [a, b, a].entries()) {
        const next = bytes(`${member} ${i}`)
        // While members elect, outcomes may be unknown; then reading tells.
        await expect
          .poll(
            async () => {
              await register.cas('userchain', value, next).catch(() => false)
              return Buffer.from((await register.read('userchain').catch(() => undefined)) ?? '').toString()
            },
            { timeout: 30_000 },
          )
          .toBe(`${member} ${i}`)
        value = next
      }
      if (signal === 'SIGSTOP') await etcd.signal(member, 'SIGCONT')
      else etcd.launch(member)
      await etcd.ready()
    }
  })

  it('answers nothing without a majority, invents nothing, and goes on with it', async () => {
    const register = open()
    const before = (await register.read('userchain')) as Uint8Array
    await etcd.signal(0, 'SIGKILL')
    await etcd.signal(1, 'SIGKILL')
    await expect(register.read('userchain')).rejects.toMatchObject(failed)
    await expect(register.cas('userchain', before, bytes('none'))).rejects.toMatchObject(failed)
    etcd.launch(0)
    etcd.launch(1)
    await etcd.ready()
    // The change that was not answered was left with a member without a majority: it may have happened since, or not.
    await expect.poll(() => register.read('userchain').catch(() => undefined), { timeout: 30_000 }).toBeDefined()
    const after = (await register.read('userchain')) as Uint8Array
    expect([Buffer.from(before).toString(), 'none']).toContain(Buffer.from(after).toString())
    expect(await register.cas('userchain', after, bytes('goes on'))).toBe(true)
  })
})

describe.skipIf(!etcdInstalled)('etcd behind TLS (needs etcd-server)', () => {
  let etcd: TestEtcd
  beforeAll(async () => {
    etcd = await startTestEtcd({ members: 1, tls: true })
  })
  afterAll(() => etcd?.stop())

  it('is believed if the given authority vouches for it, and not otherwise', async () => {
    const ledgerId = randomBytes(32)
    const ca = readFileSync(join(etcd.dirs[0] as string, 'data/fixtures/client/cert.pem'), 'utf8')
    const known = openEtcdRegister({ ledgerId, endpoints: etcd.urls, tls: { ca } })
    const unknown = openEtcdRegister({ ledgerId, endpoints: etcd.urls })
    expect(await known.cas('docchain', undefined, bytes('one'))).toBe(true)
    expect(await known.read('docchain')).toEqual(bytes('one'))
    await expect(unknown.read('docchain')).rejects.toThrow('self-signed certificate')
    known.close()
    unknown.close()
  })
})
