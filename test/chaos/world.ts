/**
 * A cluster of real processes that can be hurt: four accounting nodes, a Redis with an append-only file, three members of etcd as
 * head register, or a SQLite file as that. Nothing in it knows that it is being hurt.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex } from '@healthblock/encoding/bytes'
import { EtcdClient, etcdBytes, etcdRangeEnd } from '@healthblock/runtime/etcd'
import { createCluster } from '../../cli/src/cluster/create.ts'
import { enrolReaders } from '../../cli/src/cluster/enrol.ts'
import { etcdUrls, startEtcdMember } from '../../cli/src/cluster/etcd.ts'
import { type ClusterFile, clusterPaths, writeCluster } from '../../cli/src/cluster/layout.ts'
import { askProcess, readProcess, stopProcess } from '../../cli/src/cluster/processes.ts'
import { startCluster, startNode, stopCluster } from '../../cli/src/cluster/start.ts'
import type { Io } from '../../cli/src/io.ts'
import { main } from '../../cli/src/main.ts'
import { etcdInstalled } from '../support/etcd.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'
import { createTally, type Organisation, type SenderOptions } from './senders.ts'

/** Accounting nodes of the world; three of them decide. */
export const nodeCount = 4
const recoveryTimeoutMs = 180_000

/** What keeps the head register of a world. */
export type Register = 'etcd' | 'sqlite'

/** What a node says of Userchain. */
export interface Head {
  readonly height: number
  readonly size: number
  readonly root: string
  readonly term: number
  readonly leader: number
}

/** What `audit --json` found. */
export interface Audit {
  readonly ok: boolean
  readonly transactions: number
  readonly findings: readonly { code: string; message: string; node: string | null }[]
}

/** How often a world is looked at: looking costs the nodes time too. */
const lookEveryMs = 150

/** Asks again until `find` gives a value; throws after `timeoutMs`. */
async function eventually<T>(
  what: string,
  timeoutMs: number,
  find: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await find()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${timeoutMs} ms`)
    await delay(lookEveryMs)
  }
}

function silentIo(output: string[], errors: string[]): Io {
  return {
    stdin: (async function* () {})(),
    stdout: (text) => void output.push(text),
    stderr: (text) => void errors.push(text),
    interactive: false,
  }
}

/** The cluster, and hands to hurt it with. */
export class World {
  readonly root: string
  readonly dir: string
  readonly cluster: ClusterFile
  readonly redis: TestRedis
  readonly ledgerId: Uint8Array
  readonly organisations: readonly Organisation[]
  readonly urls: readonly string[]
  readonly tally = createTally()
  #auditRuns = 0

  private constructor(root: string, cluster: ClusterFile, redis: TestRedis) {
    this.root = root
    this.dir = join(root, 'cluster')
    this.cluster = cluster
    this.redis = redis
    const genesis = parseGenesis(readFileSync(clusterPaths.genesis(this.dir)))
    this.ledgerId = genesis.ledgerId
    this.organisations = genesisAccounts(genesis).organisations.map((account, rank) => ({
      account,
      op: this.#opKey(rank),
    }))
    this.urls = Array.from({ length: nodeCount }, (_, rank) => readProcess(this.folder(rank)).url as string)
  }

  /**
   * Makes and starts a world; its folder is in the system's temporary folder.
   *
   * @param register - by default etcd where it is installed, else a SQLite file.
   */
  static async start(register: Register = etcdInstalled ? 'etcd' : 'sqlite'): Promise<World> {
    const root = mkdtempSync(join(tmpdir(), 'healthblock-chaos-'))
    const redis = await startTestRedis({ appendOnly: true })
    process.env.REDIS_URL = redis.url
    const size = { accounting: nodeCount, storage: 1, replicas: 1, doctors: 0, patients: [], periodMs: 10_000 }
    const dir = join(root, 'cluster')
    const planned = await createCluster(dir, { ...size, etcdMembers: register === 'etcd' ? 3 : 0 }, Date.now())
    const cluster = { ...planned, nodes: planned.nodes.filter(({ role }) => role === 'accounting') }
    await writeCluster(dir, cluster)
    try {
      await startCluster(dir, cluster, silentIo([], []))
      await enrolReaders(dir)
    } catch (error) {
      await stopCluster(dir, cluster)
      await redis.stop()
      throw error
    }
    return new World(root, cluster, redis)
  }

  /** Stops everything and removes the folder. */
  async remove(): Promise<void> {
    for (let rank = 0; rank < nodeCount; rank++) this.signal(rank, 'SIGCONT')
    await stopCluster(this.dir, this.cluster)
    await this.redis.stop()
    delete process.env.REDIS_URL
    rmSync(this.root, { recursive: true, force: true })
  }

  #opKey(rank: number): SigningKey {
    const file = join(this.folder(rank), 'secrets', 'organisation-op.key')
    return signingKeyFromSeed(fromHex(readFileSync(file, 'utf8').trim()))
  }

  /** Options of senders of one organisation. */
  senderOptions(organisation = 0): SenderOptions {
    const { ledgerId, urls, tally } = this
    return { ledgerId, urls, tally, organisation: this.organisations[organisation] as Organisation }
  }

  folder(rank: number): string {
    return clusterPaths.node(this.dir, `accounting-${rank}`)
  }

  /** What a node has logged so far. */
  logOf(rank: number): string {
    return ['log.1', 'log']
      .map((name) => join(this.folder(rank), name))
      .map((path) => (existsSync(path) ? readFileSync(path, 'utf8') : ''))
      .join('')
  }

  /** Resident memory of a node in MB; 0 if it does not run. */
  residentMb(rank: number): number {
    const { pid } = readProcess(this.folder(rank))
    if (pid === undefined) return 0
    const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return Math.round(Number(line?.[1] ?? 0) / 1024)
  }

  async headOf(rank: number): Promise<Head | undefined> {
    try {
      const signal = AbortSignal.timeout(3_000)
      const response = await fetch(`${this.urls[rank]}/v1/userchain/head`, { signal })
      return response.ok ? ((await response.json()) as Head) : undefined
    } catch {
      return undefined
    }
  }

  /** The rank that leads Userchain, as most recently known by any node. */
  async leader(): Promise<number> {
    return eventually('a leader', recoveryTimeoutMs, async () => {
      const heads = await Promise.all(this.urls.map((_, rank) => this.headOf(rank)))
      const known = heads.flatMap((head) => (head?.leader === undefined ? [] : [head]))
      return known.sort((a, b) => b.term - a.term)[0]?.leader
    })
  }

  /** The highest height that a node tells. */
  async height(): Promise<number> {
    const heads = await Promise.all(this.urls.map((_, rank) => this.headOf(rank)))
    return Math.max(0, ...heads.map((head) => head?.height ?? 0))
  }

  /** Resolves when `count` more blocks were decided. */
  async blocks(count: number): Promise<void> {
    const from = await this.height()
    // Each has its time: how many a machine makes in a minute says nothing about recovery.
    for (let next = 1; next <= count; next++) {
      await eventually(
        `block ${next} of ${count}`,
        recoveryTimeoutMs,
        async () => (await this.height()) >= from + next || undefined,
      )
    }
  }

  /** Which checks of a node's readiness fail, and why; undefined if it is ready. */
  async faultOf(rank: number): Promise<string | undefined> {
    // A stranger who took the port of a dead node is no answer.
    const answer = await askProcess(readProcess(this.folder(rank)), '/readyz')
    if (answer === undefined) return 'no answer'
    return answer.isWell ? undefined : answer.reasons.join('; ') || 'not ready, without a reason'
  }

  /** Resolves when a node says that it is ready. */
  async takesPart(rank: number): Promise<void> {
    await eventually(`readiness of node ${rank}`, 600_000, async () =>
      (await this.faultOf(rank)) === undefined ? true : undefined,
    )
  }

  /** Makes a node the leader: whoever leads instead stands still until it is replaced. */
  async lead(rank: number): Promise<void> {
    await eventually(`leadership of node ${rank}`, recoveryTimeoutMs, async () => {
      const leader = await this.leader()
      if (leader === rank) return true
      this.signal(leader, 'SIGSTOP')
      await eventually('another leader', recoveryTimeoutMs, async () =>
        (await this.leader()) !== leader ? true : undefined,
      )
      this.signal(leader, 'SIGCONT')
      return undefined
    })
  }

  /** Sends a signal to a node, if it runs. */
  signal(rank: number, signal: NodeJS.Signals): void {
    const { pid } = readProcess(this.folder(rank))
    if (pid !== undefined) process.kill(pid, signal)
  }

  /** Ends a node as a loss of power does; returns when it is gone. */
  async kill(rank: number): Promise<void> {
    this.signal(rank, 'SIGKILL')
    await eventually(`the end of node ${rank}`, recoveryTimeoutMs, () =>
      readProcess(this.folder(rank)).pid === undefined ? true : undefined,
    )
  }

  /** Ends a node in order. */
  async stop(rank: number): Promise<void> {
    await stopProcess(this.folder(rank))
  }

  /** Starts a node where it was. */
  async launch(rank: number, environment: Record<string, string> = {}): Promise<void> {
    await startNode(this.dir, this.cluster, `accounting-${rank}`, environment)
  }

  /** A copy of a node's folder, as a backup has it. The node does not run. */
  copyFolder(rank: number): string {
    const copy = join(this.root, `copy-${rank}`)
    rmSync(copy, { recursive: true, force: true })
    cpSync(this.folder(rank), copy, { recursive: true })
    return copy
  }

  /** Puts the copy in the place of the folder. The node does not run. */
  restoreFolder(rank: number, copy: string): void {
    rmSync(this.folder(rank), { recursive: true, force: true })
    cpSync(copy, this.folder(rank), { recursive: true })
  }

  get register(): Register {
    return (this.cluster.etcdMembers ?? 0) > 0 ? 'etcd' : 'sqlite'
  }

  #etcd(): EtcdClient {
    const file = join(clusterPaths.secrets(this.dir), 'etcd-root.password')
    const credentials = { user: 'root', password: readFileSync(file, 'utf8').trim() }
    return new EtcdClient({ endpoints: etcdUrls(this.dir, this.cluster), credentials, timeoutMs: 5_000 })
  }

  /** Loses Userchain's value of the head register right after the next block was decided. */
  async loseRegister(): Promise<void> {
    if (this.register === 'etcd') await this.#loseAtEtcd()
    else await this.#loseInFile()
  }

  async #loseAtEtcd(): Promise<void> {
    const client = this.#etcd()
    const prefix = `/healthblock/${this.cluster.ledgerId}/userchain`
    const key = etcdBytes(prefix)
    const revision = async (): Promise<string | undefined> => {
      const answer = await client.call('/v3/kv/range', { key }, { repeatable: true })
      return (answer.kvs as { mod_revision: string }[] | undefined)?.[0]?.mod_revision
    }
    const before = await revision()
    const deadline = Date.now() + recoveryTimeoutMs
    while ((await revision()) === before) if (Date.now() > deadline) throw new Error('no block was decided')
    await client.call('/v3/kv/deleterange', { key, range_end: etcdRangeEnd(prefix) }, { repeatable: true })
    client.close()
  }

  async #loseInFile(): Promise<void> {
    const database = new DatabaseSync(clusterPaths.register(this.dir), { timeout: 5_000 })
    const read = database.prepare("SELECT value FROM head WHERE chain = 'userchain'")
    const value = (): string => Buffer.from((read.get()?.value as Uint8Array) ?? []).toString('hex')
    const before = value()
    while (value() === before) await delay(1)
    database.exec("DELETE FROM head WHERE chain = 'userchain'")
    database.close()
  }

  /** Removes the register's file as `rm` does, whoever has it open; with `logsToo` also SQLite's files beside it. */
  removeRegisterFile({ logsToo }: { logsToo: boolean }): void {
    const path = clusterPaths.register(this.dir)
    for (const ending of logsToo ? ['', '-wal', '-shm'] : ['']) rmSync(`${path}${ending}`, { force: true })
  }

  /** Ends a member of etcd at once, or stops and continues it. */
  async signalEtcd(member: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    const folder = clusterPaths.etcdMember(this.dir, member)
    const { pid } = readProcess(folder)
    if (pid === undefined) return
    process.kill(pid, signal)
    if (signal !== 'SIGKILL') return
    await eventually(`the end of etcd-${member}`, recoveryTimeoutMs, () =>
      readProcess(folder).pid === undefined ? true : undefined,
    )
  }

  async launchEtcd(member: number): Promise<void> {
    await startEtcdMember(this.dir, this.cluster, member)
  }

  /** Resolves when all nodes say that they are ready and stand at one published head; answers how long it took, ms. */
  async recovered(): Promise<number> {
    const begunMs = performance.now()
    let faults: (string | undefined)[] = []
    const isWhole = async (): Promise<true | undefined> => {
      faults = await Promise.all(this.urls.map((_, rank) => this.faultOf(rank)))
      const heads = await Promise.all(this.urls.map((_, rank) => this.headOf(rank)))
      const same = heads.every((head) => head !== undefined && head.root === heads[0]?.root)
      return same && faults.every((fault) => fault === undefined) ? true : undefined
    }
    try {
      await eventually('recovery', recoveryTimeoutMs, isWhole)
    } catch (error) {
      throw new Error(`the nodes do not recover: ${faults.map((fault, rank) => `${rank}: ${fault}`).join('; ')}`, {
        cause: error,
      })
    }
    return performance.now() - begunMs
  }

  /** Runs `healthblock audit`. What was replayed is kept between audits; `whole` begins with nothing. */
  async audit(options: { whole: boolean }): Promise<Audit> {
    const output: string[] = []
    const errors: string[] = []
    const work = join(this.root, options.whole ? `audit-${++this.#auditRuns}` : 'audit')
    await main(['audit', '--dir', this.dir, '--work', work, '--json'], silentIo(output, errors))
    const text = output.join('')
    if (text === '') throw new Error(`the audit printed nothing: ${errors.join('')}`)
    const report = JSON.parse(text) as Audit
    if (report.findings === undefined) throw new Error(`the audit failed: ${text}`)
    return report
  }
}
