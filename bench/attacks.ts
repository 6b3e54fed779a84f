/**
 * What an attacker gets out of it, and what it costs everybody else: transactions and envelopes replayed, passphrases guessed, a flood
 * of ten times what the nodes can order from one account, and from 1,000 identities of one sponsor. Accepted must be 0 throughout; the
 * honest sender is of another sponsor, and its p99 beside the flood is compared with its p99 alone.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { signTransaction, type TransactionBody, transactionId } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { createVault, openVault } from '@healthblock/crypto/vault'
import { concatBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { clusterPaths } from '../cli/src/cluster/layout.ts'
import { batches, type Item, newestCheckpoint, submit } from './support/client.ts'
import { type BenchCluster, withCluster } from './support/cluster.ts'
import type { FloodCount, FloodOrder } from './support/flood-worker.ts'
import { Load, type LoadPatient } from './support/load.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const options = benchOptions()
const replayedCount = options.quick ? 256 : 2_048
const guessesCount = options.quick ? 4 : 32
const sybilsCount = options.quick ? 100 : 1_000
/** As long as it takes until the 99th percentile is more than the two or three worst of one moment. */
const calmMs = options.quick ? 3_000 : 45_000
const floodMs = options.quick ? 5_000 : 60_000
const honestPeriodMs = 100
/** Transactions of one submission of a flood: the most there may be. */
const floodBatch = 256

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Answer {
  readonly status: number
  readonly refused: number
}

async function offer(url: string, items: readonly Item[]): Promise<Answer> {
  const response = await fetch(`${url}/v1/userchain/transactions`, {
    method: 'POST',
    headers: { 'content-type': 'application/cbor-seq' },
    body: concatBytes(...items.map(({ leaf }) => leaf)) as NonNullable<RequestInit['body']>,
    signal: AbortSignal.timeout(60_000),
  })
  const bytes = new Uint8Array(await response.arrayBuffer())
  const isAnswer = response.status === 202 || response.status === 422
  return {
    status: response.status,
    refused: isAnswer ? (decodeCbor(bytes) as { refused: unknown[] }).refused.length : 0,
  }
}

/** Kinds of the final answers: 2 committed, 3 refused, 4 deferred. */
async function answersOf(url: string, items: readonly Item[]): Promise<number[]> {
  for (;;) {
    const response = await fetch(`${url}/v1/userchain/answers`, {
      method: 'POST',
      headers: { 'content-type': 'application/cbor' },
      body: encodeCbor({ txs: items.map(({ id }) => id), waitms: 10_000 }) as NonNullable<RequestInit['body']>,
    })
    const kinds = (decodeCbor(new Uint8Array(await response.arrayBuffer())) as unknown as number[][]).map(
      ([kind]) => kind ?? 0,
    )
    if (kinds.every((kind) => kind !== 1)) return kinds
  }
}

/** Committed transactions again, at every node: not one more entry in the log. */
async function replayTransactions(
  { urls }: BenchCluster,
  load: Load,
  patients: readonly LoadPatient[],
): Promise<Result> {
  const [url] = urls as [string]
  const items = Array.from({ length: replayedCount }, (_, i) =>
    load.iot(patients[i % patients.length] as LoadPatient, 1),
  )
  for (const batch of batches(items, 256)) await submit(url, batch)
  const [before] = await newestCheckpoint(url)
  for (const each of urls) for (const batch of batches(items, 256)) await offer(each, batch)
  // One honest transaction behind them: had one been taken, it would be in the log before.
  await submit(url, [load.iot(patients[0] as LoadPatient, 1)])
  const [after] = await newestCheckpoint(url)
  return { attack: 'replayed transactions', tried: replayedCount * urls.length, accepted: after - before - 2 }
}

/** An envelope that was given to a doctor, in the transaction of somebody else, and in one that the thief of the op key signs. */
async function replayEnvelopes({ urls }: BenchCluster, load: Load, patients: readonly LoadPatient[]): Promise<Result> {
  const [url] = urls as [string]
  const tried: Item[] = []
  const seen = await newestCheckpoint(url)
  const [gid, envelope] = [randomBytes(16), randomBytes(1472)]
  for (const { account, op } of patients.slice(0, 32)) {
    const now = Date.now()
    const body = {
      ...{ v: 1, t: 'key', a: account, n: now, x: now + 3_600_000, gen: 2, first: Math.floor(now / 3_600_000) },
      ...{ cut: [], close: [], open: [], env: [[gid, 2, envelope]], why: 3, seen },
    } as unknown as TransactionBody
    tried.push(load.sign(body, [{ account, key: 1, signingKey: op }]))
  }
  for (const item of tried) await offer(url, [item])
  const kinds = await answersOf(url, tried)
  return { attack: 'replayed envelopes', tried: tried.length, accepted: kinds.filter((kind) => kind === 2).length }
}

async function guessPassphrases(): Promise<Result> {
  const passphrase = 'the right one, and long'
  const seed = (): Uint8Array => randomBytes(32)
  const contents = {
    ...{ rootSeed: seed(), opSeed: seed(), kemSeed: seed(), vaultKemSeed: seed(), phraseEntropy: seed() },
    ...{ recoverySalts: [], nodes: [], extra: new Uint8Array() },
  }
  const file = (await createVault({ contents, passphrase })).encode()
  await openVault({ file, passphrase })
  let accepted = 0
  const begunMs = performance.now()
  for (let i = 0; i < guessesCount; i++) {
    await openVault({ file, passphrase: `guess number ${i}` }).then(
      () => accepted++,
      () => {},
    )
  }
  const msPerGuess = (performance.now() - begunMs) / guessesCount
  return { attack: 'vault guesses', tried: guessesCount, accepted, msPerGuess }
}

/** One transaction after the other on time; how long each took until it was committed, ms. */
async function honest(urls: readonly string[], make: () => Item, durationMs: number): Promise<number[]> {
  const latencies: number[] = []
  const under: Promise<void>[] = []
  const begunMs = performance.now()
  for (let turn = 0; performance.now() - begunMs < durationMs; turn++) {
    const fromMs = performance.now()
    const send = async (): Promise<void> => {
      await submit(urls[turn % urls.length] as string, [make()])
      latencies.push(performance.now() - fromMs)
    }
    under.push(send())
    await pause(honestPeriodMs)
  }
  await Promise.all(under)
  return latencies
}

/** Offers signed batches to all nodes, so many transactions a second, until `end` is called. */
function flood(urls: readonly string[], items: readonly Item[], perSecond: number): { end(): Promise<FloodCount> } {
  const bodies = batches(items, floodBatch).map((batch) => concatBytes(...batch.map(({ leaf }) => leaf)))
  const workerData: FloodOrder = { urls, bodies, bodiesPerSecond: perSecond / floodBatch }
  const worker = new Worker(new URL('./support/flood-worker.ts', import.meta.url), { workerData })
  return {
    end: () =>
      new Promise((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
        worker.postMessage('end')
      }),
  }
}

/** What the nodes order when nobody is turned away, a second. */
async function capacity(urls: readonly string[], load: Load, patients: readonly LoadPatient[]): Promise<number> {
  const senders = 8
  const rounds = options.quick ? 2 : 6
  const signed = Array.from({ length: senders }, (_, sender) => {
    const own = patients.filter((_patient, i) => i % senders === sender)
    return Array.from({ length: rounds }, () =>
      Array.from({ length: 128 }, (_item, i) => load.iot(own[i % own.length] as LoadPatient, 1)),
    )
  })
  const run = async (): Promise<void> => {
    await Promise.all(
      signed.map(async (submissions, sender) => {
        for (const items of submissions) await submit(urls[sender % urls.length] as string, items)
      }),
    )
  }
  const begunMs = performance.now()
  await run()
  return (senders * rounds * 128 * 1000) / (performance.now() - begunMs)
}

/** Transactions of another organisation than that of the load: algorithms, valid in any order. */
function otherOrganisation({ dir }: BenchCluster, rank: number): (name?: string) => Item {
  const genesis = parseGenesis(readFileSync(clusterPaths.genesis(dir)))
  const { ledgerId } = genesis
  const account = genesisAccounts(genesis).organisations[rank] as Uint8Array
  const file = join(clusterPaths.node(dir, `accounting-${rank}`), 'secrets', 'organisation-op.key')
  const op = signingKeyFromSeed(fromHex(readFileSync(file, 'utf8').trim()))
  return () => {
    const named = { id: toHex(randomBytes(12)), version: '1', hash: randomBytes(32) }
    const body = { v: 1, t: 'algorithm', a: account, ...named, act: 1 } as const
    const signers = [{ account, key: 1 as const, signingKey: op }]
    const { leaf, bodyBytes } = signTransaction({ ledgerId, chain: 'userchain', body, signers })
    return { leaf, id: transactionId({ ledgerId, chain: 'userchain', bodyBytes }) }
  }
}

async function besideFlood(
  cluster: BenchCluster,
  attack: string,
  items: readonly Item[],
  { make, perSecond }: { make: () => Item; perSecond: number },
): Promise<Result> {
  const { urls } = cluster
  const alone = await honest(urls, make, calmMs)
  const before = await newestCheckpoint(urls[0] as string)
  const running = flood(urls, items, perSecond)
  const beside = await honest(urls, make, floodMs)
  const { offered, turnedAway, withheld } = await running.end()
  const [size] = await newestCheckpoint(urls[0] as string)
  const ordered = ((size - before[0]) * 1000) / floodMs
  const [aloneP99Ms, besideP99Ms] = [percentile(alone, 0.99), percentile(beside, 0.99)]
  tell(`attacks: ${attack}: honest p99 ${aloneP99Ms.toFixed(0)} ms alone, ${besideP99Ms.toFixed(0)} ms beside it`)
  return {
    ...{ attack, offeredPerSecond: (offered * floodBatch * 1000) / floodMs, orderedPerSecond: ordered },
    ...{ turnedAwayPercent: (100 * turnedAway) / offered, withheldPercent: (100 * withheld) / (offered + withheld) },
    ...{ aloneP50Ms: percentile(alone, 0.5), aloneP99Ms, besideP50Ms: percentile(beside, 0.5), besideP99Ms },
    p99Ratio: besideP99Ms / aloneP99Ms,
  }
}

const results = await withCluster({ size: { accounting: 4 }, roles: ['accounting'] }, async (cluster) => {
  const load = new Load(cluster)
  const patients = await load.enrol(cluster.urls, sybilsCount)
  const [url] = cluster.urls as [string]
  await load.begin(url, patients, await newestCheckpoint(url))
  const rows: Result[] = [
    await replayTransactions(cluster, load, patients),
    await replayEnvelopes(cluster, load, patients),
    await guessPassphrases(),
  ]
  const perSecond = 10 * (await capacity(cluster.urls, load, patients))
  const make = otherOrganisation(cluster, 1)
  const single = otherOrganisation(cluster, 2)
  const count = options.quick ? 10_000 : 60_000
  tell('attacks: signing the floods')
  rows.push(
    await besideFlood(
      cluster,
      'flood of one account',
      Array.from({ length: count }, () => single()),
      { make, perSecond },
    ),
  )
  const sybil = Array.from({ length: count }, (_, i) => load.iot(patients[i % patients.length] as LoadPatient, 1))
  rows.push(await besideFlood(cluster, `flood of ${sybilsCount} identities of one sponsor`, sybil, { make, perSecond }))
  // One of each identity is left out, so that all others wait for it.
  for (const patient of patients) load.iot(patient, 1)
  const waiting = Array.from({ length: count }, (_, i) => load.iot(patients[i % patients.length] as LoadPatient, 1))
  rows.push(await besideFlood(cluster, 'flood of what waits for what never comes', waiting, { make, perSecond }))
  return rows
})
report('attacks', results, options)
const accepted = results.reduce((sum, { accepted: some }) => sum + Number(some ?? 0), 0)
process.exit(accepted === 0 ? 0 : 1)
