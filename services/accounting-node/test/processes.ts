/** A ledger whose nodes are real processes on loopback, with a real Redis: for tests and measurements of this service. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { toHex } from '@healthblock/encoding/bytes'
import { findFreePort } from '@healthblock/runtime/ports'
import { startTestRedis, type TestRedis } from '../../../test/support/redis.ts'
import { type SampleLedger, sampleLedger } from '../../../test/support/sample-ledger.ts'

const main = new URL('../src/main.ts', import.meta.url).pathname

/** Shared by all nodes of all tests: the translation of the sources is not what they are about. */
const compileCache = new URL('../../../.cache/compile', import.meta.url).pathname

/** One node's process. */
export interface NodeProcess {
  readonly rank: number
  readonly dir: string
  readonly url: string
  child: ChildProcess | undefined
}

/** Bearer of administrators in these clusters. */
export const adminSecret = 'a'.repeat(64)

function writeSecrets(ledger: SampleLedger, rank: number, dir: string): void {
  mkdirSync(join(dir, 'secrets'), { recursive: true, mode: 0o700 })
  const keys = ledger.nodes[rank] as SampleLedger['nodes'][number]
  const files = {
    'node.key': keys.node,
    'userchain-log.key': keys.userchain.log,
    'userchain-cosigner.key': keys.userchain.cosigner,
    'docchain-log.key': keys.docchain.log,
    'docchain-cosigner.key': keys.docchain.cosigner,
    'organisation-op.key': ledger.organisation.op,
  }
  for (const [name, key] of Object.entries(files)) {
    writeFileSync(join(dir, 'secrets', name), `${toHex(key.exportSeed())}\n`, { mode: 0o600 })
  }
  writeFileSync(join(dir, 'secrets', 'admin.secret'), `${adminSecret}\n`, { mode: 0o600 })
}

/** Nodes as processes. */
export class ProcessCluster {
  readonly dir: string
  readonly ledger: SampleLedger
  readonly redis: TestRedis
  readonly nodes: readonly NodeProcess[]
  readonly #env: NodeJS.ProcessEnv

  private constructor(
    dir: string,
    ledger: SampleLedger,
    redis: TestRedis,
    ports: readonly number[],
    env: NodeJS.ProcessEnv,
  ) {
    this.dir = dir
    this.ledger = ledger
    this.redis = redis
    this.#env = env
    this.nodes = ports.map((port, rank) => ({
      rank,
      dir: join(dir, `accounting-${rank}`),
      url: `http://127.0.0.1:${port}`,
      child: undefined,
    }))
  }

  /** Makes a ledger and starts its nodes; resolves when all are ready. */
  static async start(options: { n: number; q: number; env?: NodeJS.ProcessEnv }): Promise<ProcessCluster> {
    const dir = mkdtempSync(join(tmpdir(), 'healthblock-accounting-'))
    const ledger = sampleLedger({ n: options.n, q: options.q, startMs: Date.now() - 1_000 })
    writeFileSync(join(dir, 'genesis.cbor'), ledger.genesis)
    const redis = await startTestRedis()
    const ports: number[] = []
    for (let rank = 0; rank < options.n; rank++) {
      writeSecrets(ledger, rank, join(dir, `accounting-${rank}`))
      ports.push(await findFreePort())
    }
    const cluster = new ProcessCluster(dir, ledger, redis, ports, options.env ?? {})
    const peers = cluster.nodes.map(({ rank, url }) => ({ rank, url }))
    writeFileSync(join(dir, 'peers.json'), JSON.stringify(peers))
    try {
      for (const { rank } of cluster.nodes) cluster.launch(rank)
      for (const { rank } of cluster.nodes) await cluster.ready(rank)
      return cluster
    } catch (error) {
      await cluster.stop()
      throw error
    }
  }

  /** Starts a node's process; `env` is added to what all nodes have. */
  launch(rank: number, env: NodeJS.ProcessEnv = {}): void {
    const node = this.nodes[rank] as NodeProcess
    const log = openSync(join(node.dir, 'log'), 'a')
    node.child = spawn(process.execPath, [main, node.dir], {
      stdio: ['ignore', log, log],
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: compileCache,
        ACCOUNTING_DIR: node.dir,
        ACCOUNTING_PORT: new URL(node.url).port,
        ACCOUNTING_RANK: String(rank),
        ACCOUNTING_GENESIS_FILE: join(this.dir, 'genesis.cbor'),
        ACCOUNTING_PEERS_FILE: join(this.dir, 'peers.json'),
        ACCOUNTING_REGISTER: `sqlite:${join(this.dir, 'register.db')}`,
        ACCOUNTING_QUEUE_PREFIX: 'hb-test',
        REDIS_URL: this.redis.url,
        ...this.#env,
        ...env,
      },
    })
  }

  /** Resolves when a node says that it is ready. */
  async ready(rank: number, path = '/readyz'): Promise<void> {
    const node = this.nodes[rank] as NodeProcess
    const deadline = Date.now() + 180_000
    while (Date.now() < deadline) {
      if (node.child?.exitCode !== null) break
      try {
        const response = await fetch(`${node.url}${path}`, { signal: AbortSignal.timeout(2_000) })
        await response.arrayBuffer()
        if (response.ok) return
      } catch {
        // Not yet.
      }
      await delay(50)
    }
    throw new Error(
      `node ${rank} is not ready (${node.child?.exitCode}, ${node.child?.signalCode}):\n${this.logOf(rank).split('\n').slice(-15).join('\n')}`,
    )
  }

  /** What a node logged. */
  logOf(rank: number): string {
    const path = join((this.nodes[rank] as NodeProcess).dir, 'log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  /** Ends a node's process by a signal; resolves with its exit code when it is gone. */
  async end(rank: number, signal: NodeJS.Signals): Promise<number | null> {
    const node = this.nodes[rank] as NodeProcess
    const { child } = node
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const gone = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    child.kill(signal)
    return gone
  }

  /** Ends everything and removes the files. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ rank }) => this.end(rank, 'SIGKILL')))
    await this.redis.stop()
    rmSync(this.dir, { recursive: true, force: true })
  }
}
