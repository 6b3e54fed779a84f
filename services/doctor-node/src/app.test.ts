/** A doctor node as a whole, over HTTP, with a real ledger and real keys. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type DiagnosisBody, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { generateKemKeyPair } from '@healthblock/crypto/envelope'
import { sha256 } from '@healthblock/crypto/hash'
import { encodeBatch } from '@healthblock/diagnosis/batch'
import { diagnose } from '@healthblock/diagnosis/diagnose'
import { encodeFitting } from '@healthblock/diagnosis/document'
import { toBase64, toHex } from '@healthblock/encoding/bytes'
import { cidOf } from '@healthblock/runtime/storage-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { confirm, type Diagnosis, enrol, type Node, openPractice, type Practice } from './node.test-support.ts'
import { type Recipient, registerAlgorithm, type TestNetwork, TestPatient } from './sample.test-support.ts'

describe('a doctor node', () => {
  let practice: Practice
  let network: TestNetwork
  let node: Node
  let doctor: Recipient
  let patient: TestPatient
  let grant: Uint8Array

  beforeAll(async () => {
    practice = await openPractice()
    ;({ network, node } = practice)
  })

  afterAll(() => practice?.close())

  test('makes its doctor once, and takes no signature but the sponsor’s', async () => {
    expect((await node.call('GET', '/v1/identity', undefined, 'another-secret')).status).toBe(401)
    expect(await node.get('/v1/identity')).toMatchObject({ state: 'none' })
    const sponsor = toHex(network.history.consortium.organisation.account)
    const first = await node.call<{ account: string }>('POST', '/v1/identity', { name: 'doctor-a', sponsor })
    const again = await node.call<{ account: string }>('POST', '/v1/identity', { name: 'doctor-a', sponsor })
    expect([first.status, again.status]).toEqual([201, 200])
    expect(again.body).toEqual(first.body)
    expect(statSync(join(node.dir, 'keys')).mode & 0o777).toBe(0o600)
    const other = await node.call('POST', '/v1/identity', { name: 'somebody else', sponsor })
    expect(other).toMatchObject({ status: 409, body: { code: 'ERR_IDENTITY_EXISTS' } })
    const forged = await node.call('POST', '/v1/identity/confirm', { signature: toBase64(new Uint8Array(64)) })
    expect(forged).toMatchObject({ status: 400, body: { code: 'ERR_SIGNATURE_WRONG' } })
    expect(await node.get('/v1/identity')).toMatchObject({ state: 'pending' })
    // What the ledger refuses today, for the sponsor's quota for instance, it may take when it is asked again.
    network.accounting.lies.refuses = 'register.sponsor'
    await confirm(node, network)
    const submissions = (): number => network.accounting.calls.filter((path) => path.endsWith('/transactions')).length
    await expect.poll(submissions, { timeout: 20_000 }).toBe(2)
    expect(await node.get('/v1/statements')).toHaveLength(1)
    delete network.accounting.lies.refuses
    doctor = await enrol(node, network)
    expect(await node.get<{ words: string[] }>('/v1/identity')).toMatchObject({
      state: 'licensed',
      account: first.body.account,
      words: expect.toSatisfy((words: string[]) => words.length === 6),
    })
  })

  test('is not ready while the ledger turns it away, as it does for a wrong clock, and says so', async () => {
    const { lies } = network.accounting
    lies.status = 401
    await node.stop()
    await node.start()
    const readiness = () => node.call<{ checks: unknown[] }>('GET', '/readyz')
    const reason = expect.stringContaining('refused with 401')
    await expect.poll(readiness, { timeout: 20_000 }).toMatchObject({
      status: 503,
      body: { checks: expect.arrayContaining([{ name: 'userchain', ready: false, reason }]) },
    })
    delete lies.status
    await expect.poll(readiness, { timeout: 20_000 }).toMatchObject({ status: 200 })
  })

  test('waits for the algorithm, then judges what lay there before the grant, in one diagnosis', async () => {
    patient = new TestPatient(network)
    await patient.rotate()
    patient.record(3)
    ;[grant] = (await patient.rotate({ open: [doctor] })) as [Uint8Array]
    patient.record(2)
    await node.catchUp()
    // Generation 1 has no envelope for this doctor: those three wait for a key, and those after them for their turn.
    expect(await node.get('/v1/readings')).toHaveLength(2)
    expect(await node.get('/v1/diagnoses')).toEqual([])
    expect(await node.get('/v1/patients')).toMatchObject([
      { patient: toHex(patient.account), grant: toHex(grant), state: 'live', streams: [{ kind: 'ecg' }] },
    ])
  })

  test('two batches after the grant are judged at once, and signed, corrected and withdrawn by hand', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    other.record(4, { rhythm: 'fast' })
    await node.catchUp()
    expect(await node.get('/v1/diagnoses')).toEqual([])
    registerAlgorithm(network.history)
    const [first] = await node.diagnosesWhen((list) => list.some(({ status }) => status === 'preliminary'))
    const { transactionId, algorithm } = first as Diagnosis
    expect(first?.in).toEqual([{ stream: toHex(other.stream), from: 1, to: 4 }])
    expect(algorithm).toMatch(/^healthblock-monitor@/)
    expect(await node.get<{ code: string }[]>('/v1/alarms')).toContainEqual(
      expect.objectContaining({ code: 'ecg.tachycardia', acknowledgedAt: null }),
    )
    const amend = (act: string, text?: string) =>
      node.call<{ receipt: string }>('POST', `/v1/diagnoses/${transactionId}/amend`, { act, ...(text ? { text } : {}) })
    const signed = await amend('sign')
    expect(signed.status).toBe(201)
    expect(statSync(signed.body.receipt).size).toBeGreaterThan(1000)
    expect(await amend('correct')).toMatchObject({ status: 400, body: { code: 'ERR_TEXT_MISSING' } })
    expect((await amend('correct', 'Sinus tachycardia after exercise.')).status).toBe(201)
    const list = await node.get<Diagnosis[]>(`/v1/diagnoses?patient=${toHex(other.account)}`)
    expect(list).toMatchObject([
      {
        status: 'corrected',
        amendments: [{ act: 'sign' }, { act: 'correct', text: 'Sinus tachycardia after exercise.' }],
      },
    ])
    expect((await amend('withdraw', 'Wrong patient.')).status).toBe(201)
    // What was withdrawn stays withdrawn, and the ledger says so.
    expect(await amend('sign')).toMatchObject({ status: 409, body: { refused: { rule: 'A.of' } } })
  })

  test('a diagnosis by hand about records that nobody made is not posted, and holds up nothing', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    other.record(2)
    await node.catchUp()
    const name = toHex(other.account)
    const stream = toHex(other.stream)
    const ask = (range: { stream: string; from: number; to: number }) =>
      node.call<{ detail: string }>('POST', '/v1/diagnoses', { patient: name, in: [range], text: 'Too far.' })
    const beyond = await ask({ stream, from: 1, to: 99 })
    expect(beyond).toMatchObject({ status: 400, body: { code: 'ERR_INPUT_UNKNOWN' } })
    expect(beyond.body.detail).toContain('its last one is 2')
    expect((await ask({ stream, from: 2, to: 1 })).status).toBe(400)
    const elsewhere = await ask({ stream: '0011223344556677', from: 1, to: 1 })
    expect(elsewhere.body.detail).toContain('no records of that stream')
    expect((await ask({ stream, from: 1, to: 2 })).status).toBe(201)
  })

  test('what is not what the ledger says is reported, record by record, and not judged', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    other.record(1)
    other.record(1, { spoil: (block) => block.map((byte, i) => (i === 128 + 7 ? byte ^ 1 : byte)) })
    other.record(1, { spoil: (block) => block.map((byte, i) => (i === 5_000 ? byte ^ 1 : byte)) })
    other.record(1, { text: 'no batch at all' })
    other.record(1, { unit: 'uv' })
    other.record(1)
    const name = toHex(other.account)
    const list = await node.diagnosesWhen((all) => all.some((one) => one.patient === name))
    const own = list.filter((one) => one.patient === name)
    expect(own.flatMap((one) => one.in.map(({ from, to }) => [from, to]))).toEqual([
      [1, 1],
      [6, 6],
    ])
    const reports = network.accounting.received
      .map((leaf) => parseTransactionLeaf(leaf).body)
      .filter((body) => body.t === 'unreadable')
    // Reports of different records need no order among each other.
    const told = reports.map(({ code, in: ranges }) => [code, ranges[0]?.[1] ?? 0, ranges[0]?.[2] ?? 0] as const)
    expect(told.sort((a, b) => a[1] - b[1])).toEqual([
      [3, 2, 2],
      [4, 3, 3],
      [5, 4, 5],
    ])
    expect(await node.get(`/v1/readings?patient=${name}`)).toHaveLength(2)
  })

  /** Page by page from the newest back, one by one, and those that were refused: the same as the whole. */
  async function pagesAre(whole: Diagnosis[]): Promise<void> {
    expect(whole.length).toBeGreaterThan(2)
    const paged: Diagnosis[] = []
    for (;;) {
      const before = paged[0] === undefined ? '' : `&before=${paged[0].transactionId}`
      const page = await node.get<Diagnosis[]>(`/v1/diagnoses?limit=2${before}`)
      paged.unshift(...page)
      if (page.length < 2) break
    }
    expect(paged).toEqual(whole)
    const refused = whole.filter(({ status }) => status === 'not recorded')
    expect(await node.get('/v1/diagnoses?refused=true')).toEqual(refused)
    const [one] = whole as [Diagnosis]
    expect(await node.get(`/v1/diagnoses/${one.transactionId}`)).toEqual(one)
    const stranger = await node.call('GET', `/v1/diagnoses/${one.patient}`)
    expect(stranger.status).toBe(404)
    for (const bad of ['limit=0', 'limit=1001', 'before=x', 'offset=1'])
      expect((await node.call('GET', `/v1/diagnoses?${bad}`)).status, bad).toBe(400)
  }

  test('a diagnosis that could not be stored goes out after a restart, the same bytes, once', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    const mine = (list: Diagnosis[]): Diagnosis[] => list.filter((one) => one.patient === name)
    other.record(2)
    const [first] = mine(await node.diagnosesWhen((list) => mine(list)[0]?.status === 'preliminary'))
    network.isFull = true
    other.record(1)
    expect((await node.call('POST', '/v1/diagnoses/request', { patient: name })).status).toBe(202)
    const [, second] = mine(await node.diagnosesWhen((list) => mine(list).length === 2))
    expect(second).toMatchObject({ status: 'pending', in: [{ from: 3, to: 3 }] })
    await node.stop()
    await node.start()
    await node.catchUp()
    expect(mine(await node.get('/v1/diagnoses'))[1]).toEqual(second)
    network.isFull = false
    const after = mine(await node.diagnosesWhen((list) => mine(list)[1]?.status === 'preliminary'))
    expect(after.map(({ transactionId }) => transactionId)).toEqual([first?.transactionId, second?.transactionId])
    expect(await node.get(`/v1/diagnoses/${first?.transactionId}/fhir`)).toMatchObject({
      resourceType: 'Bundle',
      entry: [{ resource: { resourceType: 'DiagnosticReport', status: 'preliminary' } }, {}, {}],
    })
    expect((await node.call('GET', `/v1/diagnoses/${name}/fhir`)).status).toBe(404)
    await pagesAre(await node.get<Diagnosis[]>('/v1/diagnoses'))
    const bodies = network.accounting.received
      .map((leaf) => parseTransactionLeaf(leaf).body)
      .filter((body) => body.t === 'diagnosis' && toHex(body.pat) === name)
    expect(bodies.map((body) => (body as { seq: number }).seq)).toEqual([1, 2])
    const last = bodies.at(-1) as { carry: Uint8Array; cid: Uint8Array }
    expect(toHex(last.carry)).toBe(first?.transactionId)
    expect(network.blocks.get(cidOf(last.cid))?.length).toBe(16_384)
  })

  test('limits that the doctor sets hold from then on, over a restart, and are in the diagnosis', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    const path = `/v1/patients/${name}/limits`
    other.record(2)
    const mine = (list: Diagnosis[]): Diagnosis[] => list.filter((one) => one.patient === name)
    await node.diagnosesWhen((list) => mine(list)[0]?.status === 'preliminary')
    expect(await node.get(path)).toMatchObject({ limits: { tachycardiaAbove: 110 }, defaults: { lead: 255 } })
    expect(await node.call('PUT', path, { tachycardiaAbove: 20 })).toMatchObject({
      ...{ status: 400, body: { code: 'ERR_LIMIT_INVALID', detail: expect.stringContaining('tachycardiaAbove') } },
    })
    expect((await node.call('PUT', path, { unknown: 1 })).status).toBe(400)
    expect((await node.call('PUT', `/v1/patients/${'0'.repeat(64)}/limits`, { lead: 1 })).status).toBe(404)
    // A heart of about 70/min is fast for a doctor who says so.
    expect((await node.call('PUT', path, { tachycardiaAbove: 60, bradycardiaBelow: 40 })).status).toBe(200)
    await node.stop()
    await node.start()
    expect(await node.get(path)).toMatchObject({ limits: { tachycardiaAbove: 60, bradycardiaBelow: 40 } })
    other.record(4)
    await node.diagnosesWhen((list) => mine(list).length === 2 && mine(list)[1]?.status === 'preliminary')
    const bodies = network.accounting.received
      .map((leaf) => parseTransactionLeaf(leaf).body)
      .filter((body) => body.t === 'diagnosis' && toHex(body.pat) === name) as DiagnosisBody[]
    const documents = bodies.map((body) => other.disclose(body).document)
    expect(documents.map(({ parameters }) => parameters.tachycardiaAbove)).toEqual([110, 60])
    expect(documents[0]?.findings.map(({ code }) => code)).not.toContain('ecg.tachycardia')
    expect(documents[1]?.findings.map(({ code }) => code)).toContain('ecg.tachycardia')
  })

  test('a grant with history is judged over all generations, in one diagnosis', async () => {
    const other = new TestPatient(network)
    await other.rotate()
    other.record(2)
    await other.rotate()
    other.record(2)
    await other.rotate({ open: [doctor], history: true })
    const name = toHex(other.account)
    const list = await node.diagnosesWhen((all) => all.some((one) => one.patient === name))
    expect(list.filter((one) => one.patient === name).map((one) => one.in)).toEqual([
      [{ stream: toHex(other.stream), from: 1, to: 4 }],
    ])
  })

  test('whoever gets the keys judges again and gets the same bytes, also of what was carried on', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    other.record(3, { rhythm: 'fast' })
    await node.diagnosesWhen((all) => all.some((one) => one.patient === name && one.status === 'preliminary'))
    other.record(6)
    const list = await node.diagnosesWhen(
      (all) => all.filter((one) => one.patient === name && one.status === 'preliminary').length === 2,
    )
    const bodies = network.accounting.received
      .map((leaf) => parseTransactionLeaf(leaf).body)
      .filter((body) => body.t === 'diagnosis' && toHex(body.pat) === name) as DiagnosisBody[]
    expect(bodies.map(({ in: ranges }) => ranges.map(([, from, to]) => [from, to]))).toEqual([[[1, 3]], [[4, 9]]])
    let carriedState: Uint8Array | undefined
    for (const body of bodies) {
      const { document, records } = other.disclose(body)
      const { parameters } = document
      const again = diagnose({ records, parameters, carriedState })
      expect(again.findings.length).toBeGreaterThan(0)
      expect(encodeFitting({ ...document, ...again })).toEqual(encodeFitting(document))
      expect(document.carried).toEqual(carriedState === undefined ? new Uint8Array(0) : sha256(carriedState))
      carriedState = document.state
    }
    expect(toHex(bodies[1]?.carry ?? new Uint8Array(0))).toBe(list.find((one) => one.patient === name)?.transactionId)
  })

  test('nothing of a reading or a diagnosis lies on the disk in the clear', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    other.record(2, { rhythm: 'fast' })
    const [first] = (
      await node.diagnosesWhen((all) => all.some((one) => one.patient === name && one.status === 'preliminary'))
    ).filter((one) => one.patient === name)
    const text = 'A sentence that nobody else may read.'
    const id = first?.transactionId
    expect((await node.call('POST', `/v1/diagnoses/${id}/amend`, { act: 'correct', text })).status).toBe(201)
    const kept = ['node.db', 'node.db-wal', 'outbox.db', 'outbox.db-wal'].map((file) =>
      readFileSync(join(node.dir, file)),
    )
    const part = { kind: 'ecg', startMs: 1, rateMilliHz: 250_000, unit: 'mv', gainMilli: 1, baseline: 0 } as const
    const plain = Buffer.from(encodeBatch({ ...part, leads: ['ii'], samples: new Int16Array(1) }))
    expect(plain.includes('kindcecg')).toBe(true)
    for (const bytes of kept) {
      expect(bytes.includes(text)).toBe(false)
      // What every batch and every sentence of this finding begins with.
      expect(bytes.includes('kindcecg')).toBe(false)
      expect(bytes.includes('Tachycardia for')).toBe(false)
    }
    expect(JSON.stringify(await node.get(`/v1/diagnoses?patient=${name}`))).toContain(text)
  })

  test('without the right to diagnose it reads and says nothing', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor], rights: 1 })
    other.record(2, { rhythm: 'fast' })
    const name = toHex(other.account)
    expect((await node.catchUp()).status).toBe(200)
    expect(await node.get(`/v1/readings?patient=${name}`)).toHaveLength(2)
    expect(await node.get(`/v1/diagnoses?patient=${name}`)).toEqual([])
  })

  test('empty records and gaps are taken in, are no readings, and hide no silence', async () => {
    const other = new TestPatient(network)
    const [gid] = (await other.rotate({ open: [doctor] })) as [Uint8Array]
    other.record(2)
    other.pause('empty', 'gap', 'empty')
    other.record(1)
    const name = toHex(other.account)
    await node.catchUp()
    const readings = await node.get<{ sequence: number }[]>(`/v1/readings?patient=${name}`)
    expect(readings.map(({ sequence }) => sequence)).toEqual([1, 2, 6])
    const judged = await node.diagnosesWhen((all) =>
      all.some((one) => one.patient === name && one.in.some(({ to }) => to === 6)),
    )
    // One range over all of them: whoever re-runs the diagnosis sees that nothing was left out.
    const covered = judged.filter(({ patient }) => patient === name).flatMap((one) => one.in)
    expect(covered.reduce((sum, { from, to }) => sum + to - from + 1, 0)).toBe(6)
    const alarms = async () =>
      (
        await node.get<{ patient: string; code: string; stream: string | null; endedAt: string | null }[]>('/v1/alarms')
      ).filter(({ patient }) => patient === name)
    const gaps = (await alarms()).filter(({ code }) => code === 'stream.gap')
    expect(gaps.length).toBeGreaterThan(0)
    expect(gaps.every(({ endedAt }) => endedAt !== null)).toBe(true)
    // The device goes on being switched on, and says nothing.
    node.clockMs += 130_000
    other.pause('empty')
    await node.catchUp()
    const silent = (await alarms()).find(({ code }) => code === 'stream.silent')
    expect(silent?.stream).toBe(toHex(other.stream))
    await other.rotate({ close: [gid] })
    node.clockMs -= 130_000
  })

  test('an envelope that is not for this doctor opens nothing and is put aside', async () => {
    const other = new TestPatient(network)
    const stranger = { account: doctor.account, kemKey: generateKemKeyPair().publicKey }
    const [gid] = (await other.rotate({ open: [stranger] })) as [Uint8Array]
    other.record(1)
    expect((await node.catchUp()).body.pending).toBeGreaterThan(0)
    const name = toHex(other.account)
    expect(await node.get(`/v1/readings?patient=${name}`)).toEqual([])
    expect(await node.get('/v1/quarantine')).toContainEqual(
      expect.objectContaining({ what: 'envelope', reference: `${name}/${toHex(gid)}/1` }),
    )
    await other.rotate({ close: [gid] })
    await node.catchUp()
  })

  test('tells who listens of readings, alarms and diagnoses, without a value', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    const hear = await node.listen()
    other.record(2, { rhythm: 'fast' })
    await node.diagnosesWhen((all) => all.some((one) => one.patient === name && one.status === 'preliminary'))
    const text = await hear((so) => so.includes('event: diagnosis'))
    expect(text).toContain('event: reading')
    expect(text).toContain('event: alarm')
    expect(text).toContain(name)
    expect(text).not.toContain('Tachycardia for')
  })

  test('after a revocation nothing opens, nothing is accepted, and the node says so', async () => {
    const other = new TestPatient(network)
    const [gid] = (await other.rotate({ open: [doctor] })) as [Uint8Array]
    const name = toHex(other.account)
    other.record(2)
    await node.diagnosesWhen((list) => list.some((one) => one.patient === name))
    const experiment = (what: string) =>
      node.call<{ refused: boolean; evidence: Record<string, unknown> }>('POST', `/v1/experiments/${what}`, {
        patient: name,
      })
    // While access lives the same experiments succeed: they are no theatre.
    expect((await experiment('decrypt')).body.refused).toBe(false)
    expect((await experiment('envelope')).body.refused).toBe(false)
    await other.rotate({ close: [gid] })
    other.record(1)
    expect((await node.catchUp()).body.userchain).toBe(network.history.ledger.head('userchain').size)
    expect((await experiment('decrypt')).body).toMatchObject({
      refused: true,
      evidence: { fetched: true, generationsHeld: [1], generationNeeded: 2, keysTried: 2 },
    })
    expect((await experiment('envelope')).body).toMatchObject({
      refused: true,
      evidence: { opensForNewestGeneration: false, opensNewestRecord: false },
    })
    expect(await node.get(`/v1/readings?patient=${name}`)).toHaveLength(2)
    const range = { stream: toHex(other.stream), from: 3, to: 3 }
    const posted = await node.call('POST', '/v1/diagnoses', { patient: name, in: [range], text: 'Seen too late.' })
    expect(posted).toMatchObject({ status: 409, body: { code: 'ERR_REFUSED', refused: { rule: 'D.live' } } })
    const list = await node.get<Diagnosis[]>(`/v1/diagnoses?patient=${name}`)
    expect(list.at(-1)).toMatchObject({ status: 'not recorded', text: 'Seen too late.', refused: { rule: 'D.live' } })
    expect(list.at(-1)?.note).toMatch(/^access ended at .*, not recorded$/)
    // The refused one left its sequence to the next: what was written before can still be withdrawn.
    const withdrawn = await node.call('POST', `/v1/diagnoses/${list[0]?.transactionId}/amend`, { act: 'withdraw' })
    expect(withdrawn.status).toBe(201)
    expect(await node.get('/v1/patients')).toContainEqual(expect.objectContaining({ patient: name, state: 'ended' }))
  })

  test('a missing block holds its stream back; when it comes, the stream goes on in order', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    const mine = (list: Diagnosis[]): number[][] =>
      list.filter((one) => one.patient === name).flatMap((one) => one.in.map(({ from, to }) => [from, to]))
    other.record(1)
    await node.diagnosesWhen((list) => list.some((one) => one.patient === name && one.status === 'preliminary'))
    let late = new Uint8Array(0)
    const [cid] = other.record(1, {
      spoil(block) {
        late = Uint8Array.from(block)
        return undefined
      },
    }) as [Uint8Array]
    other.record(1)
    await node.call('POST', '/v1/diagnoses/request', { patient: name })
    expect((await node.catchUp()).body.pending).toBeGreaterThan(0)
    // The third is open, but it is not judged before the second.
    expect(await node.get(`/v1/readings?patient=${name}`)).toHaveLength(2)
    expect(mine(await node.get('/v1/diagnoses'))).toEqual([[1, 1]])
    network.blocks.set(cidOf(cid), late)
    node.clockMs += 20_000
    await node.diagnosesWhen((list) => mine(list).length === 2)
    expect(mine(await node.get('/v1/diagnoses'))).toEqual([
      [1, 1],
      [2, 3],
    ])
  })

  test('what stays missing for a minute is said on the ledger, and the stream goes on without it', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    other.record(1, { spoil: () => undefined })
    other.record(1)
    await node.catchUp()
    const reports = (): unknown[] =>
      network.accounting.received
        .map((leaf) => parseTransactionLeaf(leaf).body)
        .filter((body) => body.t === 'unreadable' && toHex(body.pat) === name)
    expect(reports()).toEqual([])
    node.clockMs += 61_000
    const list = await node.diagnosesWhen((all) => all.some((one) => one.patient === name))
    expect(list.find((one) => one.patient === name)?.in).toMatchObject([{ from: 2, to: 2 }])
    while (reports().length === 0) await node.catchUp()
    expect(reports()).toMatchObject([{ code: 1, in: [[other.stream, 1, 1]] }])
  })

  test('an unchanged finding is repeated after the interval, and a silent stream is an alarm until it speaks', async () => {
    const other = new TestPatient(network)
    await other.rotate({ open: [doctor] })
    const name = toHex(other.account)
    const mine = (list: Diagnosis[]): Diagnosis[] => list.filter((one) => one.patient === name)
    other.record(2)
    await node.diagnosesWhen((list) => mine(list)[0]?.status === 'preliminary')
    other.record(1)
    await node.catchUp()
    expect(mine(await node.get('/v1/diagnoses'))).toHaveLength(1)
    node.clockMs += 900_000
    const list = mine(await node.diagnosesWhen((all) => mine(all).length === 2))
    expect(list[1]?.in).toMatchObject([{ from: 3, to: 3 }])
    const silences = async (): Promise<{ id: number; endedAt: string | null }[]> =>
      (await node.get<{ id: number; patient: string; code: string; endedAt: string | null }[]>('/v1/alarms')).filter(
        (alarm) => alarm.patient === name && alarm.code === 'stream.silent',
      )
    while ((await silences()).length === 0) await node.catchUp()
    const [first] = await silences()
    expect(first?.endedAt).toBeNull()
    other.record(1)
    node.clockMs += 10_000
    const current = async () => (await silences()).find(({ id }) => id === first?.id)
    while ((await current())?.endedAt === null) await node.catchUp()
    expect((await current())?.endedAt).not.toBeNull()
  })
})
