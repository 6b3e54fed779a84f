/** Grants, revocations and diagnoses through real processes: what a doctor can do, before and after. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditReport } from '@healthblock/audit/report'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { parseStatement, verifyStatement } from '@healthblock/chain/statement'
import { equalBytes, fromBase64, fromHex } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'

interface Reading {
  readonly stream: string
  readonly sequence: number
  readonly transactionId: string
}

interface Diagnosis {
  readonly transactionId: string
  readonly doctor: string
  readonly at: string
  readonly in: { stream: string; from: number; to: number }[]
  readonly findings: { code: string; evidence?: unknown }[]
  readonly status: string
}

interface Revocation {
  readonly transactionId: string
  readonly receipt: string
  readonly changedAt: string
  readonly recordedAt: string
  readonly refusedEverywhereAt: string
}

/** How many resources of each type a Bundle's file holds. */
function resourceTypes(path: string): Map<string, number> {
  const { entry } = JSON.parse(readFileSync(path, 'utf8')) as { entry: { resource: { resourceType: string } }[] }
  const counts = new Map<string, number>()
  for (const { resource } of entry) counts.set(resource.resourceType, (counts.get(resource.resourceType) ?? 0) + 1)
  return counts
}

describe.skipIf(!hasRedis)('consent', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let record: string
  let streamed = 0

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 2, patients: ['anna'], periodMs: 5_000 })
    record = await writeRecord(cluster.root, { seconds: 120, rhythm: 'irregular' })
    writeFileSync(join(cluster.root, 'finding.txt'), 'Seen by hand.\n')
  }, storyMs)

  afterAll(async () => {
    await cluster?.remove()
  })

  const stream = async (seconds: number, ...more: string[]): Promise<void> => {
    const range = ['--from', String(streamed), '--to', String(streamed + seconds)]
    streamed += seconds
    await cluster.ok('patient', 'stream', 'anna', '--record', record, ...range, '--speed', 'max', ...more)
  }
  const newest = async (): Promise<Reading> =>
    (await cluster.ok<Reading[]>('patient', 'readings', 'anna')).at(-1) as Reading
  const post = (doctor: string, { stream: id, sequence }: Reading) =>
    cluster.run<Record<string, unknown>>(
      'doctor',
      'post',
      doctor,
      'anna',
      '--in',
      `${id}:${sequence}`,
      '--text',
      join(cluster.root, 'finding.txt'),
    )
  const diagnoses = (): Promise<Diagnosis[]> => cluster.ok<Diagnosis[]>('patient', 'diagnoses', 'anna')
  /** What a doctor's keys are good for, tried on the patient's newest record: the node is told of it first. */
  const experiment = async (doctor: string, name: string) => {
    await cluster.ok('doctor', 'readings', doctor, 'anna')
    const access = nodeAccess(cluster.dir, cluster.file, doctor)
    const patient = cluster.file.patients[0]?.account
    const done = await callNode(access, 'POST', `/v1/experiments/${name}`, { patient })
    return done as { refused: boolean; evidence: { record: { sequence: number } } }
  }
  const isRead = async (doctor: string, { transactionId }: Reading): Promise<boolean> =>
    (await cluster.ok<Reading[]>('doctor', 'readings', doctor, 'anna')).some(
      (reading) => reading.transactionId === transactionId,
    )

  test('a doctor without a grant reads nothing and can post nothing', async () => {
    await stream(10, '--wait')
    expect(await cluster.ok('doctor', 'readings', 'doctor-a', 'anna')).toEqual([])
    expect((await post('doctor-a', await newest())).code).toBe(1)
  })

  test('both doctors diagnose by themselves, and the patient reads it', async () => {
    for (const doctor of ['doctor-a', 'doctor-b']) {
      const { receipt } = await cluster.ok<{ receipt: string }>('patient', 'grant', 'anna', doctor)
      expect((await cluster.run('verify', receipt)).code).toBe(0)
    }
    const found = await eventually('two diagnoses', async () => {
      const all = await diagnoses()
      return new Set(all.map(({ doctor }) => doctor)).size === 2 ? all : undefined
    })
    // Her keys open what each of them wrote; ten seconds of it need not hold a finding.
    expect(found.map(({ status }) => status)).toEqual(found.map(() => 'preliminary'))
    // Both sides tell the same of one diagnosis, the moment included.
    const own = await cluster.ok<Diagnosis[]>('doctor', 'diagnoses', 'doctor-a')
    const { transactionId, at, in: inputs } = own[0] as Diagnosis
    expect(found.find((one) => one.transactionId === transactionId)).toMatchObject({ at, in: inputs })
  })

  test('a doctor may diagnose by hand', async () => {
    expect(await post('doctor-b', await newest())).toMatchObject({
      code: 0,
      value: { transactionId: expect.any(String) },
    })
  })

  test('what the doctor does on his page is done by commands too: sign, correct, answer an alarm', async () => {
    const own = async (): Promise<Diagnosis[]> => cluster.ok<Diagnosis[]>('doctor', 'diagnoses', 'doctor-b')
    const mine = (await own()).at(-1) as Diagnosis
    await cluster.ok('doctor', 'sign', 'doctor-b', mine.transactionId.slice(0, 12))
    expect((await cluster.run('doctor', 'correct', 'doctor-b', mine.transactionId)).code).toBe(2)
    const text = join(cluster.root, 'finding.txt')
    await cluster.ok('doctor', 'correct', 'doctor-b', mine.transactionId, '--text', text)
    expect((await own()).find(({ transactionId }) => transactionId === mine.transactionId)).toMatchObject({
      amendments: [{ act: 'sign' }, { act: 'correct', text: 'Seen by hand.\n' }],
    })
    expect((await cluster.run('doctor', 'sign', 'doctor-b', 'f'.repeat(64))).code).toBe(1)
    const read = (await diagnoses()).find(({ transactionId }) => transactionId === mine.transactionId)
    expect(read).toMatchObject({
      ...{ status: 'corrected', amendments: [{ act: 'sign' }, { act: 'correct', text: 'Seen by hand.\n' }] },
    })
    expect(await cluster.ok('doctor', 'fhir', 'doctor-b', mine.transactionId)).toMatchObject({ resourceType: 'Bundle' })

    const rows = Object.entries({ pulse: 150, spo2: 80, 'respiratory-rate': 32, 'systolic-pressure': 78 }).flatMap(
      ([sign, value]) => [0, 1, 2, 3, 4].map((n) => ({ timeMs: Date.now() - 60_000 * n, sign, value })),
    )
    const file = join(cluster.root, 'vitals.json')
    writeFileSync(file, JSON.stringify({ rows }))
    expect(await cluster.ok('device', 'send', 'anna', 'vitals', file)).toEqual({ accepted: 1 })
    writeFileSync(file, '{"rows":[]}')
    expect(await cluster.run('device', 'send', 'anna', 'vitals', file)).toMatchObject({
      ...{ code: 1, stderr: expect.stringContaining('rows') },
    })
    writeFileSync(file, JSON.stringify({ rows: [{ timeMs: Date.now() + 86_400_000, sign: 'pulse', value: 70 }] }))
    expect(await cluster.run('device', 'send', 'anna', 'vitals', file)).toMatchObject({
      ...{ code: 1, stderr: expect.stringMatching(/rows\.timeMs.*this node's clock/) },
    })
    const pulseAt = (timeMs: number): string => JSON.stringify({ rows: [{ timeMs, sign: 'pulse', value: 70 }] })
    writeFileSync(file, `${pulseAt(Date.parse('2099-01-01'))}\n${pulseAt(Date.now() - 1_000)}\n`)
    expect(await cluster.run('device', 'send', 'anna', 'vitals', file)).toMatchObject({
      ...{ code: 1, value: { accepted: 1, dropped: 1 } },
      stderr: expect.stringMatching(/batch 1 of 2 is dropped: .*never taken/),
    })
    type Alarm = { id: number; code: string; acknowledgedBy: string | null }
    const alarms = (): Promise<Alarm[]> => cluster.ok<Alarm[]>('doctor', 'alarms', 'doctor-b', '--open')
    const [alarm] = await eventually('an alarm', async () => {
      const grave = (await alarms()).filter(({ code }) => code === 'early-warning.news2')
      return grave.length > 0 ? grave : undefined
    })
    // The patient reads of a finding what the doctor does, code of SNOMED CT and score included; which records it rests on is the doctor's.
    const graveOf = (all: readonly Diagnosis[]) =>
      all.filter(({ findings }) => findings.some(({ code }) => code === 'early-warning.news2'))
    const [judged] = graveOf(await own())
    const told = judged?.findings.map(({ evidence, ...finding }) => finding)
    expect(told).toContainEqual(expect.objectContaining({ snomed: '1104051000000101', score: expect.any(Number) }))
    const heard = await eventually('the same diagnosis at the patient', async () =>
      (await diagnoses()).find(({ transactionId }) => transactionId === judged?.transactionId),
    )
    expect(heard.findings).toEqual(told)
    const id = String(alarm?.id)
    const act = (name: string, ...more: string[]) => cluster.run<Alarm>('doctor', name, 'doctor-b', id, ...more)
    expect((await act('snooze', '--minutes', '300')).code).toBe(2)
    expect((await act('snooze', '--minutes', '10')).code).toBe(0)
    expect((await act('acknowledge')).value.acknowledgedBy).not.toBeNull()
    expect((await act('escalate')).code).toBe(1)
    expect((await act('reopen')).value.acknowledgedBy).toBeNull()
    expect((await cluster.run('doctor', 'acknowledge', 'doctor-b', '99999')).code).toBe(1)
    expect(await cluster.ok('doctor', 'quarantine', 'doctor-b')).toEqual([])
    const bundle = join(cluster.root, 'bundle.json')
    await cluster.ok('doctor', 'export', 'doctor-b', 'anna', '--out', bundle)
    const types = resourceTypes(bundle)
    expect(types.get('ClinicalImpression')).toBe(1)
    expect(types.get('Observation')).toBeGreaterThan(2)
    expect(types.get('DiagnosticReport')).toBeGreaterThan(0)
    expect(types.has('OperationOutcome')).toBe(false)
    const readings = await cluster.ok<{ kind: string; transactionId: string }[]>(
      'doctor',
      'readings',
      'doctor-b',
      'anna',
    )
    const names = readFileSync(bundle, 'utf8')
    for (const { transactionId } of readings) expect(names).toContain(transactionId)
  })

  test('what the patient and the administrator do on their pages is done by commands too', async () => {
    const entries = await cluster.ok<{ at: string; kind: string; transactionId: string | null }[]>(
      ...['patient', 'timeline', 'anna', '--limit', '100'],
    )
    expect(entries.map(({ at }) => at)).toEqual(entries.map(({ at }) => at).toSorted())
    const granted = entries.find(({ kind }) => kind === 'granted')
    const file = join(cluster.root, 'granted.json')
    await cluster.ok('patient', 'receipt', 'anna', String(granted?.transactionId), '--out', file)
    expect((await cluster.run('verify', file, '--genesis', join(cluster.dir, 'genesis.cbor'))).code).toBe(0)
    const listed = await cluster.ok<{ account: string }[]>('doctor', 'list')
    const [found, ...others] = await cluster.ok<{ account: string; words: string[]; isLicensed: boolean }[]>(
      ...['patient', 'doctors', 'anna', 'doctor-b'],
    )
    expect(others).toEqual([])
    expect(found).toMatchObject({ account: listed[1]?.account, isLicensed: true, words: expect.any(Array) })
    const licences = async (): Promise<unknown[]> =>
      (await cluster.ok<{ licence: { state: number } | null }[]>('org', 'people', 'doctor-b')).map(
        ({ licence }) => licence?.state,
      )
    for (const [state, number] of [
      ['suspended', 2],
      ['active', 1],
    ] as const) {
      await cluster.ok('org', 'licence', 'doctor-b', state)
      await eventually(`a licence that is ${state}`, async () => ((await licences())[0] === number ? true : undefined))
    }
    expect((await cluster.run('org', 'licence', 'doctor-b', 'eternal')).code).toBe(2)
    const bundle = join(cluster.root, 'bundle.json')
    // What the device sent a moment ago is named as missing until it is on record.
    const types = await eventually('an export that lacks nothing', async () => {
      await cluster.ok('patient', 'export', 'anna', '--out', bundle)
      const found = resourceTypes(bundle)
      return found.has('OperationOutcome') ? undefined : found
    })
    expect(types.get('Consent')).toBe(2)
    expect(types.get('DiagnosticReport')).toBeGreaterThan(1)
    expect(readFileSync(bundle, 'utf8')).toContain('Seen by hand. (Corrected by the doctor. Before: Seen by hand.)')
    expect(types.get('Observation')).toBeGreaterThan(2)
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString()
    await cluster.ok('patient', 'export', 'anna', '--out', bundle, '--streams', 'ecg', '--from', tomorrow)
    expect([...resourceTypes(bundle).keys()]).toEqual(['Consent'])
    expect(await cluster.ok('ledger', 'incidents')).toEqual([])
  })

  test('a list names doctors, and gives whole the ids that other commands ask for', async () => {
    const grants = await cluster.ok<{ grant: string }[]>('patient', 'grants', 'anna')
    const listed = await cluster.words('patient', 'grants', 'anna')
    for (const { grant } of grants) expect(listed).toContain(grant)
    expect(listed).toMatch(/^doctor-a +ecg, vitals/m)
    const entries = await cluster.ok<{ transactionId: string | null }[]>('patient', 'timeline', 'anna', '--limit', '5')
    const told = await cluster.words('patient', 'timeline', 'anna', '--limit', '5')
    for (const { transactionId } of entries) expect(told).toContain(transactionId ?? '')
  })

  test('a limit that there is not is a mistake, told with those that there are', async () => {
    const { code, stderr } = await cluster.run('doctor', 'limits', 'doctor-a', 'anna', '--set', 'glucose=80')
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/there is no limit "glucose" \(.*glucoseLow, glucoseHigh/),
    ])
  })

  test('a file cannot be written where there is no folder, and the folder is named', async () => {
    const out = join(cluster.root, 'none', 'bundle.json')
    const { code, stderr } = await cluster.run('patient', 'export', 'anna', '--out', out)
    const missed = `${out} was not written: ${join(cluster.root, 'none')}: it does not exist (ENOENT)`
    expect([code, stderr]).toEqual([1, expect.stringContaining(missed)])
  })

  test('a doctor node that was killed and away catches up, and judges every record once', async () => {
    await cluster.kill('doctor-a')
    await stream(20, '--wait')
    await cluster.restart('doctor-a')
    const last = await newest()
    await eventually('catching up', async () => ((await isRead('doctor-a', last)) ? true : undefined))
    await cluster.kill('doctor-a')
    await cluster.restart('doctor-a')
    const account = cluster.file.doctors[0]?.account
    const own = (await diagnoses()).filter(({ doctor }) => doctor === account)
    const judged = own.flatMap(({ in: inputs }) =>
      inputs.flatMap(({ stream: id, from, to }) =>
        Array.from({ length: to - from + 1 }, (_, i) => `${id}:${from + i}`),
      ),
    )
    expect(judged.length).toBe(new Set(judged).size)
  })

  test('a revoked doctor is refused three times, and the other goes on', async () => {
    const revoked = await cluster.ok<Revocation>('patient', 'revoke', 'anna', 'doctor-b', '--wait')
    expect(Date.parse(revoked.refusedEverywhereAt)).toBeGreaterThanOrEqual(Date.parse(revoked.changedAt))
    expect(await cluster.run('verify', revoked.receipt, '--genesis', join(cluster.dir, 'genesis.cbor'))).toMatchObject({
      code: 0,
      value: { kind: 'revocation' },
    })
    await stream(10, '--wait')
    const last = await newest()
    for (const name of ['decrypt', 'envelope']) {
      const { refused, evidence } = await experiment('doctor-b', name)
      expect(refused).toBe(true)
      // A period in which nothing came has a record, too.
      expect(evidence.record.sequence).toBeGreaterThanOrEqual(last.sequence)
    }
    const refused = await post('doctor-b', last)
    expect(refused).toMatchObject({
      code: 1,
      value: { refused: { rule: 'D.live', signature: expect.stringMatching(/^[0-9a-f]{128}$/) } },
    })
    // What is printed is enough to check the signature: the statement, and genesis for the key.
    const { refused: said, statement } = refused.value as { refused: { signature: string }; statement: string }
    const genesis = parseGenesis(readFileSync(join(cluster.dir, 'genesis.cbor')))
    const signed = { statement: fromBase64(statement), signature: fromHex(said.signature) }
    const { gateway } = parseStatement('refused', signed.statement)
    const nodes = genesisAccounts(genesis).nodes
    const rank = nodes.findIndex((account) => equalBytes(account, gateway))
    const publicKey = genesis.body.nodes[rank]?.[1] as Uint8Array
    expect(() => verifyStatement({ name: 'refused', signed, ledgerId: genesis.ledgerId, publicKey })).not.toThrow()
    expect(await isRead('doctor-b', last)).toBe(false)
    await eventually('doctor A reading on', async () => ((await isRead('doctor-a', last)) ? true : undefined))
    // What the storage nodes signed of it: he fetched while he might, and the attempt afterwards is not hidden.
    const file = join(cluster.root, 'fetches')
    expect(await cluster.ok('patient', 'fetches', 'anna', '--out', file)).toMatchObject({ unreachable: 0, cut: 0 })
    const inTime = await cluster.run<AuditReport>('audit', '--fetches', file)
    expect(inTime.value.findings).toEqual([])
    expect(inTime.value.notChecked.join()).toMatch(/[1-9]\d* fetches, as [123] storage nodes signed them/)
    writeFileSync(file, Uint8Array.of(0x81, 0x01))
    expect((await cluster.run<AuditReport>('audit', '--fetches', file)).value.findings).toMatchObject([
      { code: 'fetches.forged' },
    ])
    const exposure = await cluster.ok<{ stillReadable: boolean; kind: string }[]>(
      'patient',
      'exposure',
      'anna',
      'doctor-b',
    )
    expect(exposure.filter(({ kind }) => kind === 'ecg')).toMatchObject([{ stillReadable: false }])
  })

  test('a revocation made while the ledger is away takes effect at once, and is recorded afterwards', async () => {
    await cluster.ok('patient', 'grant', 'anna', 'doctor-b')
    for (const rank of [0, 1, 2, 3]) await cluster.kill(`accounting-${rank}`)
    const revoked = await cluster.run<Revocation>('patient', 'revoke', 'anna', 'doctor-b')
    expect(revoked.value).toMatchObject({ changedAt: expect.any(String), recordedAt: null })
    await stream(10)
    await Promise.all([0, 1, 2, 3].map((rank) => cluster.restart(`accounting-${rank}`)))
    const closed = await eventually('the record', async () => {
      const grants = await cluster.ok<{ state: string; doctor: string }[]>('patient', 'grants', 'anna')
      const { value } = await cluster.run<{ ok: boolean }>('audit')
      return value.ok ? grants : undefined
    })
    expect(
      closed
        .filter(({ doctor }) => doctor === cluster.file.doctors[1]?.account)
        .every(({ state }) => state === 'ended'),
    ).toBe(true)
    await eventually('delivery', async () => ((await newest()).sequence === streamed / 5 ? true : undefined))
    expect(await experiment('doctor-b', 'decrypt')).toMatchObject({
      ...{ refused: true, evidence: { record: { sequence: streamed / 5 } } },
    })
    expect((await post('doctor-b', await newest())).value).toMatchObject({ refused: { rule: 'D.live' } })
  })

  test('with the keys that she discloses an auditor judges again, byte for byte; a version is recalled from the ledgers', async () => {
    const file = join(cluster.root, 'disclosed.keys')
    await cluster.ok('patient', 'disclose', 'anna', '--out', file)
    const { ok, findings, notChecked } = await cluster.ok<AuditReport>('audit', '--disclose', file)
    expect(findings).toEqual([])
    expect(ok).toBe(true)
    expect(notChecked.join()).toMatch(/within it [1-9]\d* have the same bytes when judged again/)
    // She knows that an auditor looked; it is nothing to be woken for.
    const looked = await eventually('the look of the auditor', async () => {
      const looks = await cluster.ok<{ reader: string; standing: string }[]>('patient', 'looks', 'anna')
      return looks.find(({ reader }) => reader === cluster.file.auditor)
    })
    expect(looked.standing).toBe('keeper')
    const alarms = await cluster.ok<{ about?: string }[]>('patient', 'alarms', 'anna')
    const doctors = cluster.file.doctors.map(({ account }) => account)
    const looks = await cluster.ok<{ reader: string; standing: string }[]>('patient', 'looks', 'anna')
    expect(looks.filter(({ reader, standing }) => standing === 'none' && !doctors.includes(reader))).toEqual([])
    expect(alarms.some(({ about }) => about === cluster.file.tenant)).toBe(false)
    const diagnoses = await cluster.ok<{ transactionId: string; algorithm: string }[]>('patient', 'diagnoses', 'anna')
    const automatic = diagnoses.filter(({ algorithm }) => algorithm.startsWith('healthblock-monitor@'))
    const recalled = await cluster.ok<{ diagnoses: { transactionId: string }[] }>(
      'recall',
      automatic[0]?.algorithm ?? '',
    )
    const ids = recalled.diagnoses.map(({ transactionId }) => transactionId)
    expect(ids).toEqual(expect.arrayContaining(automatic.map(({ transactionId }) => transactionId)))
  })
})
