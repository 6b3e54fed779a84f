/** A quorum is lost for good: the organisations begin a successor, which carries on what the old quorum attested; whatever else is noticed. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditReport } from '@healthblock/audit/report'
import { encodeGenesis, parseGenesis } from '@healthblock/chain/genesis'
import { encodeSuccession, parseSuccession } from '@healthblock/chain/succession'
import { toBase64 } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readKeyFile } from '../../cli/src/governance/card.ts'
import { approve } from '../../cli/src/governance/succession.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'

interface Made {
  readonly ledgerId: string
  readonly prior: string
  readonly heads: number[]
  readonly approvals: number
  readonly approvalsNeeded: number
  readonly isApproved: boolean
  readonly told: { node: string; ended: boolean }[]
}

describe.skipIf(!hasRedis)('a successor ledger', { timeout: storyMs }, () => {
  let old: TestCluster
  let next: TestCluster | undefined
  let roots: string[]
  let receipt: string
  let record: string

  const stream = (from: number): Promise<unknown> => {
    const range = ['--from', String(from), '--to', String(from + 10)]
    return old.ok('patient', 'stream', 'anna', '--record', record, ...range, '--speed', 'max', '--wait')
  }

  beforeAll(async () => {
    old = await TestCluster.start({ doctors: 1, patients: ['anna'], storage: 1, replicas: 1, periodMs: 5_000 })
    roots = [0, 1, 2, 3].map((i) => join(old.dir, 'secrets', `organisation-${i}-root.key`))
    record = await writeRecord(old.root, { seconds: 40, rhythm: 'irregular' })
    await stream(0)
  }, storyMs)

  afterAll(async () => {
    await next?.remove()
    await old?.remove()
  })

  const post = (url: string, bytes: Uint8Array): Promise<Response> =>
    fetch(new URL('/v1/successions', url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ succession: toBase64(bytes) }),
    })
  const folder = (): string => join(old.root, 'next')
  const file = (): Uint8Array => new Uint8Array(readFileSync(join(folder(), 'succession.json')))

  test('a ledger that is alive is not succeeded', async () => {
    const early = await old.run('ledger', 'successor', '--out', folder())
    expect(early.code).toBe(1)
    expect(early.stderr).toContain('this ledger is alive')
  })

  test('a head that is not the last is noticed, and the ledger goes on', async () => {
    const stale = join(old.root, 'stale')
    const keys = roots.flatMap((path) => ['--key', path])
    await old.ok('ledger', 'successor', '--out', stale, '--force')
    await stream(10)
    const refused = await old.run('ledger', 'approve', stale, ...keys, '--yes')
    expect(refused.code).toBe(1)
    expect(refused.stderr).toMatch(/the quorum attested \d+ entries of userchain, the successor carries on \d+/)
    await stream(20)
    // Whoever holds a receipt from beyond shows it, too.
    receipt = (await old.ok<{ receipt: string }>('patient', 'grant', 'anna', 'doctor-a')).receipt
    const link = join(stale, 'succession.json')
    const beyond = await old.run('verify', receipt, '--genesis', join(stale, 'genesis.cbor'), '--succession', link)
    expect(beyond.stderr).toContain('the successor carries on')
  })

  test('two thirds of the organisations carry it on from the last heads that its quorum attested', async () => {
    await old.kill('accounting-2')
    await old.kill('accounting-3')
    const one = ['--key', roots[0] as string, '--storage', '1', '--doctors', '0']
    const made = await old.ok<Made>('ledger', 'successor', '--out', folder(), '--force', ...one)
    expect(made).toMatchObject({ approvals: 1, approvalsNeeded: 3, isApproved: false, told: [] })
    const heads = await Promise.all(
      ['userchain', 'docchain'].map(async (chain) => {
        const text = await (await fetch(new URL(`/${chain}/checkpoint`, old.url('accounting-0')))).text()
        return Number(text.split('\n')[1])
      }),
    )
    expect(made.heads).toEqual(heads)
    // Not enough: a node takes no notice, and a verifier says so.
    expect((await post(old.url('accounting-0'), file())).status).toBe(422)
    const early = await old.run('verify', join(folder(), 'succession.json'))
    expect(early.stderr).toContain('1, and it takes 3')
    const shown = await old.run<{ steps: string[] }>('ledger', 'approve', folder(), '--key', roots[1] as string)
    expect(shown.code).toBe(1)
    expect(shown.value.steps.join('\n')).toContain(`carries on ledger ${made.prior}`)
    await old.ok('ledger', 'approve', folder(), '--key', roots[1] as string, '--yes')
    const last = await old.ok<Made>('ledger', 'approve', folder(), '--key', roots[2] as string, '--yes')
    expect(last.isApproved).toBe(true)
    expect(last.told).toEqual(['accounting-0', 'accounting-1'].map((node) => ({ node, ended: true })))
  })

  test('survivors end the old ledger: they serve it, and take nothing more', async () => {
    for (const name of ['accounting-0', 'accounting-1']) {
      const answer = await fetch(new URL('/v1/userchain/transactions', old.url(name)), {
        method: 'POST',
        headers: { 'content-type': 'application/cbor-seq' },
        body: new Uint8Array([0x80]),
      })
      expect(answer.status).toBe(410)
      expect((await fetch(new URL('/readyz', old.url(name)))).status).toBe(503)
      expect((await fetch(new URL('/userchain/checkpoint', old.url(name)))).status).toBe(200)
    }
    // Who comes back to life hears of it only from them: with the two it would be a quorum, and it stays none.
    await old.restart('accounting-3')
    const size = async (): Promise<string> =>
      (await (await fetch(new URL('/userchain/checkpoint', old.url('accounting-0')))).text()).split('\n')[1] as string
    const before = await size()
    const answer = await fetch(new URL('/v1/successions', old.url('accounting-0')))
    expect(await answer.json()).toHaveLength(1)
    expect(await size()).toBe(before)
  })

  test('it starts with the same organisations, and its audit follows the link', async () => {
    next = TestCluster.at(folder())
    await next.up()
    await next.ok('up')
    const { value: report } = await next.run<AuditReport>('audit')
    expect(report.findings).toEqual([])
    expect(report.notChecked.join('\n')).toContain('audit it by itself')
    const orgs = await next.ok<{ organisations: { root: string }[] }>('org', 'show')
    const keys = roots.map((path) => Buffer.from(readKeyFile(path).publicKey).toString('hex'))
    expect(orgs.organisations.map(({ root }) => root).sort()).toEqual(keys.sort())
  })

  test('receipts of the old ledger hold in the successor, as far as it carries them on', async () => {
    const genesis = join(folder(), 'genesis.cbor')
    const link = join(folder(), 'succession.json')
    expect((await old.run('verify', receipt, '--genesis', genesis)).code).toBe(1)
    const verified = await old.ok<{ steps: string[] }>('verify', receipt, '--genesis', genesis, '--succession', link)
    expect(verified.steps.at(-1)).toContain('lies within what the successor carries on')
    const own = await old.ok<{ kind: string }>('verify', link, '--genesis', join(old.dir, 'genesis.cbor'))
    expect(own.kind).toBe('succession')
  })

  test('a second successor is refused by the survivors, kept as evidence, and found by the audit', async () => {
    const succession = parseSuccession(file())
    const body = parseGenesis(succession.successor).body
    const successor = encodeGenesis({ ...body, start: body.start + 1 })
    let rival = encodeSuccession({ ...succession, successor, approvals: [] }) as Uint8Array
    for (const path of roots) rival = approve(rival, readKeyFile(path)).bytes
    const answer = await post(old.url('accounting-1'), rival)
    expect(answer.status).toBe(409)
    expect(((await answer.json()) as { detail: string }).detail).toContain('3 organisations approved both')
    const { code, value: report } = await (next as TestCluster).run<AuditReport>('audit')
    expect(code).toBe(1)
    expect(report.findings.map((finding) => finding.code)).toEqual(['succession.rival'])
  })

  test('a node whose succession is missing or does not hold does not start', async () => {
    const cluster = next as TestCluster
    await cluster.kill('accounting-0')
    const kept = join(cluster.node('accounting-0'), 'successions', 'own.json')
    const bytes = readFileSync(kept)
    const without = encodeSuccession({ ...parseSuccession(new Uint8Array(bytes)), approvals: [] })
    writeFileSync(kept, without)
    await expect(cluster.restart('accounting-0')).rejects.toThrow('0, and it takes 3')
    writeFileSync(kept, bytes)
    await cluster.restart('accounting-0')
    await eventually('accounting-0 to be ready', async () => {
      const response = await fetch(new URL('/readyz', cluster.url('accounting-0'))).catch(() => undefined)
      return response?.ok === true ? true : undefined
    })
  })
})
