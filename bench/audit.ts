/** A chain replayed from its leaves, every signature checked and every rule executed, against what the cores can verify. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ledger } from '@healthblock/chain/block'
import { Replay } from '@healthblock/chain/replay'
import { type ChainStore, MemoryChainStore } from '@healthblock/chain/store'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { openChainStore } from '@healthblock/runtime/ledger-stores'
import { type Draft, type Party, World } from '../packages/chain/src/testkit.ts'
import { betweenBounds } from './support/ed25519-bound.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const options = benchOptions()
const patientsCount = 128
const blockTransactions = 256
/** Blocks that only enrol the patients: replayed before the clock starts. */
const enrolmentBlocks = 3
const blocks = options.quick ? 8 : 80
/** Blocks whose signatures are verified ahead of the one that is executed. */
const aheadBlocks = 4

/** Blocks of a chain as an auditor gets them: leaves, the SEAL last. Block 0 is the ledger's own. */
function makeChain(records: number): { genesis: Uint8Array; blocks: Uint8Array[][] } {
  const world = new World({ quota: 10_000 })
  const made: Uint8Array[][] = []
  const post = (drafts: readonly Draft[]): void => {
    world.nowMs += 1000
    const candidates = drafts.map((draft) => world.sign(draft))
    const { pending } = world.ledger.buildBlock({ chain: 'userchain', candidates, nowMs: world.nowMs })
    if (pending === undefined || pending.transactions.length !== drafts.length) throw new Error('the load is not valid')
    world.ledger.commit(pending)
    made.push([...pending.leaves])
  }
  const registrations = Array.from({ length: patientsCount }, () => world.registration(1))
  post(registrations.map(({ draft }) => draft))
  const patients = registrations.map(({ party }): Party => party())
  const streams = patients.map(() => randomBytes(8))
  post(patients.map((patient, i) => world.device(patient, [streams[i] as Uint8Array])))
  post(patients.map((patient) => world.key(patient, { gen: 1 })))
  const sequences = patients.map(() => 0)
  for (let block = 0; block < blocks; block++) {
    post(
      Array.from({ length: blockTransactions }, (_, n) => {
        const i = n % patientsCount
        const r = Array.from({ length: records }, () => {
          const sequence = (sequences[i] ?? 0) + 1
          sequences[i] = sequence
          return world.record(streams[i] as Uint8Array, sequence)
        })
        return world.iot(patients[i] as Party, r)
      }),
    )
  }
  return { genesis: world.genesis, blocks: made }
}

/** Replays everything; `ahead` is how many blocks' signatures the other threads verify before they are executed. */
async function replay(
  chain: ReturnType<typeof makeChain>,
  userchain: ChainStore,
  ahead: number,
): Promise<{ seconds: number; blockMs: number[] }> {
  const stores = { userchain, docchain: new MemoryChainStore() }
  const ledger = Ledger.open({ genesis: chain.genesis, stores })
  const reader = new Replay(ledger, 'userchain', ledger.head('userchain').size)
  const blockMs: number[] = []
  for (const leaf of chain.blocks.slice(0, enrolmentBlocks).flat()) reader.push(leaf)
  const measured = chain.blocks.slice(enrolmentBlocks)
  const begun = performance.now()
  const verified: Promise<void>[] = []
  const verify = (number: number): void => {
    const leaves = measured[number]
    if (leaves !== undefined)
      verified.push(ledger.preverify('userchain', leaves.slice(0, -1).map(parseTransactionLeaf)))
  }
  for (const [number, leaves] of measured.entries()) {
    if (ahead > 0) {
      while (verified.length <= Math.min(number + ahead, measured.length - 1)) verify(verified.length)
      await verified[number]
    }
    const from = performance.now()
    for (const leaf of leaves) reader.push(leaf)
    blockMs.push(performance.now() - from)
  }
  return { seconds: (performance.now() - begun) / 1000, blockMs }
}

async function measure(records: number): Promise<Result[]> {
  tell(`audit: making ${blocks * blockTransactions} transactions of ${records} records`)
  const chain = makeChain(records)
  const ways: Result[] = []
  for (const [store, ahead] of [
    ['memory', 0],
    ['memory', aheadBlocks],
    ['sqlite', aheadBlocks],
  ] as const) {
    const dir = mkdtempSync(join(tmpdir(), 'healthblock-bench-'))
    const file = store === 'sqlite' ? openChainStore({ path: join(dir, 'userchain.db') }) : undefined
    try {
      const { value, bound } = await betweenBounds(options.quick ? 300 : 1500, () =>
        replay(chain, file ?? new MemoryChainStore(), ahead),
      )
      const transactions = blocks * blockTransactions
      const rate = transactions / value.seconds
      ways.push({
        ...{ store, threads: ahead === 0 ? 'one' : 'all', records, transactions },
        ...{
          transactionsPerSecond: rate,
          p50Ms: percentile(value.blockMs, 0.5),
          p99Ms: percentile(value.blockMs, 0.99),
        },
        ...{ ed25519VerifyPerSecond: bound, partOfBoundPercent: (100 * rate) / bound },
      })
    } finally {
      file?.close()
      rmSync(dir, { recursive: true, force: true })
    }
  }
  return ways
}

const results: Result[] = []
for (const records of options.quick ? [1] : [1, 64]) results.push(...(await measure(records)))
report('audit', results, options)
