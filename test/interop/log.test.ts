/** What the nodes serve and hand out, read by programs of other people: Tessera's fsck, and torchwood's verifier of tlog-proofs. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { chainOrigin } from '@healthblock/chain/checkpoint'
import { toHex } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { main } from '../../cli/src/main.ts'
import { Client, headOf, People, type Person } from '../../services/accounting-node/test/client.ts'
import { adminSecret, type NodeProcess, ProcessCluster } from '../../services/accounting-node/test/processes.ts'
import { eventually } from '../support/cluster.ts'
import { redisInstalled } from '../support/redis.ts'
import { algorithmTransaction } from '../support/sample-ledger.ts'
import { fsckLog, hasPrograms, Litewitness, runProgram } from './programs.ts'

const describeInterop = hasPrograms && redisInstalled ? describe : describe.skip
const chains = ['userchain', 'docchain'] as const

/** A log served again, with one bit of one resource changed. */
async function servedAgain(url: string, spoil: string): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    const { authorization = '' } = request.headers
    void fetch(`${url}${request.url}`, { headers: { authorization } }).then(async (answer) => {
      const bytes = new Uint8Array(await answer.arrayBuffer())
      if (request.url?.startsWith(spoil) === true) bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
      response.writeHead(answer.status).end(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describeInterop('tools of other people (built where Go is)', () => {
  let cluster: ProcessCluster
  let client: Client
  let docchain: Client
  let people: People
  let auditor: Person
  let revocation: Uint8Array

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ n: 4, q: 3 })
    const { url } = cluster.nodes[0] as NodeProcess
    client = new Client(url, cluster.ledger)
    docchain = new Client(url, cluster.ledger, 'docchain')
    people = new People(cluster.ledger)
    const { transaction, person } = people.register(7)
    await client.commit(transaction)
    auditor = person
    client.token = people.token(auditor)
    docchain.token = client.token
    // More than two entry bundles, so that there are full tiles, and a level above them.
    const many = Array.from({ length: 520 }, (_, i) => algorithmTransaction(cluster.ledger, `a${i}`))
    for (let at = 0; at < many.length; at += 256) await client.commit(...many.slice(at, at + 256))
    const patient = await people.enrolPatient(client)
    // A close makes Docchain seal a block, so it has more than its first one.
    const [stream] = patient.streams as [Uint8Array]
    const fields = { gen: 2, cut: [[stream, 1, 0]] as const, close: [new Uint8Array(16).fill(7)] }
    const close = people.key(patient, { ...fields, seen: await headOf(client) })
    await client.commit(close)
    revocation = client.idOf(close)
    await eventually('a block of docchain', async () => ((await headOf(docchain))[0] > 2 ? true : undefined))
  })
  afterAll(() => cluster?.stop())

  async function keyFile({ url }: { url: string }, chain: string): Promise<string> {
    const { logKey } = (await (await fetch(`${url}/v1/${chain}/head`)).json()) as { logKey: string }
    const path = join(cluster.dir, `${chain}-${new URL(url).port}.key`)
    writeFileSync(path, logKey)
    return path
  }

  /** `healthblock ARGS --json`. */
  async function healthblock<T>(...args: string[]): Promise<T> {
    const [output, errors]: [string[], string[]] = [[], []]
    const code = await main([...args, '--json'], {
      stdin: (async function* () {})(),
      stdout: (text) => void output.push(text),
      stderr: (text) => void errors.push(text),
      interactive: false,
    })
    if (code !== 0) throw new Error(`healthblock ${args.join(' ')} ended with ${code}: ${errors.join('')}`)
    return JSON.parse(output.join('')) as T
  }

  test.each(chains)('fsck finds %s whole at each node', async (chain) => {
    const [size] = await headOf(chain === 'userchain' ? client : docchain)
    for (const node of cluster.nodes) {
      // A node may be a moment behind the one that was asked first.
      await eventually(`${node.url} at ${size}`, async () => {
        const [own] = await headOf(new Client(node.url, cluster.ledger, chain))
        return own >= size ? true : undefined
      })
      const token = people.token(auditor)
      const found = await fsckLog({ url: `${node.url}/${chain}/`, keyFile: await keyFile(node, chain), token })
      expect(found).toBeGreaterThanOrEqual(size)
    }
  })

  test.each([
    ['an entry', '/userchain/tile/entries/001'],
    ['a full hash tile', '/userchain/tile/0/000'],
    ['a partial hash tile', '/userchain/tile/1/000.p/2'],
  ])('fsck notices one changed bit in %s', async (_, spoil) => {
    const node = cluster.nodes[0] as NodeProcess
    const again = await servedAgain(node.url, spoil)
    try {
      const token = people.token(auditor)
      const found = await fsckLog({ url: `${again.url}/userchain/`, keyFile: await keyFile(node, 'userchain'), token })
      expect(found).toContain('fsck failed')
    } finally {
      again.server.close()
    }
  })

  test('fsck gets no entries without a token', async () => {
    const node = cluster.nodes[0] as NodeProcess
    const log = { url: `${node.url}/userchain/`, keyFile: await keyFile(node, 'userchain'), token: 'none' }
    expect(await fsckLog(log)).toMatch(/entries\/000.*401/)
  })

  /** All proofs in a file, as torchwood sees them. */
  async function checkAll(name: string, file: Uint8Array): Promise<string[]> {
    const path = join(cluster.dir, `${name}.json`)
    writeFileSync(path, file)
    const folder = join(cluster.dir, name)
    rmSync(folder, { recursive: true, force: true })
    await healthblock('verify', path, '--genesis', join(cluster.dir, 'genesis.cbor'), '--extract', folder)
    const proofs = readdirSync(folder).filter((one) => one.endsWith('.tlog-proof'))
    for (const proof of proofs) {
      const at = (ending: string): string => join(folder, proof.replace('tlog-proof', ending))
      const args = [at('policy'), at('leaf'), join(folder, proof)]
      expect(await runProgram('check-proof', args)).toMatchObject({ code: 0 })
      // One bit of the leaf, another place, a signature short: each is refused, so the answer means something.
      const refused = async (ending: string, change: (text: Buffer) => Buffer): Promise<void> => {
        const forged = join(cluster.dir, 'forged')
        writeFileSync(forged, change(readFileSync(at(ending))))
        const changed = args.map((arg) => (arg === at(ending) ? forged : arg))
        expect(await runProgram('check-proof', changed)).toMatchObject({ code: 1 })
      }
      await refused('leaf', (leaf) => Buffer.concat([leaf.subarray(0, -1), Buffer.of((leaf.at(-1) as number) ^ 1)]))
      await refused('tlog-proof', (text) => Buffer.from(text.toString().replace(/index (\d)/, 'index 1$1')))
      await refused('tlog-proof', (text) => Buffer.from(text.toString().replace(/\u2014 [^\n]*\n$/, '')))
    }
    return proofs
  }

  test('torchwood verifies the proofs inside a receipt of a transaction and of a revocation', async () => {
    const reading = algorithmTransaction(cluster.ledger, 'proved')
    await client.commit(reading)
    const fetchReceipt = async (id: Uint8Array): Promise<Uint8Array> => {
      const response = await client.get(`/v1/userchain/transactions/${toHex(id)}/receipt`)
      return new Uint8Array(await response.arrayBuffer())
    }
    expect(await checkAll('receipt', await fetchReceipt(client.idOf(reading)))).toHaveLength(1)
    expect(await checkAll('revocation', await fetchReceipt(revocation))).toHaveLength(3)
  })

  test('torchwood verifies the proofs inside a dispute bundle', async () => {
    const out = join(cluster.dir, 'bundle.json')
    await healthblock(
      'dispute',
      ...cluster.nodes.flatMap(({ url }) => ['--url', url]),
      '--transaction',
      toHex(revocation),
      '--genesis',
      join(cluster.dir, 'genesis.cbor'),
      '--token',
      people.token(auditor),
      '--out',
      out,
    )
    expect((await checkAll('dispute', new Uint8Array(readFileSync(out)))).length).toBeGreaterThanOrEqual(1)
  })

  describe('litewitness', () => {
    let witness: Litewitness
    const admin = { authorization: `Bearer ${adminSecret}` }

    beforeAll(async () => {
      const logs = await Promise.all(
        chains.map(async (chain) => {
          const heads = await Promise.all(
            cluster.nodes.map(
              async ({ url }) =>
                (await (await fetch(`${url}/v1/${chain}/head`)).json()) as { origin: string; logKey: string },
            ),
          )
          return { origin: heads[0]?.origin as string, keys: heads.map(({ logKey }) => logKey) }
        }),
      )
      const folder = join(cluster.dir, 'witness')
      mkdirSync(folder)
      witness = await Litewitness.start(folder, logs)
      const body = JSON.stringify({ url: witness.url, vkey: witness.vkey })
      for (const { url } of cluster.nodes) {
        const node = new Client(url, cluster.ledger)
        expect((await node.post('/v1/witnesses', 'application/json', body, admin)).status).toBe(200)
      }
    })
    afterAll(() => witness?.stop())

    interface Entry {
      readonly userchain: { readonly size: number | null; readonly fault: string | null }
      readonly docchain: { readonly size: number | null }
    }

    /** Until a node says of its witness what is asked. */
    function until(url: string, is: (entry: Entry) => boolean): Promise<Entry> {
      return eventually(`the witness of ${url}`, async () => {
        const [entry] = (await (await fetch(`${url}/v1/witnesses`, { headers: admin })).json()) as [Entry]
        return is(entry) ? entry : undefined
      })
    }

    test('cosigns the heads of both chains for each of four nodes, and torchwood demands its line in receipts', async () => {
      const seen = algorithmTransaction(cluster.ledger, 'witnessed')
      await client.commit(seen)
      const [size] = await headOf(client)
      for (const { url } of cluster.nodes) {
        await until(url, ({ userchain, docchain }) => (userchain.size ?? 0) >= size && docchain.size !== null)
      }
      const origin = chainOrigin({ ledgerId: cluster.ledger.ledgerId, chain: 'userchain' })
      expect(witness.sizeOf(origin)).toBeGreaterThanOrEqual(size)
      const response = await client.get(`/v1/userchain/transactions/${toHex(client.idOf(seen))}/receipt`)
      const bytes = new Uint8Array(await response.arrayBuffer())
      expect(await checkAll('witnessed', bytes)).toHaveLength(1)
      const folder = join(cluster.dir, 'witnessed')
      const name = readdirSync(folder).find((one) => one.endsWith('.policy')) as string
      expect(readFileSync(join(folder, name), 'utf8')).toContain(witness.vkey)
      const file = join(cluster.dir, 'witnessed.json')
      expect(await healthblock('verify', file, '--witness', witness.vkey)).toMatchObject({
        attested: 'witnessed',
        witnesses: [{ vkey: witness.vkey, isKnown: true }],
      })
    })

    test('that knows the log no more, and then is dead, holds nothing up', async () => {
      const { url } = cluster.nodes[0] as NodeProcess
      witness.run('DELETE FROM key')
      await client.commit(algorithmTransaction(cluster.ledger, 'unknown'))
      await until(url, ({ userchain }) => userchain.fault === 'unknown-log')
      witness.stop()
      await client.commit(algorithmTransaction(cluster.ledger, 'dead'))
      await until(url, ({ userchain }) => userchain.fault === 'unreachable')
      const last = algorithmTransaction(cluster.ledger, 'last')
      await client.commit(last)
      expect((await client.receipt(client.idOf(last)))?.witnesses).toEqual([])
      expect((await fetch(`${url}/readyz`)).status).toBe(200)
    })
  })
})
