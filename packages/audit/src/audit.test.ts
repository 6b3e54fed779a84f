import { genesisAccount } from '@healthblock/chain/genesis'
import { CompactRange, leafHash } from '@healthblock/chain/merkle'
import { type PreparationWorkers, sameThread } from '@healthblock/chain/preparation'
import { encodeSealLeaf, parseSealLeaf } from '@healthblock/chain/seal'
import { type Incident, signStatement } from '@healthblock/chain/statement'
import { leafKind, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { toBase64, toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Consortium, type Lies, TestLedger } from '../../runtime/src/testkit.ts'
import type { AuditReport } from './report.ts'
import { altered, memoryStores, places, Sample } from './sample.test-support.ts'

let sample: Sample
let consortium: Consortium
let history: TestLedger

beforeEach(() => {
  sample = new Sample()
  consortium = sample.consortium
  history = sample.history
})
afterEach(() => sample.close())

const cluster = (...lies: readonly Lies[]) => sample.cluster(...lies)
const run: Sample['run'] = (nodes, options) => sample.run(nodes, options)

describe('an honest ledger', () => {
  it('has no findings, and the report names the replayed heads', async () => {
    sample.fill()
    const report = await run(await cluster({}, {}, {}, {}))
    expect(report.findings).toEqual([])
    expect(report.ok).toBe(true)
    const { height, size, root, stateRoot } = history.ledger.head('userchain')
    expect(report.chains.userchain).toEqual({ height, size, root: toHex(root), stateRoot: toHex(stateRoot) })
    expect(report.transactions).toBe(history.leaves.userchain.length - height - 1 + 1)
    expect(report.notChecked.length).toBeGreaterThan(0)
  })

  it('is audited further over the stores of an earlier audit, which are compared and not executed again', async () => {
    sample.fill(300)
    const nodes = await cluster({})
    const stores = memoryStores()
    const told: unknown[] = []
    const onResume = (executed: unknown) => void told.push(executed)
    const first = await run(nodes, { stores, onResume })
    const { height, size } = first.chains.userchain
    expect(told).toEqual([])
    history.block('userchain', [history.registration().transaction])
    const again = await run(nodes, { stores, onResume })
    // Whoever reads the report learns what this audit took from the earlier one.
    expect(told).toEqual([{ chain: 'userchain', height, size }])
    const taken = ({ notChecked }: AuditReport) =>
      notChecked.filter((words) => words.includes('an earlier audit executed'))
    expect(taken(first)).toEqual([])
    expect(taken(again)).toEqual([
      expect.stringContaining(`the first ${size} entries of userchain, up to height ${height}`),
    ])
    expect(again.findings).toEqual([])
    expect(again.chains.userchain.height).toBe(history.ledger.head('userchain').height)
  })
})

describe('threads', () => {
  it('verify every signature, those of accounts that are registered in the same entries too', async () => {
    sample.fill(20)
    const { transaction, person } = history.registration()
    history.block('userchain', [transaction])
    history.block('userchain', [history.device(person, [randomBytes(8)])])
    const signatures = history.leaves.userchain
      .filter((leaf) => leafKind(leaf) === 'transaction')
      .reduce((sum, leaf) => sum + parseTransactionLeaf(leaf).signatures.length, 0)
    let verified = 0
    const workers: PreparationWorkers = {
      prepare: async (request) => {
        const result = await sameThread.prepare(request)
        verified += result.good.filter((one) => one === 1).length
        return result
      },
    }
    expect((await run(await cluster({}), { workers })).findings).toEqual([])
    expect(verified).toBe(signatures)
  })
})

describe('each kind of tampering has its own finding', () => {
  it('entry.altered: a byte of one node’s stored entry, with its place', async () => {
    sample.fill()
    const liar: Lies = {
      entry: (chain, index, leaf) => (chain === 'userchain' && index === 300 ? altered(leaf) : leaf),
    }
    const { ok, findings } = await run(await cluster({}, {}, liar, {}))
    const height = history.ledger.index('userchain').boundaryAfter(300)?.height
    expect(ok).toBe(false)
    expect(places(findings)).toEqual([`entry.altered userchain ${height} 300 node-2`])
  })

  it('entry.altered: different entries at each of two nodes are made good from each other', async () => {
    sample.fill(300)
    const lies = [3, 5].map((at): Lies => ({ entry: (_, index, leaf) => (index === at ? altered(leaf) : leaf) }))
    const { chains, findings } = await run(await cluster(...lies))
    expect(places(findings)).toEqual(['entry.altered userchain 1 3 node-0', 'entry.altered userchain 2 5 node-1'])
    expect(chains.userchain.height).toBe(history.ledger.head('userchain').height)
  })

  it('entry.unavailable: an entry that is right nowhere; the replay stops and says so', async () => {
    sample.fill(20)
    const liar: Lies = { entry: (chain, index, leaf) => (chain === 'userchain' && index === 3 ? altered(leaf) : leaf) }
    const { findings, notChecked } = await run(await cluster(liar, liar))
    expect(findings.filter(({ code }) => code === 'entry.altered').map(({ node }) => node)).toEqual([
      'node-0',
      'node-1',
    ])
    expect(notChecked.join()).toContain('userchain was replayed up to height 0 only')
  })

  it('tile.mismatch: a wrong hash of one node, at level 0 and above', async () => {
    sample.fill()
    const wrong = (path: string) => (told: string, bytes: Uint8Array) => (told === path ? altered(bytes) : bytes)
    const nodes = await cluster(
      {},
      { tile: wrong('userchain/tile/0/001') },
      { tile: wrong('userchain/tile/1/000.p/2') },
    )
    const { findings } = await run(nodes)
    // The middle byte of the tile lies in hash 128 of 256, and in hash 1 of 2.
    const heightOf = (index: number) => history.ledger.index('userchain').boundaryAfter(index)?.height
    expect(places(findings)).toEqual([
      `tile.mismatch userchain ${heightOf(256)} 256 node-2`,
      `tile.mismatch userchain ${heightOf(384)} 384 node-1`,
    ])
  })

  it('checkpoint.fork: two cosigned roots of one size', async () => {
    const other = new TestLedger(consortium)
    history.block('userchain', [history.algorithm()])
    other.block('userchain', [other.algorithm()])
    const nodes = await cluster({})
    const { findings } = await run([...nodes, await sample.node(1, other)])
    const codes = findings.map(({ code, node }) => `${code} ${node}`)
    expect(codes).toContain('checkpoint.fork node-1')
    // Three cosigned both; each is named, and the log line of node-1 is of a log that is not this one.
    expect(codes.filter((one) => one.startsWith('node.equivocation'))).toHaveLength(3)
    expect(codes).toContain('node.equivocation node-0')
    expect(codes).toContain('node.conflict node-1')
  })

  it('checkpoint.fork: a smaller cosigned head that is not of this log', async () => {
    const other = new TestLedger(consortium)
    other.block('userchain', [other.algorithm()])
    sample.fill(20)
    const nodes = await cluster({})
    const { findings } = await run([...nodes, await sample.node(1, other)])
    const found = places(findings)
    expect(found.filter((one) => !one.startsWith('node.conflict'))).toEqual([
      'checkpoint.fork userchain 1 3 node-1',
      'node.behind userchain 1 4 node-1',
    ])
    // Three cosigned it.
    expect(found.filter((one) => one.startsWith('node.conflict userchain 1 3 node'))).toHaveLength(3)
  })

  it('checkpoint.invalid, checkpoint.stale: too few cosignatures, old ones', async () => {
    history.block('userchain', [history.algorithm()])
    const few: Lies = { checkpoint: (chain) => history.checkpoint(chain, 1, { cosigners: 2 }) }
    const old: Lies = { checkpoint: (chain) => history.checkpoint(chain, 2, { ms: Date.now() - 200_000 }) }
    const { findings } = await run(await cluster({}, few, old))
    expect(places(findings)).toEqual([
      'checkpoint.invalid docchain null null node-1',
      'checkpoint.invalid userchain null null node-1',
      'checkpoint.stale docchain null null node-2',
      'checkpoint.stale userchain null null node-2',
    ])
  })

  it('state.mismatch: another record than replay computed', async () => {
    sample.fill(20)
    const { size } = history.ledger.head('userchain')
    const nodes = await cluster({}, {}, { stateValue: altered })
    const { findings, notChecked } = await run(nodes, { isStateCompared: true })
    expect(notChecked.join()).toContain('16 of')
    expect(places(findings)).toEqual([
      `state.mismatch userchain ${history.ledger.head('userchain').height} ${size - 1} node-2`,
    ])
  })

  it('a node that refuses to prove its state is accused of no other one, and the report says so', async () => {
    const nodes = await cluster({}, { missing: (path) => path === 'userchain/state' })
    const { findings, notChecked } = await run(nodes, { isStateCompared: true })
    expect(findings).toEqual([])
    expect(notChecked.join()).toMatch(/\d+ questions for records of the state of userchain were refused/)
  })

  it('node.unreachable, node.refused', async () => {
    const nodes = await cluster({}, {})
    await sample.running.pop()?.close()
    const report = await run([...nodes, { name: 'node-2' }])
    expect(places(report.findings)).toEqual([
      'node.unreachable null null null node-1',
      'node.unreachable null null null node-2',
    ])
    const refused = await run(nodes.slice(0, 1), { token: 'another' })
    expect(refused.findings.map(({ code }) => code)).toContain('node.refused')
    expect(refused.ok).toBe(false)
  })

  it('node.behind: a node that goes on publishing less', async () => {
    history.block('userchain', [history.algorithm()])
    const { size } = history.ledger.head('userchain')
    const behind: Lies = { checkpoint: (chain) => history.checkpoint(chain, 1, chain === 'userchain' ? { size } : {}) }
    history.block('userchain', [history.algorithm()])
    const { findings } = await run(await cluster({}, behind))
    expect(places(findings)).toEqual([`node.behind userchain 2 ${size} node-1`])
  })

  it('log.shorter: fewer entries than an earlier audit saw', async () => {
    history.block('userchain', [history.algorithm()])
    const { size } = history.ledger.head('userchain')
    const stores = memoryStores()
    history.block('userchain', [history.algorithm()])
    await run(await cluster({}), { stores })
    const short: Lies = { checkpoint: (chain) => history.checkpoint(chain, 0, chain === 'userchain' ? { size } : {}) }
    const { findings } = await run(await cluster(short), { stores })
    expect(places(findings)).toEqual([`log.shorter userchain 2 ${size} null`])
  })

  it('block.<rule>: what a quorum cosigned and no rule allows', async () => {
    history.block('userchain', [history.algorithm()])
    const before = history.leaves.userchain.at(-1) as Uint8Array
    const { h, ms } = parseSealLeaf(before)
    const { size, root } = history.ledger.head('userchain')
    // The same transaction again, with a SEAL that is right in all but the state root.
    const leaves = [history.leaves.userchain[size - 2] as Uint8Array]
    const seal = { h: h + 1, i0: size, k: 1, psize: size, proot: root, st: new Uint8Array(32), ms: ms + 1, rules: 1 }
    leaves.push(encodeSealLeaf(seal))
    const forged = sample.append(leaves, leafHash)
    const liar: Lies = { checkpoint: (chain) => history.checkpoint(chain, 0, chain === 'userchain' ? forged : {}) }
    const { findings, chains } = await run(await cluster(liar))
    expect(places(findings)).toEqual([`block.algorithm.duplicate userchain 2 ${size} null`])
    expect(chains.userchain.height).toBe(1)
  })

  it('tile.root: tiles and entries that do not give the cosigned root', async () => {
    history.block('userchain', [history.algorithm()])
    const root = new CompactRange().root
    const liar: Lies = { checkpoint: (chain) => history.checkpoint(chain, 0, chain === 'userchain' ? { root } : {}) }
    const { findings } = await run(await cluster(liar))
    const codes = findings.map(({ code }) => code)
    expect(codes).toContain('tile.root')
    expect(codes).toContain('log.root')
  })

  it('incident.<code>, incident.forged: signed ones until they are acknowledged; unsigned ones always', async () => {
    const key = consortium.nodes[1]?.node as Consortium['nodes'][0]['node']
    const { ledgerId } = consortium.genesis
    const account = genesisAccount(ledgerId, key.publicKey)
    const place = { chain: 1, height: 0, index: 1, file: 'userchain.log', found: 5, healed: 1 } as const
    const statement: Incident = { v: 1, node: account, code: 'entry-damaged', ...place }
    const signed = signStatement({ name: 'incident', statement, ledgerId, signingKey: key })
    const json = { statement: toBase64(signed.statement), signature: toBase64(signed.signature), acknowledged: null }
    const forged = { ...json, signature: toBase64(altered(signed.signature)), acknowledged: 7 }
    const told: Lies = { incidents: () => [json, { ...json, acknowledged: 7 }, forged] }
    const { findings } = await run(await cluster({}, told))
    expect(places(findings)).toEqual([
      'incident.entry-damaged userchain 0 1 node-1',
      'incident.forged null null null node-1',
    ])
  })
})
