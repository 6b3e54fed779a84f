import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { genesisAccounts } from '@healthblock/chain/genesis'
import { verifyReceipt } from '@healthblock/chain/receipt'
import { parseStatement } from '@healthblock/chain/statement'
import type { Transaction } from '@healthblock/chain/transaction'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf } from '../errors.ts'
import { createLogger } from '../process/logger.ts'
import { type Consortium, createConsortium, type Lies, startTestNode, TestLedger, type TestNode } from '../testkit.ts'
import { genesisTrust, LedgerClient, readRefusal, readStatement } from './ledger-client.ts'
import { Outbox, type OutboxEntry, type OutboxOptions } from './outbox.ts'

let dir: string
let consortium: Consortium
let history: TestLedger
const closing: { close(): Promise<void> }[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-outbox-'))
  consortium = createConsortium()
  history = new TestLedger(consortium)
})
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one.close()
  rmSync(dir, { recursive: true, force: true })
})

async function node(
  lies: Lies = {},
  options: { deadlineMs?: number; rank?: number; port?: number } = {},
): Promise<TestNode> {
  const started = await startTestNode(history, { lies, ...options })
  closing.push(started)
  return started
}

function open(
  urls: readonly string[],
  options: Partial<OutboxOptions> = {},
): { outbox: Outbox; finished: OutboxEntry[] } {
  const finished: OutboxEntry[] = []
  const outbox = new Outbox({
    dir,
    ledgerId: consortium.genesis.ledgerId,
    client: new LedgerClient({
      urls,
      trust: genesisTrust(consortium.genesis),
      token: () => 'test-token',
      timeoutMs: 5_000,
    }),
    logger: createLogger({ name: 'test', level: 'silent' }),
    onFinished: (entry) => finished.push(entry),
    retryMs: { min: 5, max: 50 },
    ...options,
  })
  closing.push(outbox)
  return { outbox, finished }
}

const item = (transaction: Transaction): { chain: 'userchain'; leaf: Uint8Array } => ({
  chain: 'userchain',
  leaf: transaction.leaf,
})

describe('Outbox', () => {
  it('delivers in order and keeps a receipt that verifies', async () => {
    const gateway = await node()
    const { outbox, finished } = open([gateway.url])
    const transactions = Array.from({ length: 5 }, () => history.algorithm())
    const ids = outbox.add(transactions.map(item))
    expect(ids).toEqual(transactions.map((one) => history.id(one)))
    expect(outbox.pending()).toBe(5)
    outbox.start()
    expect(await outbox.drain(20_000)).toBe(0)
    expect(gateway.received.map(toHex)).toEqual(transactions.map(({ leaf }) => toHex(leaf)))
    const entry = outbox.find(ids[4] as Uint8Array) as OutboxEntry
    expect(entry).toMatchObject({ status: 'committed', index: 6, height: 1, attempts: 1 })
    const bytes = new Uint8Array(readFileSync(entry.receiptPath as string))
    expect(verifyReceipt({ bytes, ledgerId: consortium.genesis.ledgerId }).transactionId).toEqual(ids[4])
    expect(outbox.receipt(ids[4] as Uint8Array)).toEqual(bytes)
    expect(finished.map(({ id }) => id)).toEqual(ids.map(toHex))
    // Once committed, nothing of the transaction is left but its receipt.
    outbox.add([item(transactions[0] as Transaction)])
    expect(outbox.pending()).toBe(0)
    expect(outbox.passedPromises()).toEqual([])
    await outbox.close()
    expect(readFileSync(join(dir, 'outbox.db')).includes(Buffer.from(transactions[0]?.leaf as Uint8Array))).toBe(false)
  })

  it('keeps a refusal with its signature, and refuses what depends on it', async () => {
    const { outbox, finished } = open([(await node()).url])
    outbox.start()
    const withdrawal = history.algorithm(2)
    const [first] = outbox.add([item(withdrawal)]) as [Uint8Array]
    const [second] = outbox.add([{ ...item(history.algorithm()), dependsOn: first }]) as [Uint8Array]
    const entry = await outbox.wait(first)
    expect(entry).toMatchObject({ status: 'refused', rule: 'algorithm.hash' })
    expect(readRefusal(entry.refusal as Uint8Array)).toMatchObject({ rule: 'algorithm.hash', height: 0 })
    expect(await outbox.wait(second)).toMatchObject({ status: 'refused', rule: 'outbox.dependency' })
    expect(finished).toHaveLength(2)
    expect(outbox.refusals()).toEqual([{ chain: 'userchain', id: first, refusal: entry.refusal }])
  })

  it('gives what one gateway refuses to another, and keeps that word as evidence', async () => {
    const liar = await node({ refuses: 'algorithm.hash' })
    const { outbox, finished } = open([liar.url, (await node({}, { rank: 1 })).url])
    outbox.start()
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    const entry = await outbox.wait(id)
    expect(entry).toMatchObject({ status: 'committed' })
    expect([entry.rule, entry.refusal]).toEqual([undefined, undefined])
    expect(finished).toHaveLength(1)
    const [kept] = outbox.refusals()
    const { gateway, tx } = parseStatement('refused', readStatement(kept?.refusal as Uint8Array).statement)
    expect([gateway, tx]).toEqual([genesisAccounts(consortium.genesis).nodes[0], id])
    expect(outbox.passedPromises()).toEqual([])
  })

  it('gives what one gateway defers to another', async () => {
    const liar = await node({ swallow: true, defers: 'quorum' })
    const { outbox } = open([liar.url, (await node({}, { rank: 1 })).url])
    outbox.start()
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed' })
    expect(liar.received).toHaveLength(1)
  })

  it('gives nothing more to a gateway that let a promise pass, while another takes it', async () => {
    const liar = await node({ swallow: true }, { deadlineMs: 50 })
    const { outbox } = open([liar.url, (await node({}, { rank: 1 })).url])
    outbox.start()
    for (let i = 0; i < 3; i++) {
      const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
      expect(await outbox.wait(id)).toMatchObject({ status: 'committed' })
    }
    expect(liar.received).toHaveLength(1)
  })

  it('takes the second refusal for true, of another gateway or of the only one, and keeps the word of each', async () => {
    const [first, second] = [await node(), await node({}, { rank: 1 })]
    const { outbox } = open([first.url, second.url])
    outbox.start()
    const [id] = outbox.add([item(history.algorithm(2))]) as [Uint8Array]
    expect(await outbox.wait(id)).toMatchObject({ status: 'refused', rule: 'algorithm.hash' })
    expect([first.received.length, second.received.length]).toEqual([1, 1])
    const said = outbox.refusals().map(({ refusal }) => parseStatement('refused', readStatement(refusal).statement))
    const { nodes } = genesisAccounts(consortium.genesis)
    expect(said.map(({ gateway }) => gateway)).toEqual([nodes[1], nodes[0]])
    expect(said.map(({ tx }) => tx)).toEqual([id, id])
    await outbox.close()
    const { outbox: ofOne } = open([first.url])
    ofOne.start()
    const [next] = ofOne.add([item(history.algorithm(2))]) as [Uint8Array]
    expect(await ofOne.wait(next)).toMatchObject({ status: 'refused', rule: 'algorithm.hash' })
    expect(first.received).toHaveLength(3)
    expect(ofOne.refusals()).toHaveLength(3)
  })

  it('does not take the word of one gateway twice while the others are away, and asks them first when they are back', async () => {
    const liar = await node({ refuses: 'algorithm.hash' })
    const good = await node({}, { rank: 1 })
    const port = Number(new URL(good.url).port)
    await good.close()
    const { outbox } = open([liar.url, good.url])
    outbox.start()
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    while (liar.received.length < 3) await new Promise((resolve) => setImmediate(resolve))
    expect(outbox.find(id)).not.toMatchObject({ status: 'refused' })
    // Nobody takes it for a while.
    liar.lies.status = 503
    const { length } = liar.calls
    while (liar.calls.length < length + 3) await new Promise((resolve) => setImmediate(resolve))
    const received = liar.received.length
    await node({}, { port, rank: 1 })
    delete liar.lies.status
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed' })
    // Once it had begun to answer again; the other one may have been counted as away for a moment longer.
    expect(liar.received.length - received).toBeLessThan(10)
    expect(outbox.refusals()).toHaveLength(1)
  })

  it('takes the word of the only gateway that can be reached for ten minutes', async () => {
    const refuser = await node()
    let aheadMs = 0
    const { outbox } = open([refuser.url, 'http://127.0.0.1:1'], { now: () => Date.now() + aheadMs })
    outbox.start()
    const [id] = outbox.add([item(history.algorithm(2))]) as [Uint8Array]
    while (refuser.received.length < 3) await new Promise((resolve) => setImmediate(resolve))
    expect(outbox.find(id)).toMatchObject({ status: 'waiting' })
    aheadMs = 600_000
    expect(await outbox.wait(id)).toMatchObject({ status: 'refused', rule: 'algorithm.hash' })
    expect(outbox.refusals()).toHaveLength(1)
  })

  it('goes to a third gateway with what one let pass and another defers', async () => {
    const silent = await node({ swallow: true }, { deadlineMs: 20 })
    const behind = await node({ swallow: true, defers: 'quorum' }, { rank: 1 })
    const { outbox } = open([silent.url, behind.url, (await node({}, { rank: 2 })).url])
    outbox.start()
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed' })
    expect([silent.received.length, behind.received.length]).toEqual([1, 1])
  })

  it('sends again what was refused, if it is told to, and nothing that is on record', async () => {
    const { outbox, finished } = open([(await node()).url])
    outbox.start()
    const hash = new Uint8Array(32).fill(7)
    const withdrawal = history.algorithm(2, hash)
    const [id] = outbox.add([item(withdrawal)]) as [Uint8Array]
    expect(await outbox.wait(id)).toMatchObject({ status: 'refused', rule: 'algorithm.hash' })
    const [maker] = outbox.add([item(history.algorithm(1, hash))]) as [Uint8Array]
    expect(await outbox.wait(maker)).toMatchObject({ status: 'committed' })
    outbox.add([item(withdrawal)])
    expect(outbox.find(id)).toMatchObject({ status: 'refused' })
    outbox.add([{ ...item(withdrawal), isAnew: true }])
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed' })
    expect(outbox.refusals()).toEqual([])
    outbox.add([{ ...item(withdrawal), isAnew: true }])
    expect(outbox.pending()).toBe(0)
    expect(finished.map(({ status }) => status)).toEqual(['refused', 'committed', 'committed'])
  })

  it('sends what it put off while its clock was two days ahead, once that is set right', async () => {
    let aheadMs = 2 * 86_400_000
    const now = (): number => Date.now() + aheadMs
    const port = Number(new URL((await node()).url).port)
    await closing.pop()?.close()
    const { outbox } = open([`http://127.0.0.1:${port}`], { now, retryMs: { min: 20_000, max: 30_000 } })
    outbox.start()
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    await expect.poll(() => outbox.find(id)?.attempts, { timeout: 20_000 }).toBe(1)
    await node({}, { port })
    aheadMs = 0
    // What rings the bell is any other act of the node.
    outbox.add([item(history.algorithm())])
    expect(await outbox.wait(id, { signal: AbortSignal.timeout(15_000) })).toMatchObject({ status: 'committed' })
  })

  it('sends what depends on another only once that is committed', async () => {
    const gateway = await node({ swallow: true })
    const { outbox } = open([gateway.url])
    const [first, second] = [history.algorithm(), history.algorithm()]
    const [id] = outbox.add([item(first)]) as [Uint8Array]
    const [dependent] = outbox.add([{ ...item(second), dependsOn: id }]) as [Uint8Array]
    outbox.start()
    while (gateway.received.length === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(gateway.received).toHaveLength(1)
    history.block('userchain', [first])
    await outbox.wait(id)
    while (gateway.received.length === 1) await new Promise((resolve) => setImmediate(resolve))
    history.block('userchain', [second])
    expect(await outbox.wait(dependent)).toMatchObject({ status: 'committed', height: 2 })
  })

  it('goes to a second gateway when the first lets its deadline pass', async () => {
    const silent = await node({ swallow: true }, { deadlineMs: 20 })
    const good = await node({}, { rank: 1 })
    const { outbox } = open([silent.url, good.url])
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    outbox.start()
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed', attempts: 3 })
    expect([silent.received.length, good.received.length]).toEqual([1, 1])
    // The first one's promise is kept, word for word, over a restart too; the second one's was kept by its gateway.
    await outbox.close()
    const [passed, ...more] = open([good.url]).outbox.passedPromises()
    expect(more).toEqual([])
    expect(passed?.transactions).toEqual([id])
    const signed = readStatement(passed?.promise as Uint8Array)
    const { gateway, txs } = parseStatement('accepted', signed.statement)
    expect(gateway).toEqual(genesisAccounts(consortium.genesis).nodes[0])
    expect(txs).toEqual([id])
  })

  it('hears of what other gateways promised while one that promised before is away', async () => {
    const lost = await node({ swallow: true })
    const good = await node({}, { rank: 1 })
    const { outbox } = open([lost.url, good.url])
    const [first, second] = [history.algorithm(), history.algorithm()]
    const [older] = outbox.add([item(first)]) as [Uint8Array]
    outbox.start()
    while (outbox.find(older)?.status !== 'promised') await new Promise((resolve) => setImmediate(resolve))
    await lost.close()
    const [newer] = outbox.add([item(second)]) as [Uint8Array]
    expect(await outbox.wait(newer)).toMatchObject({ status: 'committed', height: 1 })
    expect(outbox.find(older)).toMatchObject({ status: 'promised' })
    // What the lost one promised was handed over before: any other proves that it is on record.
    history.block('userchain', [first])
    expect(await outbox.wait(older)).toMatchObject({ status: 'committed', height: 2, attempts: 1 })
    expect(good.received).toHaveLength(1)
    await outbox.close()
    expect(open([good.url]).outbox.passedPromises()).toEqual([])
  })

  it('goes to a second gateway when the first stays away, long before its deadline', async () => {
    const lost = await node({ swallow: true })
    const good = await node({}, { rank: 1 })
    let ahead = 0
    const { outbox } = open([lost.url, good.url], { now: () => Date.now() + ahead })
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    outbox.start()
    while (outbox.find(id)?.status !== 'promised') await new Promise((resolve) => setImmediate(resolve))
    await lost.close()
    const hurried = setInterval(() => {
      ahead += 100
    }, 10)
    try {
      expect(await outbox.wait(id)).toMatchObject({ status: 'committed', attempts: 3 })
    } finally {
      clearInterval(hurried)
    }
    // It is on record: whoever promised it has kept the promise.
    await outbox.close()
    expect(open([good.url]).outbox.passedPromises()).toEqual([])
  })

  it('passes a gateway by that held one question for too long', async () => {
    const lost = await node({ swallow: true })
    const good = await node({}, { rank: 1 })
    let ahead = 0
    lost.lies.cut = (path) => {
      if (path.endsWith('/answers')) ahead += 6_000
      return ahead > 0
    }
    const { outbox } = open([lost.url, good.url], { now: () => Date.now() + ahead })
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    outbox.start()
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed', attempts: 3 })
    expect(lost.calls.filter((path) => path.endsWith('/answers'))).toHaveLength(1)
  })

  it('passes no gateway by for having been away for a moment before', async () => {
    const lost = await node({ swallow: true })
    const good = await node({}, { rank: 1 })
    const port = Number(new URL(lost.url).port)
    let ahead = 0
    const { outbox } = open([lost.url, good.url], { now: () => Date.now() + ahead })
    const transaction = history.algorithm()
    const [id] = outbox.add([item(transaction)]) as [Uint8Array]
    const calledAgain = async ({ calls }: TestNode, times: number): Promise<void> => {
      const end = calls.length + times
      while (calls.length < end) await new Promise((resolve) => setImmediate(resolve))
    }
    outbox.start()
    while (outbox.find(id)?.status !== 'promised') await new Promise((resolve) => setImmediate(resolve))
    await lost.close()
    await calledAgain(good, 1)
    const back = await node({ swallow: true, status: 503 }, { port })
    await calledAgain(back, 2)
    ahead = 6_000
    await calledAgain(back, 2)
    await back.close()
    await calledAgain(good, 2)
    history.block('userchain', [transaction])
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed', attempts: 1 })
  })

  it('reports no promise as left behind before its own deadline', async () => {
    const lost = await node({ swallow: true })
    const hasty = await node({ swallow: true }, { rank: 1, deadlineMs: 20 })
    const good = await node({}, { rank: 2 })
    let ahead = 0
    const { outbox } = open([lost.url, hasty.url, good.url], { now: () => Date.now() + ahead })
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    outbox.start()
    while (outbox.find(id)?.status !== 'promised') await new Promise((resolve) => setImmediate(resolve))
    await lost.close()
    while (hasty.calls.length === 0) await new Promise((resolve) => setImmediate(resolve))
    ahead = 6_000
    expect(await outbox.wait(id)).toMatchObject({ status: 'committed' })
    expect([hasty.received.length, good.received.length]).toEqual([1, 1])
    const promises = outbox.passedPromises().map(({ promise }) => readStatement(promise).statement)
    const gateways = promises.map((statement) => parseStatement('accepted', statement).gateway)
    expect(gateways).toEqual([genesisAccounts(consortium.genesis).nodes[1]])
  })

  it('tells of each entry once, also while the receipt of another is not to be had', async () => {
    const gateway = await node({ swallow: true })
    const { outbox, finished } = open([gateway.url])
    const both = [history.algorithm(), history.algorithm()]
    const ids = outbox.add(both.map(item)) as [Uint8Array, Uint8Array]
    let asked = 0
    gateway.lies.missing = (path) => path === `userchain/receipt/${toHex(ids[1])}` && ++asked <= 2
    outbox.start()
    while (outbox.find(ids[1])?.status !== 'promised') await new Promise((resolve) => setImmediate(resolve))
    history.block('userchain', both)
    expect(await outbox.drain(20_000)).toBe(0)
    expect(finished.map(({ id }) => id)).toEqual(ids.map(toHex))
  })

  it('does not let others wait with one sender who has more under way than his share', async () => {
    const people = Array.from({ length: 10 }, () => history.registration())
    history.block(
      'userchain',
      people.map(({ transaction }) => transaction),
    )
    const devices = people.map(({ person }, i) => history.device(person, [new Uint8Array(8).fill(i)]))
    const busy = devices[3] as Transaction
    const gateway = await node({
      turnsAway: (transactions) => transactions.some(({ leaf }) => equalBytes(leaf, busy.leaf)),
    })
    const { outbox } = open([gateway.url])
    const ids = outbox.add(devices.map(item))
    outbox.start()
    for (const id of ids.toSpliced(3, 1)) expect(await outbox.wait(id)).toMatchObject({ status: 'committed' })
    expect(outbox.find(history.id(busy))).toMatchObject({ status: 'waiting' })
    gateway.lies.turnsAway = () => false
    expect(await outbox.drain(20_000)).toBe(0)
  })

  it.each<[string, Lies]>([
    ['a promise that no node signed', { forge: true }],
    ['a receipt that does not verify', { receipt: (bytes) => bytes.with(bytes.length - 5, 65) }],
  ])('leaves a gateway alone that gives %s', async (_what, lies) => {
    const liar = await node(lies)
    const good = await node({}, { rank: 1 })
    const { outbox } = open([liar.url, good.url])
    const [id] = outbox.add([item(history.algorithm())]) as [Uint8Array]
    outbox.start()
    const entry = await outbox.wait(id)
    expect(entry.status).toBe('committed')
    verifyReceipt({ bytes: outbox.receipt(id) as Uint8Array, ledgerId: consortium.genesis.ledgerId })
  })

  it('waits through an outage and delivers when the network is back', async () => {
    const gateway = await node()
    const port = Number(new URL(gateway.url).port)
    await gateway.close()
    const { outbox } = open([gateway.url])
    const ids = outbox.add([item(history.algorithm()), item(history.algorithm())])
    outbox.start()
    while ((outbox.find(ids[0] as Uint8Array)?.attempts ?? 0) < 3) await new Promise((resolve) => setImmediate(resolve))
    expect(outbox.pending()).toBe(2)
    await node({}, { port })
    outbox.retryNow()
    expect(await outbox.drain(20_000)).toBe(0)
  })

  it('holds what was added before a kill, once', async () => {
    const transactions = Array.from({ length: 3 }, () => history.algorithm())
    const leaves = join(dir, 'leaves.json')
    writeFileSync(
      leaves,
      JSON.stringify({ id: toHex(consortium.genesis.ledgerId), leaves: transactions.map(({ leaf }) => toHex(leaf)) }),
    )
    const here = import.meta.dirname
    const script = `import { readFileSync } from 'node:fs'
      import { Outbox } from ${JSON.stringify(join(here, 'outbox.ts'))}
      import { createLogger } from ${JSON.stringify(join(here, '..', 'process', 'logger.ts'))}
      const { id, leaves } = JSON.parse(readFileSync(${JSON.stringify(leaves)}, 'utf8'))
      const bytes = (hex) => new Uint8Array(Buffer.from(hex, 'hex'))
      const outbox = new Outbox({ dir: ${JSON.stringify(dir)}, ledgerId: bytes(id), client: { urls: [] }, logger: createLogger({ name: 'x', level: 'silent' }) })
      outbox.add(leaves.map((leaf) => ({ chain: 'userchain', leaf: bytes(leaf) })))
      process.kill(process.pid, 'SIGKILL')`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: here, stdio: 'ignore' })
    await once(child, 'exit')
    expect(child.signalCode).toBe('SIGKILL')
    const gateway = await node()
    const { outbox } = open([gateway.url])
    expect(outbox.unfinished().map(({ id }) => id)).toEqual(transactions.map((one) => toHex(history.id(one))))
    outbox.start()
    expect(await outbox.drain(20_000)).toBe(0)
    expect(gateway.received).toHaveLength(3)
  })

  it('is bounded, knows what it never saw, and ends waiting when it closes', async () => {
    const { outbox } = open(['http://127.0.0.1:1'], { entriesMax: 2 })
    const ids = outbox.add([item(history.algorithm())])
    expect(() => outbox.add([item(history.algorithm()), item(history.algorithm())])).toThrow('2 unfinished')
    expect(outbox.pending()).toBe(1)
    await expect(outbox.wait(fromHex('00'.repeat(32)))).rejects.toThrow('no such entry')
    const waiting = outbox.wait(ids[0] as Uint8Array).then(() => 'no error', codeOf)
    await outbox.close()
    expect(await waiting).toBe('ERR_CLOSED')
    expect(existsSync(join(dir, 'outbox.db'))).toBe(true)
  })
})
