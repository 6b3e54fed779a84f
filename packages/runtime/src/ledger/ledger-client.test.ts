import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { userTables } from '@healthblock/chain/tables'
import type { Transaction } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, messageOf } from '../errors.ts'
import type { QuarantineEvent } from '../http/sources.ts'
import { type Consortium, createConsortium, type Lies, startTestNode, TestLedger, type TestNode } from '../testkit.ts'
import { genesisTrust, LedgerClient, type LedgerClientOptions } from './ledger-client.ts'

let consortium: Consortium
let history: TestLedger
const closing: { close(): Promise<void> }[] = []

beforeEach(() => {
  consortium = createConsortium()
  history = new TestLedger(consortium)
})
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close()
})

async function node(lies: Lies = {}, options: { rank?: number; of?: TestLedger } = {}): Promise<TestNode> {
  const started = await startTestNode(options.of ?? history, { lies, rank: options.rank ?? 0 })
  closing.push(started)
  return started
}

function clientOf(
  nodes: readonly TestNode[],
  options: Partial<LedgerClientOptions> = {},
): { client: LedgerClient; events: QuarantineEvent[] } {
  const events: QuarantineEvent[] = []
  const urls = nodes.map(({ url }) => url)
  const trust = genesisTrust(consortium.genesis)
  const client = new LedgerClient({
    urls,
    trust,
    token: () => 'test-token',
    onQuarantine: (event) => events.push(event),
    ...options,
  })
  return { client, events }
}

const submitted = (transaction: Transaction): { id: Uint8Array; leaf: Uint8Array } => ({
  id: history.id(transaction),
  leaf: transaction.leaf,
})
const caught = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'no error', codeOf)

describe('LedgerClient', () => {
  it('does not wait for the policy of a node whose answer failed, once nobody asks any more', async () => {
    const asking = new AbortController()
    const liar = createServer((request, response) => {
      if (request.url === '/v1/trail') asking.abort(new Error('nobody asks'))
      else response.end('no checkpoint')
    })
    await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve))
    closing.push({
      close: async () => {
        liar.close()
        liar.closeAllConnections()
      },
    })
    const url = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`
    const { client, events } = clientOf([{ ...(await node()), url }], { timeoutMs: 600_000 })
    const asked = client.checkpoint('userchain', { url, signal: asking.signal })
    await expect(asked).rejects.toThrow('nobody asks')
    expect(events).toEqual([])
  })

  it('does not wait for a gateway that takes a submission and never answers, alone', async () => {
    const silent = createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    closing.push({
      close: async () => {
        silent.close()
        silent.closeAllConnections()
      },
    })
    const good = await node()
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const { client } = clientOf([{ ...good, url }, good], { timeoutMs: 600_000 })
    expect(await client.submit('userchain', [submitted(history.algorithm())])).toMatchObject({ url: good.url })
    expect(client.sources.candidates()).toEqual([good.url, url])
  })

  it('ends a stream that is silent, and asks its node last for longer than it was silent', async () => {
    let nowMs = Date.now()
    const [silent, other] = [await node(), await node({}, { rank: 1 })]
    const { client } = clientOf([silent, other], { streamSilenceMs: 400, now: () => nowMs })
    const stream = client.stream('userchain', history.ledger.head('userchain').size)
    expect(await caught(stream.next())).toBe('ERR_SOURCE_UNREACHABLE')
    expect(client.sources.candidates()).toEqual([other.url, silent.url])
    nowMs += 1_199
    expect(client.sources.candidates()).toEqual([other.url, silent.url])
    nowMs += 1
    expect(client.sources.candidates()).toEqual([silent.url, other.url])
  })

  it('ends no stream of which it has not yet used what was said', async () => {
    const [node0, silent] = [await node(), await node({}, { rank: 1 })]
    const { client } = clientOf([node0, silent], { streamSilenceMs: 1_500 })
    history.block('userchain', [history.algorithm()])
    const { size } = history.ledger.head('userchain')
    const stream = client.stream('userchain', size - 1, { url: node0.url })
    expect((await stream.next()).value?.frame.height).toBe(1)
    // Whoever uses the block takes longer than a stream may be silent.
    const other = client.stream('userchain', size, { url: silent.url })
    expect(await caught(other.next())).toBe('ERR_SOURCE_UNREACHABLE')
    history.block('userchain', [history.algorithm()])
    expect((await stream.next()).value?.frame.height).toBe(2)
    await stream.return(undefined)
  })

  it('asks a node last for longer than it was waited for in vain, also when it was asked alone', async () => {
    let nowMs = Date.now()
    const cut = (): boolean => {
      nowMs += 8_000
      return true
    }
    const [slow, other] = [await node({ cut }), await node({}, { rank: 1 })]
    const { client } = clientOf([slow, other], { now: () => nowMs })
    expect(await caught(client.blocks('userchain', 0, { url: slow.url }))).toBe('ERR_SOURCE_UNREACHABLE')
    nowMs += 23_999
    expect(client.sources.candidates()).toEqual([other.url, slow.url])
    nowMs += 1
    expect(client.sources.candidates()).toEqual([slow.url, other.url])
  })

  it('gives a gateway that let a promise pass nothing while another one takes it', async () => {
    const [failed, full, good] = [await node(), await node({ status: 503 }), await node({}, { rank: 1 })]
    const { client } = clientOf([failed, full, good])
    const options = { avoid: [failed.url] }
    expect(await client.submit('userchain', [submitted(history.algorithm())], options)).toMatchObject({ url: good.url })
    expect(failed.received).toEqual([])
  })

  it('submits, asks and fetches a verified receipt', async () => {
    const gateway = await node()
    const { client } = clientOf([gateway])
    const [good, bad] = [history.algorithm(), history.algorithm(2)].map(submitted) as [
      ReturnType<typeof submitted>,
      ReturnType<typeof submitted>,
    ]
    const submission = await client.submit('userchain', [good, bad])
    expect(submission.url).toBe(gateway.url)
    expect(submission.promise).toBeDefined()
    const unknown = new Uint8Array(32)
    const answers = await client.answers('userchain', [bad.id, good.id, unknown], { url: gateway.url, waitMs: 0 })
    expect(answers.map(({ status }) => status)).toEqual(['refused', 'committed', 'pending'])
    expect(answers[0]).toMatchObject({ rule: 'algorithm.hash', height: 1 })
    expect(answers[1]).toEqual({ status: 'committed', index: 2, height: 1, size: 4 })
    expect((await client.receipt('userchain', good.id)).length).toBeGreaterThan(1000)
    expect(await caught(client.receipt('userchain', unknown))).toBe('ERR_SOURCE_REFUSED')
  })

  it('takes a receipt of any node, if one may leave a part of it out', async () => {
    const [first, second] = [await node(), await node()]
    const { client } = clientOf([first, second])
    const made = history.algorithm()
    history.block('userchain', [made])
    const asked = (of: TestNode): number => of.calls.filter((path) => path.endsWith('/receipt')).length
    await client.receipt('userchain', history.id(made))
    expect([asked(first), asked(second)]).toEqual([1, 0])
    while (asked(second) === 0) await client.receipt('userchain', history.id(made), { isOfAny: true })
  })

  it('verifies states: presence and absence', async () => {
    const { client } = clientOf([await node()])
    const { transaction, person } = history.registration(2)
    history.block('userchain', [transaction])
    const present = await client.state('userchain', userTables.account.key(person.account))
    expect(present).toMatchObject({ height: 1, size: 4 })
    expect(present.value).toEqual(history.ledger.state('userchain').get(userTables.account.key(person.account))?.bytes)
    const absent = await client.state('userchain', userTables.account.key(new Uint8Array(32)))
    expect(absent.value).toBeUndefined()
  })

  it('streams blocks as they are published', async () => {
    const { client } = clientOf([await node()])
    history.block('userchain', [history.algorithm()])
    const stop = new AbortController()
    const heights: number[] = []
    const listening = (async () => {
      for await (const { url, frame } of client.stream('userchain', 2, { signal: stop.signal })) {
        heights.push(frame.height)
        const { size } = await client.verifyCheckpoint('userchain', frame.checkpoint as string, url)
        expect(size).toBeGreaterThan(frame.firstIndex)
        if (heights.length === 1) history.block('userchain', [history.algorithm()])
        if (heights.length === 2) stop.abort()
      }
    })()
    await expect(listening).rejects.toThrow()
    expect(heights).toEqual([1, 2])
  })

  it('reads checkpoints, heads, tiles and lists', async () => {
    const { client } = clientOf([await node()])
    const checkpoint = await client.checkpoint('docchain')
    expect(checkpoint).toMatchObject({ size: 2, cosigners: [0, 1, 2] })
    expect(toHex(checkpoint.root)).toBe(toHex(history.ledger.head('docchain').root))
    expect((await client.head('userchain')).size).toBe(2)
    expect(await client.tile('userchain', 'tile/0/000.p/2')).toHaveLength(64)
    expect(await client.list('incidents')).toEqual([])
  })

  it.each<[string, Lies, (client: LedgerClient) => Promise<unknown>]>([
    [
      'a promise that no node signed',
      { forge: true },
      (client) => client.submit('userchain', [submitted(history.algorithm())]),
    ],
    [
      'a checkpoint without a quorum',
      { checkpoint: (chain) => history.checkpoint(chain, 0, { cosigners: 2 }) },
      (client) => client.checkpoint('userchain'),
    ],
    ['a list that is no JSON', { incidents: () => 'nonsense' }, (client) => client.list('incidents')],
    ['a checkpoint that is none', { checkpoint: () => 'nonsense' }, (client) => client.checkpoint('userchain')],
    [
      'a state under nobody’s root',
      {},
      (client) => client.state('userchain', userTables.account.key(consortium.organisation.account)),
    ],
  ])('leaves a node alone that gives %s', async (what, lies, ask) => {
    const foreign = new TestLedger(createConsortium())
    const liar = await node(lies, what.startsWith('a state') ? { of: foreign } : {})
    const good = await node({}, { rank: 1 })
    const { client, events } = clientOf([liar, good])
    await ask(client)
    expect(events.map(({ url }) => url)).toEqual([liar.url])
    expect(client.sources.quarantined()).toEqual([liar.url])
    expect(await caught(ask(clientOf([liar]).client))).toBe('ERR_NO_SOURCE')
  })

  it('goes on to the next node upon 503, and says why when none is left', async () => {
    const [full, away] = [await node({ status: 503 }), await node()]
    await away.close()
    const good = await node()
    expect((await clientOf([full, away, good]).client.checkpoint('userchain')).url).toBe(good.url)
    const error: unknown = await clientOf([full, away])
      .client.checkpoint('userchain')
      .catch((reason: unknown) => reason)
    expect(codeOf(error)).toBe('ERR_NO_SOURCE')
    expect(messageOf(error)).toContain('503')
    expect(messageOf(error)).toContain('ECONNREFUSED')
  })

  it('says 401 when the token is not taken', async () => {
    const error: unknown = await clientOf([await node()], { token: () => 'other' })
      .client.blocks('userchain', 0)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ detail: { code: 'ERR_SOURCE_REFUSED', status: 401 } })
  })
})
