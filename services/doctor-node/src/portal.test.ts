/** What the doctor's portal is served: opened readings, an alarm's state, names; and that nobody else gets any of it. */
import { toHex } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiSecret, enrol, type Node, openPractice, type Practice } from './node.test-support.ts'
import type { DiagnosisView } from './reading/lists.ts'
import { unreachableCode } from './reading/opened-records.ts'
import { type Recipient, registerAlgorithm, type TestNetwork, TestPatient } from './sample.test-support.ts'

const passphrase = 'six words that nobody else knows'

interface Alarm {
  readonly id: number
  readonly patient: string
  readonly code: string
  readonly severity: string
}

/** A browser that is logged in. */
class Page {
  readonly #url: string
  readonly headers: Record<string, string>
  constructor(url: string, headers: Record<string, string>) {
    this.#url = url
    this.headers = headers
  }

  static async open(node: Node): Promise<Page> {
    const response = await fetch(new URL('/portal/login', node.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'grace', passphrase }),
    })
    const { csrf } = (await response.json()) as { csrf: string }
    const cookie = (response.headers.get('set-cookie') ?? '').split(';')[0] as string
    return new Page(node.url, { cookie, 'x-csrf-token': csrf })
  }

  async call(method: string, path: string, body?: unknown): Promise<Response> {
    const headers = { ...this.headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
    return fetch(new URL(path, this.#url), {
      ...{ method, headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }

  async get<T>(path: string): Promise<T> {
    return (await (await this.call('GET', path)).json()) as T
  }
}

interface Samples {
  readonly kind: string
  readonly records: {
    readonly sequence: number
    readonly from: number
    readonly to: number
    readonly batch: { readonly leads: string[]; readonly rateMilliHz: number; readonly samples: string }
  }[]
  readonly next?: number
}

describe('the doctor’s portal', () => {
  let practice: Practice
  let network: TestNetwork
  let node: Node
  let doctor: Recipient
  let patient: TestPatient
  let grant: Uint8Array
  let page: Page
  let place: string
  let streamPath: string

  beforeAll(async () => {
    practice = await openPractice()
    ;({ network, node } = practice)
    doctor = await enrol(node, network)
    registerAlgorithm(network.history)
    await fetch(new URL('/v1/portal/people/grace', node.url), {
      method: 'PUT',
      headers: { authorization: `Bearer ${apiSecret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ role: 'doctor', passphrase }),
    })
    patient = new TestPatient(network)
    ;[grant] = (await patient.rotate({ open: [doctor] })) as [Uint8Array]
    patient.record(6, { rhythm: 'fast' })
    await node.diagnosesWhen((list) => list.some(({ status }) => status === 'preliminary'))
    page = await Page.open(node)
    place = `/v1/patients/${toHex(patient.account)}`
    streamPath = `${place}/streams/${toHex(patient.stream)}`
  })

  afterAll(() => practice?.close())

  async function extent(): Promise<{ from: number; to: number }> {
    const [summary] = await page.get<{ streams: { firstAt: string; lastAt: string }[] }[]>('/v1/patients/summary')
    const stream = summary?.streams[0]
    return { from: Date.parse(stream?.firstAt ?? ''), to: Date.parse(stream?.lastAt ?? '') }
  }

  test('lists a patient with her streams and what waits', async () => {
    const summary = await page.get('/v1/patients/summary')
    expect(summary).toMatchObject([{ patient: toHex(patient.account), state: 'live', openAlarms: 1, unsigned: 1 }])
    const { from, to } = await extent()
    expect(to - from).toBe(60_000)
  })

  test('opens the samples of a stretch, and of nothing beside it', async () => {
    const { from } = await extent()
    const ask = (a: number, b: number) => page.call('GET', `${streamPath}/samples?from=${from + a}&to=${from + b}`)
    const answer = await ask(15_000, 25_000)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const { kind, records } = (await answer.json()) as Samples
    expect(kind).toBe('ecg')
    expect(records.map(({ sequence }) => sequence)).toEqual([2, 3])
    const { batch, from: begin, to: end } = records[0] as Samples['records'][0]
    expect([begin, end]).toEqual([from + 10_000, from + 20_000])
    const bytes = Buffer.from(batch.samples, 'base64')
    expect(bytes.length).toBe((2 * batch.rateMilliHz * 10) / 1000)
    // A heart that beats: R waves above half a millivolt.
    const samples = Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readInt16LE(2 * index))
    expect(Math.max(...samples)).toBeGreaterThan(100)
    expect(((await (await ask(100_000, 200_000)).json()) as Samples).records).toEqual([])
    expect((await ask(20_000, 20_000)).status).toBe(400)
  })

  test('marks the beats of a stretch as the analysis has them', async () => {
    const { from } = await extent()
    const marks = await page.get<{ beats: [number, string][]; rhythms: { rhythm: string }[] }>(
      `${streamPath}/marks?from=${from + 20_000}&to=${from + 50_000}`,
    )
    const intervals = marks.beats.slice(1).map(([at], index) => at - (marks.beats[index]?.[0] as number))
    const medianMs = intervals.sort((a, b) => a - b)[intervals.length >> 1] as number
    expect(60_000 / medianMs).toBeGreaterThan(110)
    expect(marks.beats.every(([at]) => at >= from + 20_000 && at < from + 50_000)).toBe(true)
    expect((await page.call('GET', `${streamPath}/marks?from=${from}&to=${from + 3_600_000}`)).status).toBe(400)
  })

  test('gives the heart rate of each minute', async () => {
    const { from, to } = await extent()
    const trends = await page.get<{ heartRate: [number, number][]; news2: unknown[]; isPartial: boolean }>(
      `${place}/trends?from=${from}&to=${to}`,
    )
    expect(trends.heartRate.length).toBeGreaterThanOrEqual(1)
    for (const [, rate] of trends.heartRate) expect(rate).toBeGreaterThan(110)
    expect(trends).toMatchObject({ news2: [], isPartial: false })
  })

  test('names the records and samples that a finding rests on, its concept and its score', async () => {
    const [diagnosis] = await page.get<DiagnosisView[]>(`/v1/diagnoses?patient=${toHex(patient.account)}`)
    const found = diagnosis?.findings.find(({ code }) => code === 'ecg.tachycardia')
    expect(found).toMatchObject({ snomed: '3424008' })
    expect(found?.score).toBeGreaterThan(110_000)
    const evidence = diagnosis?.findings.flatMap((finding) => finding.evidence) ?? []
    expect(evidence.length).toBeGreaterThan(0)
    for (const { stream, sequence, transactionId, samples } of evidence) {
      expect(stream).toBe(toHex(patient.stream))
      expect(sequence).toBeGreaterThanOrEqual(1)
      expect(sequence).toBeLessThanOrEqual(6)
      expect(transactionId).toMatch(/^[0-9a-f]{64}$/)
      expect(samples[0]).toBeLessThanOrEqual(samples[1])
    }
  })

  test('keeps who escalated, put off and took an alarm, and takes it back', async () => {
    const [alarm] = await page.get<Alarm[]>('/v1/alarms?open=true')
    const act = async (what: string, body?: unknown) => {
      const answer = await page.call('POST', `/v1/alarms/${alarm?.id}/${what}`, body)
      return { status: answer.status, body: await answer.json() }
    }
    const put = await act('snooze', { minutes: 10 })
    expect(put).toMatchObject({ status: 200, body: { snoozedBy: 'grace', acknowledgedAt: null } })
    const untilMs = Date.parse((put.body as { snoozedUntil: string }).snoozedUntil)
    expect(Math.abs(untilMs - Date.now() - 600_000)).toBeLessThan(60_000)
    expect((await act('snooze', { minutes: 0 })).status).toBe(400)
    expect(await act('escalate')).toMatchObject({ body: { escalatedBy: 'grace', snoozedUntil: null } })
    expect(await act('snooze', { minutes: 10 })).toMatchObject({ status: 409, body: { code: 'ERR_ALARM_STATE' } })
    expect(await act('acknowledge')).toMatchObject({ body: { acknowledgedBy: 'grace' } })
    expect(await act('escalate')).toMatchObject({ status: 409 })
    // The first one counts, whoever asks again.
    const again = await node.call<{ acknowledgedBy: string }>('POST', `/v1/alarms/${alarm?.id}/acknowledge`)
    expect(again.body.acknowledgedBy).toBe('grace')
    expect(await act('undo', { act: 'escalate' })).toMatchObject({ status: 409, body: { code: 'ERR_ALARM_STATE' } })
    // What she did before it stays.
    expect(await act('undo', { act: 'acknowledge' })).toMatchObject({
      body: { acknowledgedAt: null, escalatedBy: 'grace' },
    })
    expect(await act('undo', { act: 'acknowledge' })).toMatchObject({ status: 409 })
    expect(await act('undo', { act: 'reopen' })).toMatchObject({ status: 400 })
    // What somebody else took stays taken, and so does what she had escalated for him.
    await node.call('POST', `/v1/alarms/${alarm?.id}/acknowledge`)
    for (const own of ['acknowledge', 'escalate', 'snooze'])
      expect(await act('undo', { act: own })).toMatchObject({ status: 409, body: { code: 'ERR_ALARM_STATE' } })
    const [kept] = await page.get<Alarm[]>('/v1/alarms?open=true')
    expect(kept).toMatchObject({ acknowledgedBy: 'administrator', escalatedBy: 'grace' })
    expect(await act('reopen')).toMatchObject({ body: { acknowledgedAt: null, escalatedAt: null, snoozedUntil: null } })
    expect((await page.call('POST', '/v1/alarms/999999/acknowledge')).status).toBe(404)
  })

  test('gives a patient a name of any script, and takes no marks that hide something', async () => {
    const name = async (petname: string) => {
      const answer = await page.call('PUT', `${place}/petname`, { petname })
      return { status: answer.status, body: (await answer.json()) as { petname?: string; code?: string } }
    }
    const kept = async () => (await page.get<{ petname?: string }[]>('/v1/patients/summary'))[0]?.petname
    for (const good of [
      'Ann',
      'Зоя Ковальчук',
      '山田 太郎',
      'مريم',
      '<img src=x onerror=alert(1)>',
      "Robert'); DROP",
    ]) {
      expect(await name(`  ${good} `)).toMatchObject({ status: 200, body: { petname: good } })
      expect(await kept()).toBe(good)
    }
    for (const bad of ['a\u202ebc', 'a\u0000b', 'x'.repeat(65), 'line\nbreak', '\ud800']) {
      expect(await name(bad)).toMatchObject({ status: 400 })
    }
    expect(await name('')).toMatchObject({ status: 200 })
    expect(await kept()).toBeUndefined()
    const stranger = `/v1/patients/${'ab'.repeat(32)}/petname`
    expect((await page.call('PUT', stranger, { petname: 'nobody' })).status).toBe(404)
  })

  test('says what was granted and cannot be read', async () => {
    patient.record(1, { text: 'no batch at all' })
    patient.record(1, { text: 'nor this' })
    patient.pause('gap')
    await node.catchUp()
    const unread = await page.get(`/v1/unread?patient=${toHex(patient.account)}`)
    expect(unread).toMatchObject([
      { from: 7, to: 8, state: 'unreadable', reason: 'format' },
      { from: 9, to: 9, state: 'gap' },
    ])
    // An export says so, too.
    const bundle = await page.get<{
      entry: { resource: { resourceType: string; issue?: { diagnostics: string }[] } }[]
    }>(`${place}/fhir`)
    const outcome = bundle.entry.find(({ resource }) => resource.resourceType === 'OperationOutcome')
    const reasons = outcome?.resource.issue?.map(({ diagnostics }) => diagnostics.split(': ')[1])
    expect(reasons).toEqual(['unreadable', 'gap'])
  })

  test('says since when new readings cannot be fetched, and that the ledger was not heard', async () => {
    type Standing = { ledgerAt: string; isLedgerLate: boolean; unreadSince: string | null }
    const standing = (): Promise<Standing> => page.get<Standing>('/v1/standing')
    const calm = await standing()
    expect(calm).toMatchObject({ isLedgerLate: false, unreadSince: null })
    network.isAway = true
    const beganMs = Date.now()
    patient.record(1, { rhythm: 'fast' })
    await node.catchUp()
    const { unreadSince } = await standing()
    expect(Date.parse(unreadSince ?? '')).toBeGreaterThanOrEqual(beganMs)
    await node.catchUp()
    expect((await standing()).unreadSince).toBe(unreadSince)
    network.isAway = false
    // What was put off is asked for again when its pause is over.
    while ((await standing()).unreadSince !== null) await node.catchUp()
    node.clockMs = 300_000
    expect(await standing()).toMatchObject({ isLedgerLate: true, unreadSince: null })
    node.clockMs = 0
  })

  test('says of a stretch that no store answers for it now, and opens it when one does', async () => {
    const { from, to } = await extent()
    const stretch = (): Promise<Samples & { unread: { reason: string }[] }> =>
      page.get(`${streamPath}/samples?from=${from}&to=${to}`)
    const whole = await stretch()
    // The node remembers sealed blocks until it ends.
    await node.stop()
    network.isAway = true
    await node.start()
    page = await Page.open(node)
    const { records, unread } = await stretch()
    expect(records.length + unread.length).toBe(whole.records.length + whole.unread.length)
    expect(unread.filter(({ reason }) => reason === 'unreachable').length).toBeGreaterThan(0)
    network.isAway = false
    expect(await stretch()).toEqual(whole)
  })

  test('waits no longer for stores that hang than it was told to, and asks them for nothing more then', async () => {
    patient.record(12, { rhythm: 'fast' })
    await node.catchUp()
    await node.stop()
    await node.start()
    page = await Page.open(node)
    const { from, to } = await extent()
    const stretch = { fromMs: from, toMs: to, recordsMax: 100, bytesMax: 2 ** 30 }
    const patience = new AbortController()
    let asked = 0
    network.onUnanswered = () => {
      if (++asked === 8) patience.abort()
    }
    const place = { patient: patient.account, stream: patient.stream }
    const { records, unread } = await node.opened.read(place, { ...stretch, signal: patience.signal })
    network.onUnanswered = undefined
    expect(records.length + unread.length).toBeGreaterThan(16)
    expect(unread.filter(({ code }) => code === unreachableCode).length).toBeGreaterThan(8)
    expect(asked).toBe(8)
    expect((await node.opened.read(place, stretch)).unread).toEqual([])
  })

  test('tells nothing to a stranger, without the page’s token, or after the session has ended', async () => {
    const { from, to } = await extent()
    const range = `from=${from}&to=${to}`
    const reads = [
      ...[
        '/v1/patients/summary',
        '/v1/alarms',
        '/v1/unread',
        '/v1/quarantine',
        '/v1/standing',
        '/v1/events',
        '/v1/diagnoses',
      ],
      ...[
        `${streamPath}/samples?${range}`,
        `${streamPath}/marks?${range}`,
        `${place}/trends?${range}`,
        `${place}/fhir`,
      ],
    ]
    const acts: [string, string, unknown][] = [
      ...['acknowledge', 'escalate', 'reopen'].map((act): [string, string, unknown] => [
        'POST',
        `/v1/alarms/1/${act}`,
        undefined,
      ]),
      ['POST', '/v1/alarms/1/snooze', { minutes: 5 }],
      ['POST', '/v1/alarms/1/undo', { act: 'acknowledge' }],
      ['PUT', `${place}/petname`, { petname: 'Mallory' }],
    ]
    const stranger = new Page(node.url, {})
    const forger = new Page(node.url, { cookie: (page.headers.cookie as string).replace(/=.*/, `=${'a'.repeat(64)}`) })
    const tokenless = new Page(node.url, { cookie: page.headers.cookie as string })
    for (const path of reads) {
      expect((await stranger.call('GET', path)).status).toBe(401)
      expect((await forger.call('GET', path)).status).toBe(401)
    }
    for (const [method, path, body] of acts) {
      expect((await stranger.call(method, path, body)).status).toBe(401)
      expect((await tokenless.call(method, path, body)).status).toBe(403)
    }
    const line = await page.call('GET', '/v1/events')
    expect(line.status).toBe(200)
    // A quarter of an hour without a person's act.
    node.clockMs += 16 * 60_000
    for (const path of reads) expect((await page.call('GET', path)).status).toBe(401)
    for (const [method, path, body] of acts) expect((await page.call(method, path, body)).status).toBe(401)
    // The line of the session that ended is cut: it can be read to its end.
    await line.text()
    node.clockMs -= 16 * 60_000
    page = await Page.open(node)
    // A round meanwhile may have told of more, by the clock of then; nobody has answered any.
    const after = await page.get<Alarm[]>('/v1/alarms?open=true')
    expect(after.length).toBeGreaterThanOrEqual(2)
    for (const alarm of after) expect(alarm).toMatchObject({ acknowledgedAt: null, snoozedUntil: null })
  })

  test('opens nothing once access has ended, whatever keys are held', async () => {
    const { from, to } = await extent()
    await patient.rotate({ close: [grant] })
    await node.catchUp()
    for (const path of ['samples', 'marks']) {
      const answer = await page.call('GET', `${streamPath}/${path}?from=${from}&to=${to}`)
      expect(answer.status).toBe(409)
      expect(await answer.json()).toMatchObject({ code: 'ERR_GRANT_NONE' })
    }
    const trends = await page.get<{ heartRate: unknown[] }>(`${place}/trends?from=${from}&to=${to}`)
    expect(trends.heartRate).toEqual([])
    expect(await page.get('/v1/patients/summary')).toMatchObject([{ state: 'ended', streams: [] }])
  })
})
