/** The organisations change the ledger while it runs: real processes, root keys in files, and an audit across all of it. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditReport } from '@healthblock/audit/report'
import { EtcdClient, etcdBytes } from '@healthblock/runtime/etcd'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { etcdUrls } from '../../cli/src/cluster/etcd.ts'
import { stopProcess } from '../../cli/src/cluster/processes.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { etcdInstalled } from '../support/etcd.ts'
import { writeRecord } from '../support/record.ts'

interface Shown {
  readonly acts: number
  readonly policy: number
  readonly quorum: number
  readonly height: number
  readonly nodes: { rank: number; account: string }[]
  readonly organisations: { account: string }[]
  readonly rules: { version: number; from: number }[]
  readonly rulesInForce: number
}

describe.skipIf(!hasRedis)('governance', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let record: string
  /** Root keys of those who govern, by file. */
  let roots: string[]
  let fifth: { account: string; folder: string }

  beforeAll(async () => {
    // With etcd each node has credentials of its own at the register, which come and go with its keys.
    const etcdMembers = etcdInstalled ? 1 : 0
    cluster = await TestCluster.start({ doctors: 1, patients: ['anna'], periodMs: 5_000, rules: 1, etcdMembers })
    record = await writeRecord(cluster.root, { seconds: 200, rhythm: 'irregular' })
    roots = [0, 1, 2, 3].map((i) => join(cluster.dir, 'secrets', `organisation-${i}-root.key`))
  }, storyMs)

  afterAll(async () => {
    await cluster?.remove()
  })

  const show = (): Promise<Shown> => cluster.ok<Shown>('org', 'show')
  let streamed = 0
  const stream = async (): Promise<void> => {
    const range = ['--from', String(streamed), '--to', String(streamed + 10)]
    streamed += 10
    await cluster.ok('patient', 'stream', 'anna', '--record', record, ...range, '--speed', 'max', '--wait')
  }
  const ready = (name: string): Promise<true> =>
    eventually(`${name} to be ready`, async () => {
      const response = await fetch(new URL('/readyz', cluster.url(name))).catch(() => undefined)
      return response?.ok === true ? true : undefined
    })

  /** Proposes, has everybody sign, submits. */
  const decide = async (...proposal: string[]): Promise<string[]> => {
    const file = join(cluster.root, 'proposal.json')
    const { preview, signaturesNeeded } = await cluster.ok<{ preview: string[]; signaturesNeeded: number }>(
      'org',
      ...proposal,
      '--out',
      file,
    )
    // Fewer than two thirds change nothing.
    await cluster.ok('org', 'sign', file, '--key', roots[0] as string, '--yes')
    const early = await cluster.run('org', 'submit', file)
    expect(early.code).toBe(1)
    expect(early.stderr).toContain(`1 signed, of the ${signaturesNeeded} that it needs`)
    for (const key of roots) await cluster.ok('org', 'sign', file, '--key', key, '--yes')
    await cluster.ok('org', 'submit', file)
    return preview
  }

  test('a fifth organisation and its node join', async () => {
    await stream()
    const folder = join(cluster.root, 'fifth')
    fifth = await cluster.ok('org', 'register', folder)
    const file = join(cluster.root, 'early.json')
    await cluster.ok('org', 'propose', 'admit', fifth.account, '--quota', '10', '--out', file)
    const unsigned = await cluster.run<{ signed: boolean; preview: string[] }>(
      'org',
      'sign',
      file,
      '--key',
      roots[1] as string,
    )
    expect(unsigned.code).toBe(1)
    expect(unsigned.value.preview.join('\n')).toContain(`ADMIT organisation ${fifth.account}`)
    expect((await cluster.run('org', 'sign', file, '--key', join(folder, 'root.key'), '--yes')).code).toBe(1)
    await decide('propose', 'admit', fifth.account, '--quota', '10')
    roots.push(join(folder, 'root.key'))
    const { card } = await cluster.ok<{ card: string }>(
      ...([
        'org',
        'node',
        'accounting-4',
        '--organisation',
        fifth.account,
        '--op-key',
        join(folder, 'op.key'),
      ] as const),
    )
    // It runs and waits: the start says so, and is no longer for it.
    const waiting = await cluster.run('up')
    // Who has a page open is told why it is gone: the new one needs a place among the others.
    expect(waiting.stderr).toContain('all are started anew, at other addresses')
    expect([waiting.code, waiting.stderr]).toEqual([
      0,
      expect.stringContaining(`accounting-4 runs, and waits to be admitted`),
    ])
    const preview = await decide('propose', 'policy', '--add', card)
    expect(preview.join('\n')).toMatch(/POLICY: 4 of 5 nodes cosign \(before: 3 of 4\)/)
    expect(preview.filter((line) => line.includes('NEW '))).toHaveLength(1)
    await cluster.up()
    await ready('accounting-4')
    await stream()
    const { nodes, organisations, quorum } = await show()
    expect({ nodes: nodes.length, organisations: organisations.length, quorum }).toEqual({
      nodes: 5,
      organisations: 5,
      quorum: 4,
    })
  })

  test('a stolen op key is replaced by the root key: the old one signs nothing more, and the node goes on with the new one', async () => {
    const [root = ''] = roots
    const next = join(cluster.root, 'next-op.key')
    const secret = join(cluster.node('accounting-0'), 'secrets', 'organisation-op.key')
    const stolen = readFileSync(secret, 'utf8')
    const licence = () => cluster.run('org', 'licence', 'doctor-a', 'active')
    expect((await licence()).code).toBe(0)
    expect((await cluster.run('org', 'rekey', '--key', secret, '--op-key', next)).code).toBe(1)
    const done = await cluster.ok<{ nodes: string[] }>('org', 'rekey', '--key', root, '--op-key', next)
    expect(done.nodes).toEqual(['accounting-0'])
    expect(readFileSync(secret, 'utf8')).toBe(readFileSync(next, 'utf8'))
    expect(readFileSync(secret, 'utf8')).not.toBe(stolen)
    // As if the command had been interrupted once the key was on record.
    writeFileSync(secret, stolen)
    const again = await cluster.ok<{ nodes: string[] }>('org', 'rekey', '--key', root, '--op-key', next)
    expect(again).toEqual({ account: expect.any(String), nodes: ['accounting-0'], opKey: next })
    expect(readFileSync(secret, 'utf8')).toBe(readFileSync(next, 'utf8'))
    // The node still has the old key in its memory.
    expect(await licence()).toMatchObject({ code: 1, stderr: expect.stringContaining('licence.signature') })
    await stopProcess(cluster.node('accounting-0'))
    await cluster.up()
    expect((await licence()).code).toBe(0)
    // What is in force is no new key.
    expect((await cluster.run('org', 'rekey', '--key', root, '--op-key', next)).code).toBe(1)
  })

  test('a stolen cosigner key is replaced; the node signs again with the new one', async () => {
    const { card } = await cluster.ok<{ card: string }>('org', 'node', 'accounting-1', '--renew')
    const preview = await decide('propose', 'policy', '--replace', card)
    expect(preview.filter((line) => line.includes('KEYS'))).toHaveLength(1)
    // With the old keys it is no member.
    const stale = await eventually('accounting-1 to step back', async () => {
      const response = await fetch(new URL('/readyz', cluster.url('accounting-1')))
      return response.ok ? undefined : await response.text()
    })
    expect(stale).toContain('is not in the policy in force')
    // Its line on a checkpoint counts for nothing now, and it says so instead of making a receipt that nobody could verify.
    await stream()
    const asked = await eventually('accounting-1 to make no receipt', async () => {
      const path = `/v1/userchain/transactions/${cluster.file.auditor}/receipt`
      const response = await fetch(new URL(path, cluster.url('accounting-1')))
      return response.ok ? undefined : { status: response.status, problem: await response.json() }
    })
    expect(asked).toMatchObject({ status: 503, problem: { code: 'ERR_NODE_NOT_MEMBER' } })
    const passwordFile = join(cluster.node('accounting-1'), 'secrets', 'etcd.password')
    const stolen = etcdInstalled ? readFileSync(passwordFile, 'utf8').trim() : undefined
    await cluster.ok('org', 'node', 'accounting-1', '--switch')
    if (stolen !== undefined) {
      const credentials = { user: 'accounting-1', password: stolen }
      const thief = new EtcdClient({ endpoints: etcdUrls(cluster.dir, cluster.file), timeoutMs: 5_000, credentials })
      await expect(thief.call('/v3/kv/range', { key: etcdBytes('x') }, { repeatable: true })).rejects.toThrow(
        'authentication failed',
      )
      thief.close()
    }
    await stopProcess(cluster.node('accounting-1'))
    await cluster.restart('accounting-1')
    await ready('accounting-1')
    // Before any further block, too, its heads hold with its new log keys.
    const { value } = await cluster.run<{ findings: { code: string }[] }>('audit')
    expect(value.findings.filter(({ code }) => code.startsWith('checkpoint.'))).toEqual([])
    await stream()
  })

  test('the quorum changes, a node is suspended, the rules rise', async () => {
    await decide('propose', 'policy', '--q', '3')
    expect((await show()).quorum).toBe(3)
    const preview = await decide('suspend', 'accounting-3')
    expect(preview.filter((line) => line.includes('GONE node 3'))).toHaveLength(1)
    // Nobody is dropped whom the others count on.
    expect((await cluster.run('org', 'node', 'accounting-2', '--drop')).stderr).toContain('is in the policy in force')
    await cluster.ok('org', 'node', 'accounting-3', '--drop')
    await cluster.down()
    await cluster.up()
    // Whoever joined is found under its own rank, so that one more node may fail.
    await cluster.ok('down', '--node', 'accounting-2')
    await stream()
    await cluster.up()
    await ready('accounting-2')
    const { height, nodes } = await show()
    expect(nodes.map(({ rank }) => rank)).toEqual([0, 1, 2, 4])
    const file = join(cluster.root, 'unfit.json')
    const unfit = [
      [['policy', '--q', '2'], 'of 4 nodes 3 to 4 cosign'],
      [['policy', '--q', '3'], 'nothing would change'],
      [['rules', '1', '--height', '1000'], 'a version never falls'],
      [['rules', '2', '--height', String(height)], `from height ${height + 2} on`],
      [['rules', '99', '--height', '1000'], 'would stop at height 1000'],
      [['remove', 'organisation-0'], 'still has node 0'],
      [['admit', 'f'.repeat(64), '--quota', '1'], 'is not registered'],
    ] as const
    for (const [proposal, words] of unfit) {
      const { code, stderr } = await cluster.run('org', 'propose', ...proposal, '--out', file)
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(words) })
    }
    await decide('propose', 'rules', '4', '--height', String(height + 3))
    for (let i = 0; i < 3; i++) await stream()
    const { rules, rulesInForce, height: later } = await show()
    expect({ rules, rulesInForce }).toEqual({ rules: [{ version: 4, from: height + 3 }], rulesInForce: 4 })
    expect(later).toBeGreaterThanOrEqual(height + 3)
  })

  test('a dispute about the doctor is settled from one file, with no network', async () => {
    const readings = await cluster.ok<{ transactionId: string; sequence: number }[]>('patient', 'readings', 'anna')
    const { transactionId: granted } = await cluster.ok<{ transactionId: string }>(
      'patient',
      'grant',
      'anna',
      'doctor-a',
    )
    // The receipt is there before her node's own copy of the ledger has the block.
    const { grant, recordedAt } = await eventually('the block of the grant', async () => {
      const [only] = await cluster.ok<{ grant: string; recordedAt: string | null }[]>('patient', 'grants', 'anna')
      return only === undefined || only.recordedAt === null ? undefined : { ...only, recordedAt: only.recordedAt }
    })
    await stream()
    const during = new Date().toISOString()
    await stream()
    await cluster.ok('patient', 'revoke', 'anna', 'doctor-a', '--wait')
    await stream()
    const after = new Date().toISOString()
    await stream()
    const keys = join(cluster.root, 'keys')
    await cluster.ok('patient', 'disclose', 'anna', '--out', keys, '--from', '2020-01-01')
    const file = join(cluster.root, 'dispute.json')
    const first = readings[0] as { transactionId: string }
    await cluster.ok(
      ...(['dispute', '--out', file, '--transaction', granted, '--transaction', first.transactionId] as const),
      ...(['--grant', `anna/${grant}`, '--at', recordedAt, '--at', during, '--at', after, '--disclose', keys] as const),
    )
    const genesis = join(cluster.dir, 'genesis.cbor')
    const verified = await cluster.ok<{ answers: { answer: string }[]; opened: unknown[] }>(
      'verify',
      file,
      '--genesis',
      genesis,
    )
    expect(verified.answers.map(({ answer }) => answer)).toEqual(['in force', 'in force', 'closed'])
    expect(verified.opened.length).toBeGreaterThan(0)
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace(`"at":${Date.parse(after)}`, `"at":${Date.parse(during)}`))
    expect((await cluster.run('verify', file, '--genesis', genesis)).code).toBe(1)
  })

  test('a receipt of now verifies from genesis alone, and the audit replays everything without findings', async () => {
    const { receipt } = await cluster.ok<{ receipt: string }>('patient', 'grant', 'anna', 'doctor-a')
    const kept = join(cluster.root, 'receipt.json')
    copyFileSync(receipt, kept)
    const genesis = join(cluster.dir, 'genesis.cbor')
    const verified = await cluster.ok<{ ok: boolean; steps: string[] }>('verify', kept, '--genesis', genesis)
    expect(verified.ok).toBe(true)
    expect(verified.steps.filter((step) => step.includes('by the quorum until then'))).toHaveLength(4)
    const { value: report } = await cluster.run<AuditReport>('audit', '--state')
    expect(report.findings).toEqual([])
    expect(report.notChecked.join('\n')).toContain('4 changes of the policy since')
  })
})
