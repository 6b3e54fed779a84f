import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { encodeGenesis, parseGenesis } from '@healthblock/chain/genesis'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { encodeProof } from '@healthblock/chain/proof'
import { signStatement } from '@healthblock/chain/statement'
import { encodeSuccession, successionKeys } from '@healthblock/chain/succession'
import { compareBytes, toBase64, toHex } from '@healthblock/encoding/bytes'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Consortium } from '../../chain/src/consortium.test-support.ts'
import { keyOf, sampleGenesis } from '../../chain/src/sample.test-support.ts'
import { Nodes } from './nodes.ts'
import { FindingList } from './report.ts'
import { altered, memoryStores } from './sample.test-support.ts'
import { checkSuccessions, type PriorNodes } from './successions.ts'

const all = [{ rank: 0 }, { rank: 1 }, { rank: 2 }, { rank: 3 }]
let world: Consortium
let servers: Server[]
beforeEach(() => {
  world = new Consortium()
  servers = []
  world.post('userchain', world.registration('somebody', 1))
})
afterEach(async () => {
  for (const server of servers) await new Promise((resolve) => server.close(resolve))
})

/** The decision of all organisations to go on after the heads of this moment: the new genesis, and its proof. */
async function succession(): Promise<{ genesis: Uint8Array; bytes: Uint8Array }> {
  const { genesis: prior, ledger, logs } = world
  const trail = new PolicyTrail(prior)
  const part = (chain: ChainName) => {
    const entry = logs[chain].entry(ledger.head(chain).size - 1, world.checkpoint(chain, all))
    const { note, k } = trail.receiptForm(chain, entry.checkpoint)
    const proof = encodeProof({ index: entry.index, hashes: entry.hashes, checkpoint: note })
    return { part: { chain, leaf: entry.leaf, proof }, k }
  }
  const keys = await successionKeys(prior, async (key) => ledger.state('userchain').get(key)?.decoded)
  const state = keys.map((key) => {
    const { value, proof } = ledger.prove('userchain', key)
    return value === undefined ? { key, proof } : { key, proof, value }
  })
  const [user, doc] = [part('userchain'), part('docchain')]
  const [u, d] = [ledger.head('userchain'), ledger.head('docchain')]
  const genesis = encodeGenesis({
    ...sampleGenesis().body,
    start: world.nowMs + 1000,
    prior: [prior.ledgerId, [u.size, u.root], [d.size, d.root]],
  })
  const statement = [parseGenesis(genesis).ledgerId] as const
  const approvals = world.organisations.map((account, i) => {
    const request = { name: 'successor', statement, ledgerId: prior.ledgerId, signingKey: keyOf(`root ${i}`) } as const
    return { account, signature: signStatement(request).signature }
  })
  const bytes = encodeSuccession({
    genesis: prior.bytes,
    successor: genesis,
    parts: [{ ...user.part, state }, doc.part],
    approvals: approvals.sort((a, b) => compareBytes(a.account, b.account)),
    trail: trail.needed([
      { chain: 'userchain', k: user.k },
      { chain: 'docchain', k: doc.k },
    ]),
  })
  return { genesis, bytes }
}

/** A node as far as it is asked here: its list of successions, and the checkpoints that it published last. */
async function node(held: readonly Uint8Array[], checkpoints: Partial<Record<ChainName, string>> = {}) {
  const server = createServer((request, response) => {
    const chain = /^\/(userchain|docchain)\/checkpoint/.exec(request.url ?? '')?.[1] as ChainName | undefined
    const note = chain === undefined ? undefined : checkpoints[chain]
    if (note !== undefined) return response.setHeader('content-type', 'text/plain').end(note)
    if (request.url?.startsWith('/v1/successions') !== true) return response.writeHead(404).end()
    const list = held.map((bytes) => ({ succession: toBase64(bytes) }))
    return response.setHeader('content-type', 'application/json').end(JSON.stringify(list))
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { name: 'node-0', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** What is found about the ledger of a genesis when this node is asked. */
async function findingsOf(ledger: Ledger, asked: { name: string; url: string }, prior?: PriorNodes) {
  const findings = new FindingList()
  const client = new LedgerClient({ urls: [asked.url], trust: genesisTrust(ledger.genesis), token: () => 'token' })
  const nodes = new Nodes([asked], client, findings)
  nodes.begin()
  const words = await checkSuccessions({ ledger, nodes, findings, prior })
  const found = findings.list(() => undefined).map(({ code, chain, node: name }) => [code, chain, name].join(' '))
  return { found, words }
}

const successorOf = (genesis: Uint8Array): Ledger => Ledger.open({ genesis, stores: memoryStores() })

it('succession.missing: a successor whose node does not show by whose decision it goes on', async () => {
  const { genesis, bytes } = await succession()
  expect((await findingsOf(successorOf(genesis), await node([bytes]))).found).toEqual([])
  expect((await findingsOf(successorOf(genesis), await node([]))).found).toEqual(['succession.missing  node-0'])
})

it('succession.invalid: one that does not hold, beside one that does and alone', async () => {
  const { genesis, bytes } = await succession()
  const both = await node([altered(bytes), bytes])
  expect((await findingsOf(successorOf(genesis), both)).found).toEqual(['succession.invalid  node-0'])
  const alone = await node([altered(bytes)])
  expect((await findingsOf(successorOf(genesis), alone)).found).toEqual([
    'succession.invalid  node-0',
    'succession.missing  node-0',
  ])
})

it('succession.behind: nodes of the ledger before attested more than its successor took over', async () => {
  const { genesis, bytes } = await succession()
  const prior = async (): Promise<PriorNodes> => {
    const checkpoints = { userchain: world.checkpoint('userchain', all), docchain: world.checkpoint('docchain', all) }
    const one = await node([], checkpoints)
    const client = new LedgerClient({ urls: [one.url], trust: genesisTrust(world.genesis), token: () => 'token' })
    return { nodes: [{ ...one, name: 'prior-0' }], client }
  }
  expect((await findingsOf(successorOf(genesis), await node([bytes]), await prior())).found).toEqual([])
  world.post('userchain', world.registration('left-out', 1))
  expect((await findingsOf(successorOf(genesis), await node([bytes]), await prior())).found).toEqual([
    'succession.behind userchain prior-0',
  ])
})

it('succession.behind: a ledger that went on after the heads at which another one carries it on', async () => {
  const { genesis, bytes } = await succession()
  const before = await findingsOf(world.ledger, await node([bytes]))
  expect(before.found).toEqual([])
  expect(before.words.join()).toContain(toHex(parseGenesis(genesis).ledgerId))
  world.post('userchain', world.registration('left-out', 1))
  expect((await findingsOf(world.ledger, await node([bytes]))).found).toEqual(['succession.behind userchain node-0'])
})

it('nodes of the ledger before that do not answer are named: nobody looked at what they attested', async () => {
  const { genesis, bytes } = await succession()
  const client = new LedgerClient({
    urls: ['http://127.0.0.1:1'],
    trust: genesisTrust(world.genesis),
    token: () => 'token',
  })
  const nodes = [{ name: 'prior-0' }, { name: 'prior-1', url: 'http://127.0.0.1:1' }]
  const { found, words } = await findingsOf(successorOf(genesis), await node([bytes]), { nodes, client })
  expect(found).toEqual([])
  expect(words.filter((one) => one.includes('did not answer'))).toEqual([
    expect.stringMatching(/carries on, that did not answer: prior-0, prior-1$/),
  ])
})
