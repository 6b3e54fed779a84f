import { appendFileSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chainOrigin, genesisPolicy, verifyCheckpoint } from '@healthblock/chain/checkpoint'
import { parseGenesis } from '@healthblock/chain/genesis'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { encodeTransactionLeaf, type Transaction } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, describe, expect, it } from 'vitest'
import { type ClusterOptions, CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction, doctorRegistration, licenceTransaction } from '../../../../test/support/sample-ledger.ts'
import { encodeHeadValue, encodeMessage, parseHeadValue, parseMessage } from './wire.ts'

let cluster: CoreCluster
afterEach(async () => {
  await cluster.end()
})

async function running(options: ClusterOptions = {}): Promise<CoreCluster> {
  cluster = new CoreCluster(options)
  await cluster.letLead(0)
  await cluster.startAll()
  await cluster.until('a leader of both chains', () =>
    (['userchain', 'docchain'] as const).every((chain) =>
      [...cluster.nodes.keys()].some((rank) => cluster.core(rank, chain).status().leads),
    ),
  )
  return cluster
}

function algorithms(count: number, name = 'a'): Transaction[] {
  return Array.from({ length: count }, (_, i) => algorithmTransaction(cluster.ledger, `${name}${i}`))
}

/** What a gateway does with accepted transactions. */
async function accept(rank: number, transactions: readonly Transaction[]): Promise<void> {
  cluster.core(rank).noteAccepted(transactions)
  await cluster.core(rank).submit(transactions)
}

function indexOf(rank: number, transaction: Transaction): number | undefined {
  const { ledger } = cluster.core(rank)
  return ledger.index('userchain').find(ledger.transactionId('userchain', transaction))
}

function alive(): number[] {
  return [...cluster.nodes].filter(([, { life }]) => !life.isDead).map(([rank]) => rank)
}

async function committed(transactions: readonly Transaction[], ranks = alive()): Promise<void> {
  await cluster.until('committed and published', () =>
    ranks.every((rank) =>
      transactions.every((transaction) => {
        const index = indexOf(rank, transaction)
        return index !== undefined && index < (cluster.core(rank).published()?.size ?? 0)
      }),
    ),
  )
}

/** One log everywhere, each transaction once, every published note good. */
function checkOneLedger(ranks = alive()): void {
  const logs = ranks.map((rank) => cluster.core(rank).entries(0, cluster.core(rank).head().size).map(toHex))
  const longest = logs.reduce((a, b) => (b.length > a.length ? b : a), [])
  for (const log of logs) expect(log).toEqual(longest.slice(0, log.length))
  expect(new Set(longest).size).toBe(longest.length)
  const genesis = parseGenesis(cluster.ledger.genesis)
  const origin = chainOrigin({ ledgerId: genesis.ledgerId, chain: 'userchain' })
  const policy = genesisPolicy(genesis, 'userchain')
  for (const rank of ranks) {
    const published = cluster.core(rank).published()
    if (published === undefined) continue
    const verified = verifyCheckpoint({ note: published.checkpoint, origin, policy })
    expect(verified.size).toBe(published.size)
    expect(cluster.core(rank).ledger.index('userchain').boundary(verified.size)?.root).toEqual(verified.root)
  }
}

/** Four nodes; rank 0 leads and leaves the organisation's transactions out. */
async function ledByCensor(): Promise<void> {
  cluster = new CoreCluster({ speed: 5 })
  await cluster.letLead(0)
  await cluster.start(0, { censor: [toHex(cluster.ledger.organisation.account)] })
  for (const rank of [1, 2, 3]) await cluster.start(rank)
  await cluster.until('it leads', () => cluster.core(0).status().leads)
}

describe('four nodes', () => {
  it('decide, apply and publish what is submitted', async () => {
    await running()
    const transactions = algorithms(10)
    await accept(1, transactions)
    await committed(transactions)
    checkOneLedger()
    expect(cluster.core(2).head().size).toBe(2 + 11)
    expect(cluster.core(3).entry(2)).toEqual(transactions[0]?.leaf)
    expect(cluster.core(3).blockAt(1)).toEqual({ height: 1, i0: 2, size: 13 })
    expect(cluster.core(3).heightOfIndex(12)).toBe(1)
    expect(cluster.core(3).heightOfIndex(13)).toBeUndefined()
  })

  it('keep one order although messages are lost, late and out of order, and jobs come twice', async () => {
    await running({ seed: 7 })
    cluster.network.loss = 0.2
    cluster.network.lateTurnsMax = 20
    cluster.queues.userchain.copies = 2
    const all: Transaction[] = []
    for (let i = 0; i < 12; i++) {
      const batch = algorithms(4, `b${i}x`)
      all.push(...batch)
      await accept(i % 4, batch)
    }
    await committed(all)
    checkOneLedger()
  })

  it('seal an idle Docchain block after a suspension, anchored beyond it', async () => {
    await running()
    const doctor = doctorRegistration(cluster.ledger)
    await accept(0, [doctor.transaction])
    await committed([doctor.transaction])
    expect(cluster.core(0, 'docchain').head().height).toBe(0)
    const account = cluster.core(0).ledger.transactionId('userchain', doctor.transaction)
    const suspension = licenceTransaction(cluster.ledger, account, 2, cluster.clock.nowMs())
    await accept(0, [suspension])
    await committed([suspension])
    const index = indexOf(0, suspension) as number
    await cluster.until('Docchain anchored', () =>
      alive().every((rank) => (cluster.core(rank, 'docchain').published()?.height ?? 0) === 1),
    )
    const seal = parseSealLeaf(cluster.core(2, 'docchain').entry(2))
    expect(seal.k).toBe(0)
    expect(seal.anchor?.[0]?.[0]).toBeGreaterThan(index)
  })

  it('replace a leader that goes away, and take it back', async () => {
    await running()
    await cluster.stop(0)
    const transactions = algorithms(3)
    await accept(1, transactions)
    await committed(transactions)
    expect(cluster.core(1).term().leader).not.toBe(0)
    await cluster.start(0)
    await committed(transactions)
    checkOneLedger()
  })

  it('replace a leader that leaves out somebody’s transactions', async () => {
    await ledByCensor()
    const transactions = algorithms(2)
    await accept(2, transactions)
    await committed(transactions)
    expect(cluster.core(2).term().leader).not.toBe(0)
  })

  it('replace such a leader also if it was the first to tell of them, with wrong signatures', async () => {
    await ledByCensor()
    const [good, other] = algorithms(2, 's') as [Transaction, Transaction]
    const forged = encodeTransactionLeaf({ bodyBytes: good.bodyBytes, signatures: other.signatures })
    const gossip = encodeMessage({ txs: [forged] })
    for (const rank of [1, 2, 3]) await cluster.core(rank).handlePeer(0, 'gossip', gossip)
    await accept(2, [good])
    await committed([good])
    expect(cluster.core(2).term().leader).not.toBe(0)
  })

  it('go on with three, and bring the fourth up when it is back', async () => {
    await running()
    await cluster.stop(3)
    const all: Transaction[] = []
    for (let i = 0; i < 20; i++) {
      const batch = algorithms(3, `c${i}x`)
      all.push(...batch)
      await accept(0, batch)
      await committed(batch)
    }
    await cluster.start(3)
    await committed(all)
    checkOneLedger()
    expect(cluster.events.some(({ rank, event }) => rank === 3 && event.kind === 'caught-up')).toBe(true)
    // It takes part again: with another one away, three are left and all must sign.
    await cluster.stop(2)
    const more = algorithms(2, 'd')
    await accept(0, more)
    await committed(more)
  })

  it('decide nothing below the quorum, and go on when it is back', async () => {
    await running()
    await cluster.stop(3)
    await cluster.stop(2)
    const transactions = algorithms(2)
    await accept(0, transactions)
    await cluster.until(
      'asked in vain',
      () => cluster.core(0).status().poolCount === 2 && cluster.queues.userchain.depth === 0,
    )
    expect(cluster.core(0).head().height).toBe(0)
    await cluster.start(2)
    await committed(transactions)
    checkOneLedger()
  })

  it('rebuild the register when its file is deleted', async () => {
    await running()
    const before = algorithms(2, 'e')
    await accept(0, before)
    await committed(before)
    const value = cluster.core(1).term()
    cluster.loseRegister()
    const after = algorithms(2, 'f')
    await accept(1, after)
    await committed([...before, ...after])
    checkOneLedger()
    expect(cluster.core(1).term().term).toBeGreaterThan(value.term)
    expect(cluster.events.some(({ event }) => event.kind === 'register-rebuilt' && event.height > 0)).toBe(true)
  })

  it('say once what it is that cannot be read, and go on when the register can', async () => {
    await running()
    const files = ['', '-wal', '-shm'].map((ending) => `${cluster.registerPath}${ending}`)
    for (const file of files) rmSync(file, { force: true })
    mkdirSync(cluster.registerPath)
    const reasons = (): string[] =>
      cluster.events.flatMap(({ event }) => (event.kind === 'failed' ? [(event.error as Error).message] : []))
    await cluster.until('a failure', () => reasons().some((reason) => reason.includes('register')))
    expect(reasons().filter((reason) => /register:.*register:/.test(reason))).toEqual([])
    rmSync(cluster.registerPath, { recursive: true })
    const after = algorithms(2, 'y')
    await accept(1, after)
    await committed(after)
    checkOneLedger()
  })

  it('rebuild the register when it is rolled back', async () => {
    await running()
    const before = algorithms(2, 'g')
    await accept(0, before)
    await committed(before)
    const old = cluster.readRegister('userchain')
    const more = algorithms(2, 'h')
    await accept(0, more)
    await committed(more)
    cluster.writeRegister('userchain', old)
    const after = algorithms(2, 'i')
    await accept(1, after)
    await committed([...before, ...more, ...after])
    checkOneLedger()
  })

  it('rebuild the register when it holds what no quorum signed', async () => {
    await running()
    const before = algorithms(2, 'p')
    await accept(0, before)
    await committed(before)
    const forged = { ...parseHeadValue(cluster.readRegister('userchain')), height: 7, size: 99 }
    cluster.writeRegister('userchain', encodeHeadValue(forged))
    const after = algorithms(2, 'q')
    await accept(1, after)
    await committed([...before, ...after])
    cluster.writeRegister('userchain', new Uint8Array([1, 2, 3]))
    const last = algorithms(2, 'r')
    await accept(2, last)
    await committed([...before, ...after, ...last])
    checkOneLedger()
  })

  it('lose nothing when the queue is wiped or away', async () => {
    await running()
    cluster.queues.userchain.isAway = true
    const transactions = algorithms(3)
    cluster.core(2).noteAccepted(transactions)
    await expect(cluster.core(2).submit(transactions)).rejects.toMatchObject({ detail: { code: 'ERR_QUEUE_AWAY' } })
    await committed(transactions)
    cluster.queues.userchain.isAway = false
    const more = algorithms(3, 'k')
    cluster.core(2).noteAccepted(more)
    await cluster.core(2).submit(more)
    cluster.queues.userchain.wipe()
    await committed(more)
    checkOneLedger()
  })

  it('refuse to stage a block of a leader whose clock is wrong, and replace it', async () => {
    cluster = new CoreCluster()
    ;(cluster.skews[0] as { ms: number }).ms = 60_000
    await cluster.letLead(0)
    await cluster.startAll()
    await cluster.until('a leader', () => cluster.core(0).status().leads)
    const transactions = algorithms(2)
    await accept(1, transactions)
    await committed(transactions)
    expect(cluster.events.some(({ event }) => event.kind === 'stage-refused' && event.reason === 'clock')).toBe(true)
    checkOneLedger()
  })

  it('have a leader whose block became too old while it reached nobody build another one at once', async () => {
    await running({ speed: 1 })
    const { clock, network, skews, n } = cluster
    const before = cluster.core(0).status().term
    network.isolate(0, n, true)
    const transactions = algorithms(2)
    await accept(0, transactions)
    let asked = 0
    network.onCall = ({ from, method }) => {
      if (from === 0 && method === 'stage') asked++
    }
    await cluster.until('a block that reaches nobody', () => asked > 0)
    for (const skew of skews) skew.ms = 6_000
    network.isolate(0, n, false)
    const hasRefused = (): boolean =>
      cluster.events.some(({ rank, event }) => rank === 0 && event.kind === 'stepped-down' && event.reason === 'clock')
    await cluster.until('the old block is refused', hasRefused)
    const refusedMs = clock.elapsedMs()
    const led = (): boolean =>
      cluster.events.some(({ rank, event }) => rank === 0 && event.kind === 'led' && event.term === before + 1)
    await cluster.until('a new term of the same leader', led)
    // Sooner than one whose clock is wrong leads again.
    expect(clock.elapsedMs() - refusedMs).toBeLessThan(3_000)
    await committed(transactions)
    checkOneLedger()
  })

  it('do not take over the time of such a leader where what one node staged is proposed again', async () => {
    cluster = new CoreCluster({ n: 3, q: 2 })
    const skew = cluster.skews[0] as { ms: number }
    skew.ms = 3_600_000
    await cluster.letLead(0)
    await cluster.startAll()
    await cluster.until('a leader', () => cluster.core(0).status().leads)
    const transactions = algorithms(2)
    await accept(1, transactions)
    await cluster.until('a refusal', () =>
      cluster.events.some(({ event }) => event.kind === 'stage-refused' && event.reason === 'clock'),
    )
    skew.ms = 0
    // The next leader hears of the old one what it staged.
    await cluster.stop(2)
    await committed(transactions)
    expect(cluster.core(1).head().ms).toBeLessThan(cluster.clock.nowMs() + 60_000)
  })
})

describe('a disk', () => {
  it('that was rolled back keeps its node silent until it has caught up with what it signed', async () => {
    await running()
    const early = algorithms(1, 'l')
    await accept(0, early)
    await committed(early)
    await cluster.stop(3)
    const backup = `${cluster.nodeDir(3)}-backup`
    cpSync(cluster.nodeDir(3), backup, { recursive: true })
    await cluster.start(3)
    const late = algorithms(2, 'm')
    await accept(0, late)
    await committed(late)
    await cluster.stop(3)
    rmSync(cluster.nodeDir(3), { recursive: true })
    cpSync(backup, cluster.nodeDir(3), { recursive: true })
    await cluster.start(3)
    await committed(late)
    expect(cluster.events.some(({ rank, event }) => rank === 3 && event.kind === 'rolled-back')).toBe(true)
    await cluster.until('it signs again', () => cluster.core(3).status().signs)
    checkOneLedger()
  })

  it('with a torn last record is cut back and filled again', async () => {
    await running()
    const transactions = algorithms(2)
    await accept(0, transactions)
    await committed(transactions)
    await cluster.stop(2)
    const file = join(cluster.nodeDir(2), 'userchain', 'log', 'blocks')
    const whole = readFileSync(file)
    writeFileSync(file, whole.subarray(0, whole.length - 5))
    await cluster.start(2)
    await committed(transactions)
    await cluster.stop(2)
    appendFileSync(file, new Uint8Array(300))
    await cluster.start(2)
    await committed(transactions)
    checkOneLedger()
  })

  it('with a damaged record in the middle is reported, and its blocks come again from the peers', async () => {
    await running()
    const all: Transaction[] = []
    for (let i = 0; i < 3; i++) {
      const batch = algorithms(2, `n${i}x`)
      all.push(...batch)
      await accept(0, batch)
      await committed(batch)
    }
    const place = cluster.core(1).blockAt(2)
    await cluster.stop(1)
    const file = join(cluster.nodeDir(1), 'userchain', 'log', 'blocks')
    copyFileSync(file, `${file}.copy`)
    const bytes = readFileSync(file)
    const second = bytes.indexOf(Buffer.from(all[2]?.leaf as Uint8Array))
    bytes[second + 10] = (bytes[second + 10] as number) ^ 1
    writeFileSync(file, bytes)
    await cluster.start(1)
    await committed(all)
    expect(cluster.core(1).blockAt(2)).toEqual(place)
    checkOneLedger()
    const damaged = cluster.events.filter(({ rank, event }) => rank === 1 && event.kind === 'damaged')
    expect(damaged.map(({ event }) => event)).toMatchObject([
      { chain: 'userchain', file: 'log/blocks', index: place?.i0 },
    ])
  })
})

describe('one node', () => {
  it('is a ledger by itself', async () => {
    await running({ n: 1, q: 1 })
    const transactions = algorithms(5)
    await accept(0, transactions)
    await committed(transactions)
    await cluster.stop(0)
    await cluster.start(0)
    const more = algorithms(5, 'o')
    await accept(0, more)
    await committed([...transactions, ...more])
    checkOneLedger()
  })
})

describe('a node whose word is lost', () => {
  it.each(['missing', 'damaged'])(
    '(%s) takes up no older term than the present one, and takes part again',
    async (how) => {
      await running()
      const first = algorithms(2, 'w')
      await accept(0, first)
      await committed(first)
      await cluster.stop(3)
      const path = join(cluster.nodeDir(3), 'userchain', 'promise')
      if (how === 'missing') rmSync(path)
      else writeFileSync(path, readFileSync(path).fill(0x55, 14, 20))
      const node = await cluster.start(3)
      const value = parseHeadValue(cluster.readRegister('userchain'))
      const stale = { ...value, term: value.term + 5, leader: 1 }
      cluster.writeRegister('userchain', encodeHeadValue(stale))
      const order = encodeMessage({ term: value.term })
      const answer = parseMessage(await node.cores.userchain.handlePeer(value.leader, 'collect', order))
      expect(answer.text('error')).toBe('term')
      const more = algorithms(2, 'x')
      await accept(1, more)
      await committed(more)
      checkOneLedger()
    },
  )
})
