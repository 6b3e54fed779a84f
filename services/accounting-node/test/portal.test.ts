/** What the portal of an accounting node asks for: who may, and that it does what it says. */
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { toHex } from '@healthblock/encoding/bytes'
import { totpOf } from '@healthblock/runtime/totp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, storyMs } from '../../../test/support/cluster.ts'
import { redisInstalled } from '../../../test/support/redis.ts'
import { Client, People } from './client.ts'
import { adminSecret, ProcessCluster } from './processes.ts'

interface AuditJson {
  readonly number: number
  readonly outcome: string
  readonly by: string
  readonly report: { ok: boolean; notChecked: string[]; chains: Record<string, { size: number }> } | null
}
interface AuditsJson {
  readonly running: AuditJson | null
  readonly watch: AuditJson | null
  readonly audits: (Omit<AuditJson, 'report'> & { kind: string; findings: number })[]
}

/** Process ids whose parent this is. */
function childrenOf(parent: number | undefined): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map(Number).filter((pid) => {
    try {
      return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]) === parent
    } catch {
      return false
    }
  })
}

describe.skipIf(!redisInstalled)('the portal of a node', { timeout: storyMs }, () => {
  let cluster: ProcessCluster
  let url: string
  let memberToken: string
  const passphrase = 'a passphrase of the tests'

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ n: 1, q: 1 })
    url = cluster.nodes[0]?.url as string
    const client = new Client(url, cluster.ledger)
    const people = new People(cluster.ledger)
    const { transaction, person } = people.register(7)
    await client.commit(transaction)
    memberToken = people.token(person)
    for (const role of ['auditor', 'administrator']) {
      const answer = await fetch(`${url}/v1/portal/people/${role}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${adminSecret}`, 'content-type': 'application/json' },
        body: JSON.stringify({ role, passphrase }),
      })
      expect(answer.status).toBe(204)
    }
  })
  afterAll(() => cluster?.stop())

  type Ask = (method: string, path: string, body?: unknown) => Promise<Response>
  const asking =
    (headers: Record<string, string>): Ask =>
    (method, path, body) =>
      fetch(`${url}${path}`, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
  const logIn = async (name: string, code?: string): Promise<{ ask: Ask; status: number }> => {
    const answer = await asking({})('POST', '/portal/login', {
      name,
      passphrase,
      ...(code === undefined ? {} : { code }),
    })
    const cookie = (answer.headers.get('set-cookie') ?? '').split(';')[0] as string
    const { csrf = '' } = (await answer.json()) as { csrf?: string }
    return { ask: asking({ cookie, 'x-csrf-token': csrf }), status: answer.status }
  }
  const audits = async (ask: Ask): Promise<AuditsJson> => (await ask('GET', '/v1/audits')).json() as Promise<AuditsJson>
  const ended = (ask: Ask, number: number): Promise<AuditJson> =>
    eventually(`the end of audit ${number}`, async () => {
      const audit = (await (await ask('GET', `/v1/audits/${number}`)).json()) as AuditJson
      return audit.outcome === 'running' ? undefined : audit
    })

  const account = 'ab'.repeat(32)
  const reading = [
    '/v1/audits',
    '/v1/audits/1',
    '/v1/nodes',
    '/v1/events',
    '/v1/userchain/summaries',
    '/v1/userchain/summaries/0',
    '/v1/docchain/places/0',
    `/v1/userchain/accounts/${account}/transactions`,
    '/v1/people',
    '/v1/portal/second-factor',
  ]
  const acting: [string, string, unknown][] = [
    ['POST', '/v1/audits', {}],
    ['POST', '/v1/audits/cancel', {}],
    ['PUT', '/v1/audits/watch', { on: true }],
    ['POST', '/v1/portal/second-factor', {}],
    ['POST', '/v1/portal/second-factor/confirm', { code: '000000' }],
    ['POST', '/v1/portal/second-factor/remove', { code: '000000' }],
    ['POST', '/v1/portal/second-factor/challenge', { path: '/', body: {} }],
    ['POST', '/v1/portal/second-factor/keys/offer', {}],
    ['POST', '/v1/portal/second-factor/keys', {}],
    ['PUT', '/v1/portal/second-factor/keys/abcd', { name: 'x' }],
    ['POST', '/v1/portal/second-factor/keys/abcd/remove', {}],
  ]

  test('a stranger, a made-up session and an ended session get nothing', async () => {
    const { ask: past } = await logIn('administrator')
    expect((await past('POST', '/portal/logout')).status).toBe(204)
    const madeUp = asking({ cookie: `hb-000000000000=${'a'.repeat(64)}` })
    for (const ask of [asking({}), asking({ authorization: 'Bearer wrong' }), madeUp, past]) {
      for (const path of reading) expect([path, (await ask('GET', path)).status]).toEqual([path, 401])
      for (const [method, path, body] of acting) {
        expect([path, (await ask(method, path, body)).status]).toEqual([path, 401])
      }
    }
  })

  test("a member's token reads the explorer and commands nothing; an auditor sees no people", async () => {
    const member = asking({ authorization: `Bearer ${memberToken}` })
    for (const path of reading.filter((one) => one.includes('chain/'))) {
      expect([path, (await member('GET', path)).status]).toEqual([path, 200])
    }
    for (const path of ['/v1/audits', '/v1/nodes', '/v1/events', '/v1/people']) {
      expect([path, (await member('GET', path)).status]).toEqual([path, 403])
    }
    expect((await member('POST', '/v1/audits', {})).status).toBe(403)
    const { ask } = await logIn('auditor')
    expect((await ask('GET', '/v1/people')).status).toBe(403)
    expect((await ask('POST', '/v1/incidents/0/acknowledge', {})).status).toBe(403)
    expect((await ask('POST', '/v1/licence', { doctor: account, state: 1, from: 1, to: 2 })).status).toBe(403)
  })

  test('an audit runs beside the node, is told in events, is kept with who wanted it, and is one at a time', async () => {
    const { ask } = await logIn('auditor')
    const events = await ask('GET', '/v1/events')
    const reader = (events.body as ReadableStream<Uint8Array>).getReader()
    const begun = await ask('POST', '/v1/audits', {})
    expect(begun.status).toBe(202)
    const { number } = (await begun.json()) as { number: number }
    const second = await ask('POST', '/v1/audits', {})
    // The first may have ended already: then a second one is right to begin.
    if (second.status !== 202) expect(((await second.json()) as { code: string }).code).toBe('ERR_AUDIT_RUNNING')
    const audit = await ended(ask, number)
    // What has its verdict runs no more, though its process may still be ending.
    expect((await audits(ask)).running?.number).not.toBe(number)
    expect(audit).toMatchObject({ outcome: 'clean', by: 'auditor', report: { ok: true } })
    expect(audit.report?.notChecked[0]).toContain('run by accounting-0')
    expect(audit.report?.chains.userchain?.size).toBeGreaterThan(1)
    let heard = ''
    while (!heard.includes(`"number":${number}`)) heard += Buffer.from((await reader.read()).value ?? []).toString()
    expect(heard).toContain('event: audit')
    await ask('POST', '/portal/logout')
    // The stream ends with the session.
    for (;;) if ((await reader.read()).done) break
    await eventually('the end of all audits', async () =>
      (await audits((await logIn('auditor')).ask)).running === null ? true : undefined,
    )
  })

  test('a watch is niced, gives way to an audit, and goes on over a restart of the node; a cancelled audit says so', async () => {
    const { ask } = await logIn('administrator')
    expect((await ask('PUT', '/v1/audits/watch', { on: true })).status).toBe(204)
    await eventually('a look of the watch', async () => (await audits(ask)).watch?.report ?? undefined)
    // The process of an earlier audit may still be ending.
    await expect.poll(() => childrenOf(cluster.nodes[0]?.child?.pid).map(getPriority)).toEqual([10])
    const { number } = (await (await ask('POST', '/v1/audits', { fromBeginning: false })).json()) as { number: number }
    expect((await ask('POST', '/v1/audits/cancel', {})).status).toBe(204)
    expect((await ended(ask, number)).outcome).toMatch(/cancelled|clean/)
    const third = (await (await ask('POST', '/v1/audits', {})).json()) as { number: number }
    await cluster.end(0, 'SIGKILL')
    cluster.launch(0)
    await cluster.ready(0)
    const { ask: later } = await logIn('administrator')
    expect((await ended(later, third.number)).outcome).toMatch(/interrupted|clean/)
    await eventually('a look after the restart', async () => (await audits(later)).watch?.report ?? undefined)
    expect((await later('PUT', '/v1/audits/watch', { on: false })).status).toBe(204)
    const list = await audits(later)
    expect(list.watch).toBeNull()
    expect(list.audits.find(({ kind }) => kind === 'watch')?.outcome).toBe('clean')
  })

  test('the nodes are shown with their age, checks and figures', async () => {
    const { ask } = await logIn('auditor')
    const view = (await (await ask('GET', '/v1/nodes')).json()) as { nodes: Record<string, unknown>[]; stores: unknown }
    expect(view.stores).toBeNull()
    expect(view.nodes).toHaveLength(1)
    expect(view.nodes[0]).toMatchObject({ name: 'accounting-0', isSelf: true, fault: null, ready: true })
    expect(view.nodes[0]).toMatchObject({ chains: { userchain: { leads: true }, docchain: { leads: true } } })
  })

  test('blocks are listed newest first, and an account is found by what names it', async () => {
    const { ask } = await logIn('auditor')
    const page = (await (await ask('GET', '/v1/userchain/summaries?limit=2')).json()) as {
      height: number
      blocks: { height: number; types: object }[]
    }
    expect(page.blocks.map(({ height }) => height)).toEqual([page.height, page.height - 1])
    const sponsor = toHex(cluster.ledger.organisation.account)
    const path = `/v1/userchain/accounts/${sponsor}/transactions`
    const found = (await (await ask('GET', path)).json()) as { transactions: { type: string; index: number }[] }
    expect(found.transactions.map(({ type }) => type)).toContain('register')
    const index = found.transactions[0]?.index
    const place = (await (await ask('GET', `/v1/userchain/places/${index}`)).json()) as Record<string, unknown>
    expect(place).toMatchObject({ index, kind: 'transaction' })
    expect((await ask('GET', '/v1/userchain/places/99999999')).status).toBe(404)
    expect((await ask('GET', '/v1/userchain/accounts/xyz/transactions')).status).toBe(400)
  })

  test('a second factor is turned on with a code of the app, asked for at login, and off with another code', async () => {
    const { ask } = await logIn('administrator')
    const made = (await (await ask('POST', '/v1/portal/second-factor', {})).json()) as { uri: string }
    const base32 = new URL(made.uri).searchParams.get('secret') as string
    const bits = [...base32]
      .map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0'))
      .join('')
    const secret = Uint8Array.from({ length: 20 }, (_, i) => Number.parseInt(bits.slice(8 * i, 8 * i + 8), 2))
    const codeAt = (steps: number): string => totpOf(secret, Math.floor(Date.now() / 30_000) + steps)
    expect((await ask('POST', '/v1/portal/second-factor/confirm', { code: '000000' })).status).toBe(401)
    // When its time is over between reading it and sending it, the next one is sent.
    await eventually('a code that is taken', async () => {
      const { status } = await ask('POST', '/v1/portal/second-factor/confirm', { code: codeAt(-1) })
      return status === 204 ? true : undefined
    })
    expect((await logIn('administrator')).status).toBe(401)
    expect((await logIn('administrator', '123456')).status).toBe(401)
    const code = codeAt(0)
    expect((await logIn('administrator', code)).status).toBe(200)
    // A code is taken once, whatever for.
    expect((await ask('POST', '/v1/portal/second-factor/remove', { code })).status).toBe(401)
    expect((await ask('POST', '/v1/portal/second-factor/remove', { code: codeAt(1) })).status).toBe(204)
    expect((await logIn('administrator')).status).toBe(200)
  })
})
