/** Witnesses as an operator and an auditor meet them: by commands, at four nodes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditReport } from '@healthblock/audit/report'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { WitnessEntry } from '../../cli/src/commands/witness.ts'
import { eventually, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { TestWitness } from '../support/witness.ts'

const describeCluster = hasRedis ? describe : describe.skip

interface AtNodes<T> {
  readonly nodes: readonly { readonly node: string; readonly value?: T; readonly error?: string }[]
  readonly logs?: readonly { readonly origin: string; readonly keys: readonly string[] }[]
}

describeCluster('a witness at four nodes', () => {
  let cluster: TestCluster
  let witness: TestWitness

  beforeAll(async () => {
    witness = await TestWitness.start('witness.example/outside')
    cluster = await TestCluster.start({ doctors: 0, patients: [], storage: 1, replicas: 1 })
  })
  afterAll(async () => {
    await cluster?.remove()
    await witness?.close()
  })

  test('is added at each, cosigns for each, is audited, and removed', { timeout: storyMs }, async () => {
    const bare = await cluster.ok<AuditReport>('audit')
    expect(bare.notChecked).toContain('witnesses outside the ledger: none was named')
    const id = cluster.file.auditor as string
    const held = join(cluster.root, 'held.json')
    expect(await cluster.ok('ledger', 'receipt', id, '--out', held)).toMatchObject({ attested: 'quorum' })
    // Nobody can cosign yet: that is said at once, and nothing is written.
    const grant = ['--grant', `${id}/${'0'.repeat(32)}`]
    const early = join(cluster.root, 'early.json')
    for (const args of [
      ['ledger', 'receipt', id, '--out', early],
      ['ledger', 'receipt', 'renew', held],
      ['dispute', '--out', early, '--transaction', id, ...grant],
    ]) {
      const { code, stderr } = await cluster.run(...args, '--witnessed')
      expect([args, code, stderr]).toEqual([args, 1, expect.stringContaining('no accounting node asks a witness')])
    }
    expect(existsSync(early)).toBe(false)
    const added = await cluster.ok<AtNodes<WitnessEntry>>('ledger', 'witness', 'add', witness.url, witness.vkey)
    expect(added.nodes.map(({ value }) => value?.name)).toEqual(Array.from({ length: 4 }, () => witness.key.name))
    // What its operator has to enter: two origins, each with the log keys of four nodes.
    expect(added.logs?.map(({ origin, keys }) => [origin.split('/')[2], new Set(keys).size])).toEqual([
      ['userchain', 4],
      ['docchain', 4],
    ])
    await eventually('cosignatures at four nodes', async () => {
      const { nodes } = await cluster.ok<AtNodes<WitnessEntry[]>>('ledger', 'witness', 'list')
      const isSigned = nodes.every(
        ({ value }) => (value?.[0]?.userchain.size ?? 0) > 0 && value?.[0]?.docchain.size !== null,
      )
      return isSigned ? true : undefined
    })
    const report = await cluster.ok<AuditReport>('audit')
    expect(report.findings).toEqual([])
    expect(report.notChecked).toContain(
      'userchain at witnesses that were not named; 1 of 1 that were named hold the audited head',
    )
    // A receipt that carries its line, of the transaction that made the auditor known: its id is the account.
    const out = join(cluster.root, 'receipt.json')
    const receipt = await cluster.ok('ledger', 'receipt', id, '--out', out, '--witnessed')
    expect(receipt).toEqual({ out, attested: 'witnessed', witnesses: [witness.key.name] })
    const verified = await cluster.run('verify', out, '--witness', witness.vkey)
    expect(verified).toMatchObject({ code: 0, value: { attested: 'witnessed', witnesses: [{ isKnown: true }] } })
    const renewed = await cluster.ok('ledger', 'receipt', 'renew', held, '--witnessed')
    expect(renewed).toEqual({ out: held, attested: 'witnessed', witnesses: [witness.key.name] })
    expect(await cluster.run('verify', held, '--witness', witness.vkey)).toMatchObject({ code: 0 })
    // A bundle that carries its lines too, about the same transaction and a grant that never was.
    const bundle = join(cluster.root, 'bundle.json')
    const about = ['--transaction', id, '--grant', `${id}/${'0'.repeat(32)}`]
    const file = await cluster.run('dispute', '--out', bundle, ...about, '--witnessed')
    expect(file).toMatchObject({ code: 0, value: { attested: 'witnessed', witnesses: [witness.key.name] } })
    const settled = await cluster.run('verify', bundle, '--witness', witness.vkey)
    expect(settled).toMatchObject({ code: 0, value: { kind: 'dispute', attested: 'witnessed' } })
    // It has seen more than the nodes show.
    const [origin] = [...witness.held.keys()].filter((name) => name.endsWith('/userchain')) as [string]
    const seen = witness.held.get(origin) as { size: number; root: Uint8Array }
    witness.held.set(origin, { ...seen, size: seen.size + 100 })
    const hidden = await cluster.run<AuditReport>('audit')
    expect([hidden.code, hidden.value.findings.map(({ code, node }) => [code, node])]).toEqual([
      1,
      [['witness.ahead', witness.key.name]],
    ])
    const removed = await cluster.ok<AtNodes<WitnessEntry>>('ledger', 'witness', 'remove', witness.vkey)
    expect(removed.nodes).toHaveLength(4)
    const { nodes } = await cluster.ok<AtNodes<WitnessEntry[]>>('ledger', 'witness', 'list')
    expect(nodes.map(({ value }) => value)).toEqual([[], [], [], []])
    // What a receipt showed is not given up for one that shows less.
    expect(await cluster.run('ledger', 'receipt', 'renew', held)).toMatchObject({ code: 1 })
    expect(await cluster.run('verify', held, '--witness', witness.vkey)).toMatchObject({ code: 0 })
    // Named by the auditor alone it is asked all the same.
    const named = await cluster.run<AuditReport>('audit', '--witness', `${witness.url} ${witness.vkey}`)
    expect(named.value.findings.map(({ code }) => code)).toEqual(['witness.ahead'])
  })

  test('says what is wrong with an address, a key, a name', async () => {
    const wrong: [string[], number][] = [
      [['ledger', 'witness', 'add', 'nonsense', witness.vkey], 2],
      [['ledger', 'witness', 'add', witness.url, 'nonsense'], 2],
      [['ledger', 'witness', 'add', `${witness.url}?query`, witness.vkey], 1],
      [['ledger', 'witness', 'remove', 'nobody'], 1],
      [['ledger', 'witness', 'add', witness.url], 2],
      [['ledger', 'witness', 'list', '--node', 'nobody'], 1],
      [['ledger', 'witness', 'ask'], 2],
      [['ledger', 'receipt', 'nonsense', '--out', 'x'], 2],
      [['ledger', 'receipt', '0'.repeat(64), '--out', 'x'], 1],
      [['ledger', 'receipt', 'renew', join(cluster.dir, 'genesis.cbor')], 1],
      [['ledger', 'receipt', 'renew'], 2],
      [['audit', '--witness', witness.url], 2],
      [['audit', '--witness', `${witness.url} nonsense`], 2],
    ]
    for (const [args, code] of wrong) expect([args, (await cluster.run(...args)).code]).toEqual([args, code])
    await cluster.kill('accounting-3')
    const { code, value } = await cluster.run<AtNodes<WitnessEntry>>(
      'ledger',
      'witness',
      'add',
      witness.url,
      witness.vkey,
    )
    expect(code).toBe(1)
    expect(value.nodes.filter(({ error }) => error !== undefined)).toMatchObject([{ node: 'accounting-3' }])
  })
})
