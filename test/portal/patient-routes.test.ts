/** The routes behind the patient's portal, by their wire: what they answer to her, and that nobody else gets anything. */
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { receiptFacts } from '@healthblock/verify/receipt-facts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { totpOf } from '../../packages/runtime/src/portal/totp.ts'
import { eventually, hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { asking, routesOf, sessionHeaders } from './route-table.ts'

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown> & { code?: string }
  readonly bytes: Uint8Array
}

interface Entry {
  readonly id: string
  readonly kind: string
  readonly at: string
  readonly transactionId: string | null
}

/** What an accounting node answers to everybody: what is public of a log, and what proves itself by its own signatures. */
const openAtLedger: readonly string[] = [
  ...['GET /v1/genesis', 'GET /v1/trail', 'GET /v1/successions', 'POST /v1/successions'],
  ...['userchain', 'docchain'].flatMap((chain) => [
    ...[`GET /${chain}/checkpoint`, `GET /${chain}/tile/{*}`, `GET /${chain}/witnessed`, `GET /v1/${chain}/head`],
    ...[`GET /v1/${chain}/transactions/{id}/receipt`, `POST /v1/${chain}/transactions`, `POST /v1/${chain}/answers`],
  ]),
]
/** No credential, or one that is no good; or a good one that is not enough: a page of another site has a cookie, and no token. */
const refusals = [401, 403]
/** What an auditor does: audits, and his own login. */
const auditorsActs =
  /^(POST|PUT) (\/v1\/audits(\/cancel|\/watch)?$|\/v1\/portal\/(second-factor|passphrase)|\/portal\/)/
/** What belongs to a doctor node's administrator, never to a browser. */
const nodesOwn = / \/v1\/(identity\/confirm|portal\/people\/|statements|experiments\/)/

function secretOfUri(uri: string): Uint8Array {
  const text = new URL(uri).searchParams.get('secret') as string
  const bits = [...text].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  return Uint8Array.from(bits.match(/.{8}/g) as string[], (byte) => Number.parseInt(byte, 2))
}

/** The status of what is answered to a request of which the body does not come. */
async function answerToHalf(
  url: string,
  { method, path }: { method: string; path: string },
): Promise<string | undefined> {
  const { hostname, port, pathname, search } = new URL(path, url)
  const socket = connect(Number(port), hostname)
  try {
    const told = new Promise<string>((resolve, reject) => {
      socket.once('data', (bytes) => resolve(String(bytes)))
      socket.once('error', reject)
    })
    const head = `${method} ${pathname}${search} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n`
    socket.write(`${head}content-length: 1000\r\n\r\n{`)
    return (await told).split(' ')[1]
  } finally {
    socket.destroy()
  }
}

describe.skipIf(!hasRedis)("the routes of the patient's portal", { timeout: storyMs }, () => {
  let cluster: TestCluster
  let doctor: string

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 1, patients: ['ann', 'bob'], periodMs: 1_000 })
    doctor = cluster.file.doctors[0]?.account as string
    const record = await writeRecord(cluster.root, { seconds: 12 })
    await cluster.ok(...['patient', 'stream', 'ann', '--record', record, '--speed', 'max', '--wait'])
  }, storyMs)

  afterAll(() => cluster?.remove(), hangMs)

  async function ask(
    path: string,
    options: { bearer?: string; method?: string; body?: unknown } = {},
  ): Promise<Answer> {
    const { bearer, method = options.body === undefined ? 'GET' : 'POST', body } = options
    const response = await fetch(`${cluster.url('user')}${path}`, {
      method,
      headers: {
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const bytes = new Uint8Array(await response.arrayBuffer())
    const isJson = response.headers.get('content-type')?.includes('json') === true && bytes.length > 0
    return { status: response.status, body: isJson ? JSON.parse(new TextDecoder().decode(bytes)) : {}, bytes }
  }

  const apiSecret = (): string => readFileSync(join(cluster.node('user'), 'secrets', 'api.secret'), 'utf8').trim()
  const passphraseOf = (name: string): string => readFileSync(clusterPaths.passphrase(cluster.dir, name), 'utf8').trim()

  async function sessionOf(person: string): Promise<string> {
    const body = { person, passphrase: passphraseOf(person) }
    return (await ask('/v1/sessions', { bearer: apiSecret(), body })).body.session as string
  }

  const id = 'ab'.repeat(32)
  const routes: readonly { method: string; path: string; body?: unknown }[] = [
    { method: 'GET', path: '/v1/genesis' },
    { method: 'GET', path: `/v1/people/ann/receipts/${id}` },
    { method: 'GET', path: '/v1/people/ann/directory' },
    { method: 'GET', path: '/v1/people/ann/contacts' },
    { method: 'PUT', path: `/v1/people/ann/contacts/${id}`, body: { name: 'x' } },
    { method: 'GET', path: '/v1/people/ann/streams' },
    { method: 'GET', path: '/v1/people/ann/streams/ecg/samples?from=0&until=1' },
    { method: 'GET', path: '/v1/people/ann/timeline' },
    { method: 'GET', path: '/v1/people/ann/security' },
    { method: 'POST', path: '/v1/people/ann/second-factor', body: {} },
    { method: 'POST', path: '/v1/people/ann/second-factor/confirm', body: { code: '123456' } },
    { method: 'POST', path: '/v1/people/ann/second-factor/remove', body: {} },
    { method: 'GET', path: '/v1/people/ann/second-factor' },
    { method: 'POST', path: '/v1/people/ann/second-factor/challenge', body: { path: '/', body: {} } },
    { method: 'POST', path: '/v1/people/ann/second-factor/keys/offer', body: {} },
    { method: 'POST', path: '/v1/people/ann/second-factor/keys', body: {} },
    { method: 'PUT', path: '/v1/people/ann/second-factor/keys/abcd', body: { name: 'x' } },
    { method: 'POST', path: '/v1/people/ann/second-factor/keys/abcd/remove', body: {} },
    { method: 'POST', path: '/v1/people/ann/passphrase', body: { passphrase: 'x', newPassphrase: 'one of my own' } },
    { method: 'POST', path: '/v1/people/ann/recovery/phrase', body: { passphrase: 'x' } },
    { method: 'POST', path: '/v1/people/ann/recovery/questions', body: {} },
    { method: 'POST', path: '/v1/people/ann/recovery/rehearsal', body: { words: [] } },
    { method: 'GET', path: '/v1/people/ann/grants' },
    { method: 'GET', path: '/v1/people/ann/readings' },
    { method: 'GET', path: '/v1/people/ann/diagnoses' },
    { method: 'GET', path: `/v1/people/ann/diagnoses/${id}` },
    { method: 'GET', path: '/v1/people/ann/looks' },
    { method: 'GET', path: '/v1/people/ann/fetches' },
    { method: 'GET', path: '/v1/people/ann/fhir' },
    { method: 'GET', path: '/v1/people/ann/lookers' },
    { method: 'GET', path: '/v1/people/ann/exposure' },
    { method: 'GET', path: '/v1/people/ann/alarms' },
    { method: 'POST', path: '/v1/people/ann/alarms/1/acknowledge', body: {} },
    { method: 'GET', path: '/v1/people/ann/device' },
    { method: 'GET', path: '/v1/people/ann/devices' },
    { method: 'DELETE', path: `/v1/people/ann/devices/${id.slice(0, 32)}` },
    { method: 'POST', path: '/v1/people/ann/op-key', body: {} },
    { method: 'POST', path: '/v1/people/ann/switches/ecg', body: { on: true } },
    { method: 'GET', path: '/v1/people/ann/files' },
    { method: 'POST', path: '/v1/people/ann/grants', body: { doctor: id } },
    { method: 'POST', path: '/v1/people/ann/revocations', body: { doctor: id } },
    { method: 'GET', path: `/v1/people/ann/revocations/${id}` },
    { method: 'POST', path: '/v1/people/ann/disclosures', body: {} },
    { method: 'POST', path: '/v1/people/ann/erasures', body: { from: 0, until: 1 } },
    { method: 'GET', path: '/v1/people/ann/erasures' },
    { method: 'GET', path: '/v1/people/ann/erasures/preview?from=0&until=1' },
    { method: 'GET', path: `/v1/people/ann/erasures/${id}` },
    { method: 'GET', path: `/v1/people/ann/exports/${id.slice(0, 16)}` },
    { method: 'GET', path: '/v1/events' },
  ]

  test('a stranger, the API secret, another member of the household and an ended session get nothing', async () => {
    const bob = await sessionOf('bob')
    const ended = await sessionOf('ann')
    expect((await ask('/v1/sessions', { bearer: ended, method: 'DELETE' })).status).toBe(204)
    for (const { method, path, body } of routes) {
      const request = { method, ...(body === undefined ? {} : { body }) }
      const name = `${method} ${path}`
      expect((await ask(path, request)).status, `${name}: a stranger`).toBe(401)
      expect((await ask(path, { ...request, bearer: ended })).status, `${name}: an ended session`).toBe(401)
      expect((await ask(path, { ...request, bearer: id })).status, `${name}: a made-up credential`).toBe(401)
      // Revoking needs no vault: the household's administrator may, and is told that there is nothing to end.
      const isForAdministrator = path.endsWith('/revocations')
      expect((await ask(path, { ...request, bearer: apiSecret() })).status, `${name}: the API secret`).toBe(
        isForAdministrator ? 409 : 401,
      )
      if (!path.includes('/people/')) continue
      expect((await ask(path, { ...request, bearer: bob })).status, `${name}: another member`).toBe(403)
    }
  })

  test('whoever logged in at the portal has the node read no file of its host', async () => {
    // Ann has an account on the machine: what she calls a record leads to a file that she may not read.
    const secret = join(cluster.node('user'), 'secrets', 'api.secret')
    const record = join(cluster.root, 'led-astray')
    symlinkSync(secret, `${record}.dat`)
    writeFileSync(`${record}.hea`, 'led-astray 1 250 20\nled-astray.dat 16 200/mV 16 0 0 0 0 II\n')
    const login = await fetch(`${cluster.url('user')}/portal/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'ann', passphrase: passphraseOf('ann') }),
    })
    const { csrf } = (await login.json()) as { csrf: string }
    const cookie = (login.headers.get('set-cookie') ?? '').split(';')[0] as string
    const act = await fetch(`${cluster.url('user')}/v1/people/ann/record`, {
      method: 'POST',
      headers: { cookie, 'x-csrf-token': csrf, 'content-type': 'application/json' },
      body: JSON.stringify({ record }),
    })
    expect([act.status, ((await act.json()) as { code: string }).code]).toEqual([403, 'ERR_FORBIDDEN'])
    // Nor by saying the same session as scripts do.
    const bearer = cookie.split('=')[1] as string
    const path = '/v1/people/ann/record'
    expect((await ask(path, { bearer, body: { record } })).status).toBe(403)
    expect((await ask(path, { bearer: await sessionOf('bob'), body: { record } })).status).toBe(403)
  })

  test.each([
    ['user', 'ann', []],
    ['doctor-a', 'doctor-a', []],
    ['accounting-0', 'administrator', openAtLedger],
  ] as const)(
    '%s: no route that it has answers a stranger, a made-up or an ended session',
    async (node, name, open) => {
      const url = cluster.url(node)
      const ended = await sessionHeaders(url, { name, passphrase: cluster.passphrase(name) })
      expect(await asking(url, ended)({ name: '', method: 'POST', path: '/portal/logout' })).toBe(204)
      // Logging out ends what is not there.
      const routes = (await routesOf(url, { p: 'ann' })).filter(({ path }) => path !== '/portal/logout')
      expect(routes.length).toBeGreaterThan(40)
      const madeUp = { cookie: (ended.cookie as string).replace(/=.*/, `=${'a'.repeat(64)}`) }
      for (const headers of [{}, { authorization: `Bearer ${id}` }, madeUp, ended]) {
        const ask = asking(url, headers)
        const answered: string[] = []
        for (const route of routes) if (!refusals.includes(await ask(route))) answered.push(route.name)
        expect(answered.toSorted()).toEqual(open.toSorted())
      }
    },
  )

  test('what a stranger asks of the household is not looked at: also what nobody could ask is 401', async () => {
    const url = cluster.url('user')
    const routes = (await routesOf(url, { p: 'nobody' })).filter(({ path }) => path.startsWith('/v1/'))
    expect(routes.length).toBeGreaterThan(40)
    const stranger = asking(url)
    for (const { name, method, path } of routes) {
      const damaged = path.replaceAll(/\/[0-9a-f]{64}|\/1(?=\/|$)/g, '/no-such-thing')
      const body = method === 'GET' ? {} : { body: { unknown: true } }
      expect([name, await stranger({ name, method, path: damaged, ...body })]).toEqual([name, 401])
    }
  })

  test('what a stranger sends is not waited for, and kept by nobody', async () => {
    for (const node of ['user', 'doctor-a', 'accounting-0']) {
      const url = cluster.url(node)
      const guarded = (await routesOf(url)).filter(
        ({ name, method }) => method !== 'GET' && !openAtLedger.includes(name) && !name.includes(' /portal/'),
      )
      expect(guarded.length).toBeGreaterThan(5)
      for (const { name, method, path } of guarded)
        expect([node, name, await answerToHalf(url, { method, path })]).toEqual([node, name, '401'])
      const login = { name: 'ann', passphrase: 'x', padding: ' '.repeat(100_000) }
      const doors = ['/portal/login', '/portal/logout', ...(node === 'user' ? ['/nowhere'] : [])]
      for (const path of doors)
        expect([path, await asking(url)({ name: path, method: 'POST', path, body: login })]).toEqual([path, 413])
    }
  })

  test('what is somebody else’s answers 403 to another member of the household, and to another role', async () => {
    const bob = asking(
      cluster.url('user'),
      await sessionHeaders(cluster.url('user'), { name: 'bob', passphrase: cluster.passphrase('bob') }),
    )
    const hers = (await routesOf(cluster.url('user'), { p: 'ann' })).filter(({ path }) => path.includes('/people/ann'))
    const told: string[] = []
    for (const route of hers) {
      const status = await bob(route)
      expect(refusals, route.name).toContain(status)
      if (status === 403) told.push(route.name)
    }
    // The others belong to no session: to the household's administrator.
    expect(told.length).toBeGreaterThan(30)

    const node = cluster.url('accounting-0')
    const login = { name: 'auditor', passphrase: cluster.passphrase('auditor') }
    const auditor = asking(node, await sessionHeaders(node, login))
    const acts = (await routesOf(node)).filter(
      ({ name, method }) => method !== 'GET' && !openAtLedger.includes(name) && !auditorsActs.test(name),
    )
    for (const route of acts) expect([route.name, await auditor(route)]).toEqual([route.name, 403])
    expect(acts.map(({ name }) => name)).toContain('POST /v1/licence')

    const ward = cluster.url('doctor-a')
    const doctorLogin = { name: 'doctor-a', passphrase: cluster.passphrase('doctor-a') }
    const reader = asking(ward, await sessionHeaders(ward, doctorLogin))
    const secret = (await routesOf(ward)).filter(({ name }) => nodesOwn.test(name))
    for (const route of secret) expect([route.name, await reader(route)]).toEqual([route.name, 401])
    expect(secret.length).toBeGreaterThanOrEqual(5)
  })

  test('she reads her own measurements, opened, and others cannot name them', async () => {
    const ann = await sessionOf('ann')
    const streams = (await ask('/v1/people/ann/streams', { bearer: ann })).body as unknown as {
      kind: string
      firstAt: string | null
      lastAt: string | null
    }[]
    const ecg = streams.find(({ kind }) => kind === 'ecg')
    expect(streams.find(({ kind }) => kind === 'profile')).toEqual({ kind: 'profile', firstAt: null, lastAt: null })
    const [from, until] = [Date.parse(ecg?.firstAt as string), Date.parse(ecg?.lastAt as string)]
    expect(until - from).toBe(12_000)
    const path = `/v1/people/ann/streams/ecg/samples?from=${from}&until=${until}`
    const whole = (await ask(path, { bearer: ann })).body as { pieces: { samples: string; startMs: number }[] }
    expect(whole).toMatchObject({ records: 12, opened: 12, unread: [] })
    const bytes = whole.pieces.reduce((sum, { samples }) => sum + Buffer.from(samples, 'base64').length, 0)
    expect(whole.pieces.map(({ startMs }) => startMs)).toEqual(Array.from({ length: 12 }, (_, i) => from + 1000 * i))
    expect(bytes % 24).toBe(0)
    expect(bytes).toBeGreaterThan(12 * 100 * 2)
    expect((await ask(`${path}&most=4`, { bearer: ann })).body).toMatchObject({ records: 12, opened: 4 })
    const middle = await ask(`/v1/people/ann/streams/ecg/samples?from=${from + 3500}&until=${from + 4500}`, {
      bearer: ann,
    })
    expect(middle.body).toMatchObject({ records: 2 })
    expect((await ask('/v1/people/ann/streams/records/samples?from=0&until=1', { bearer: ann })).status).toBe(400)
    const bob = await sessionOf('bob')
    expect((await ask(path.replace('ann', 'bob'), { bearer: bob })).body).toMatchObject({ records: 0, pieces: [] })
  })

  test('the timeline comes page by page, each entry once, with a receipt that holds', async () => {
    const ann = await sessionOf('ann')
    const entries: Entry[] = []
    let after = ''
    for (;;) {
      const { body } = await ask(`/v1/people/ann/timeline?limit=5${after}`, { bearer: ann })
      entries.push(...(body.entries as Entry[]))
      expect((body.entries as Entry[]).length).toBeLessThanOrEqual(5)
      if (body.next === null) break
      after = `&after=${body.next as string}`
    }
    const whole = (await ask('/v1/people/ann/timeline?limit=500', { bearer: ann })).body as { entries: Entry[] }
    expect(entries).toEqual(whole.entries)
    expect(entries.map(({ at }) => at)).toEqual(
      entries
        .map(({ at }) => at)
        .sort()
        .reverse(),
    )
    expect(new Set(entries.map((entry) => entry.id)).size).toBe(entries.length)
    expect(entries.filter(({ kind }) => kind === 'reading')).toHaveLength(12)
    const [reading] = entries.filter(({ kind }) => kind === 'reading')
    const { bytes, status } = await ask(`/v1/people/ann/receipts/${reading?.transactionId}`, { bearer: ann })
    expect(status).toBe(200)
    expect(receiptFacts(bytes)).toMatchObject({ type: 'iot', transactionId: reading?.transactionId })
    expect((await ask('/v1/genesis', { bearer: ann })).bytes).toEqual(
      new Uint8Array(readFileSync(clusterPaths.genesis(cluster.dir))),
    )
    const bob = await sessionOf('bob')
    const stolen = await ask(`/v1/people/bob/receipts/${reading?.transactionId}`, { bearer: bob })
    expect(stolen.status).toBe(404)
    for (const bad of ['after=x', 'kinds=reading,everything', 'limit=501', 'limit=0'])
      expect((await ask(`/v1/people/ann/timeline?${bad}`, { bearer: ann })).status, bad).toBe(400)
  })

  test('a doctor is found by her card, checked against the ledger, and gets a name of one’s own', async () => {
    const ann = await sessionOf('ann')
    type Found = { found: { account: string; words: string[]; comparedAt: string | null; petname: string | null }[] }
    const { found } = (await ask('/v1/people/ann/directory?q=DOCTOR', { bearer: ann })).body as unknown as Found
    expect(found).toHaveLength(1)
    expect(found[0]).toMatchObject({
      ...{ account: doctor, name: 'doctor-a', petname: null, role: 2, isLicensed: true, isCardRight: true },
      ...{ comparedAt: null, isKeyChanged: false },
    })
    expect(found[0]?.words).toHaveLength(6)
    const name = '\u202eتست <img src=x> 👩‍⚕️'
    const put = await ask(`/v1/people/ann/contacts/${doctor}`, {
      bearer: ann,
      method: 'PUT',
      body: { name, compared: true },
    })
    expect(put.body).toMatchObject({ petname: name, isKeyChanged: false, comparedAt: expect.any(String) })
    expect((await ask('/v1/people/ann/contacts', { bearer: ann })).body).toMatchObject([{ account: doctor, name }])
    expect((await ask('/v1/people/ann/directory?q=nobody', { bearer: ann })).body).toMatchObject({ found: [] })
    const bob = await sessionOf('bob')
    expect((await ask('/v1/people/bob/contacts', { bearer: bob })).body).toEqual([])
    // A patient is nobody who can be given access, whatever the ledger says of her.
    const patient = cluster.file.patients[1]?.account
    expect(
      (await ask(`/v1/people/ann/contacts/${patient}`, { bearer: ann, method: 'PUT', body: { name: 'x' } })).status,
    ).toBe(404)
  })

  test('the phrase is shown against the passphrase until it was rehearsed, and never again', async () => {
    const ann = await sessionOf('ann')
    const path = '/v1/people/ann/recovery'
    const early = await ask('/v1/people/ann/second-factor', { bearer: ann, body: {} })
    expect(early).toMatchObject({ status: 409, body: { code: 'ERR_REHEARSAL_MISSING' } })
    const wrong = await ask(`${path}/phrase`, { bearer: ann, body: { passphrase: 'not the passphrase' } })
    expect(wrong).toMatchObject({ status: 401, body: { code: 'ERR_PASSPHRASE_WRONG' } })
    const shown = await ask(`${path}/phrase`, { bearer: ann, body: { passphrase: passphraseOf('ann') } })
    const words = shown.body.words as string[]
    expect(words).toHaveLength(24)
    // Nothing was asked yet: no answer is right.
    const all = words.map((word, i) => ({ position: i + 1, word })).slice(0, 8)
    expect((await ask(`${path}/rehearsal`, { bearer: ann, body: { words: all } })).body.code).toBe('ERR_WORDS_WRONG')
    const { positions } = (await ask(`${path}/questions`, { bearer: ann, body: {} })).body as { positions: number[] }
    expect(new Set(positions).size).toBe(3)
    const answers = positions.map((position) => ({ position, word: words[position - 1] as string }))
    const off = [{ ...answers[0], word: 'zzz' }, ...answers.slice(1)]
    expect((await ask(`${path}/rehearsal`, { bearer: ann, body: { words: off } })).status).toBe(400)
    // A wrong answer ended the question: the same words are no answer to anything now.
    expect((await ask(`${path}/rehearsal`, { bearer: ann, body: { words: answers } })).status).toBe(400)
    const again = (await ask(`${path}/questions`, { bearer: ann, body: {} })).body as { positions: number[] }
    const good = again.positions.map((position) => ({
      position,
      word: ` ${(words[position - 1] as string).toUpperCase()} `,
    }))
    expect((await ask(`${path}/rehearsal`, { bearer: ann, body: { words: good } })).status).toBe(204)
    for (const [place, body] of Object.entries({
      phrase: { passphrase: passphraseOf('ann') },
      questions: {},
      rehearsal: { words: good },
    }))
      expect(await ask(`${path}/${place}`, { bearer: ann, body })).toMatchObject({ status: 410 })
    expect((await ask('/v1/people/ann/security', { bearer: ann })).body).toMatchObject({
      rehearsedAt: expect.any(String),
    })

    await secondFactor(ann, words)
  })

  /** Goes on where the rehearsal ended: the phrase is the way back. */
  async function secondFactor(ann: string, words: string[]): Promise<void> {
    const path = '/v1/people/ann/second-factor'
    const grant = (more: Record<string, unknown>) =>
      ask('/v1/people/ann/grants', { bearer: ann, body: { doctor, streams: ['ecg'], ...more } })
    const { uri } = (await ask(path, { bearer: ann, body: {} })).body as { uri: string }
    const secret = secretOfUri(uri)
    const codeAt = (steps: number): string => totpOf(secret, Math.floor(Date.now() / 30_000) + steps)
    expect((await ask(`${path}/confirm`, { bearer: ann, body: { code: '000000' } })).body.code).toBe('ERR_CODE_WRONG')
    expect((await ask(`${path}/confirm`, { bearer: ann, body: { code: codeAt(0) } })).status).toBe(204)
    // Another session is asked too; what cannot be granted spends no code; a code is good once.
    const other = await sessionOf('ann')
    const code = codeAt(1)
    expect((await grant({})).body.code).toBe('ERR_CODE_NEEDED')
    // The command line says how it can be shown there, and what cannot.
    expect(await cluster.run('patient', 'grant', 'ann', 'doctor-a')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/--code DIGITS.* a security key or passkey works in the portal alone/),
    })
    const elsewhere = await ask('/v1/people/ann/grants', { bearer: other, body: { doctor, streams: ['ecg'] } })
    expect(elsewhere).toMatchObject({ status: 401, body: { code: 'ERR_CODE_NEEDED' } })
    expect((await ask('/v1/people/ann/disclosures', { bearer: ann, body: {} })).body.code).toBe('ERR_CODE_NEEDED')
    expect((await grant({ code, until: 1 })).body.code).toBe('ERR_GRANT_INVALID')
    expect((await grant({ code: '123123' })).body.code).toBe('ERR_CODE_WRONG')
    expect(await grant({ code, purpose: 2 })).toMatchObject({ status: 201 })
    expect((await grant({ code, streams: ['vitals'] })).body.code).toBe('ERR_CODE_WRONG')
    const grants = (await ask('/v1/people/ann/grants', { bearer: ann })).body as unknown as Record<string, unknown>[]
    expect(grants).toMatchObject([{ doctor, purpose: 2, rights: 3, state: 'open', closedBy: null }])
    // Ending it needs no code.
    const ended = await ask('/v1/people/ann/revocations', { bearer: ann, body: { doctor } })
    expect(ended.status).toBe(201)
    const receipt = await eventually('the receipt', async () => {
      const { body } = await ask(`/v1/people/ann/revocations/${ended.body.transactionId}`, { bearer: ann })
      if (body.refusedEverywhereAt === null) return undefined
      return (await ask(`/v1/people/ann/receipts/${ended.body.transactionId}`, { bearer: ann })).bytes
    })
    expect(receiptFacts(receipt)).toMatchObject({ kind: 'revocation', seal: { closed: 1 } })
    // The way back: the phrase, not what somebody made up.
    const made = [...words.slice(1), words[0]].join(' ')
    expect((await ask(`${path}/remove`, { bearer: ann, body: { phrase: made } })).body.code).toBe('ERR_CODE_WRONG')
    expect((await ask(`${path}/remove`, { bearer: ann, body: {} })).body.code).toBe('ERR_CODE_NEEDED')
    expect((await ask(`${path}/remove`, { bearer: ann, body: { phrase: words.join(' ') } })).status).toBe(204)
    expect((await grant({ streams: ['vitals'] })).status).toBe(201)
  }

  test('guesses of a code are counted for the person, however many sessions there are', async () => {
    const [first, second] = [await sessionOf('bob'), await sessionOf('bob')]
    const guess = (bearer: string) =>
      ask('/v1/people/bob/recovery/rehearsal', { bearer, body: { words: [{ position: 1, word: 'zoo' }] } })
    for (const bearer of [first, second, first, second, first]) expect((await guess(bearer)).status).toBe(400)
    expect(await guess(second)).toMatchObject({ status: 429, body: { code: 'ERR_TOO_MANY_TRIES' } })
  })
})
