/** A local cluster of real processes for end-to-end tests: made in a temporary folder, spoken to through the command line. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { type ClusterSize, createCluster } from '../../cli/src/cluster/create.ts'
import { findProgram } from '../../cli/src/cluster/install.ts'
import { type ClusterFile, clusterPaths, readCluster } from '../../cli/src/cluster/layout.ts'
import { readProcess } from '../../cli/src/cluster/processes.ts'
import { startCluster, startNode, stopCluster } from '../../cli/src/cluster/start.ts'
import { enrolEverybody } from '../../cli/src/commands/up.ts'
import type { Io } from '../../cli/src/io.ts'
import { main } from '../../cli/src/main.ts'

/** True where a private Redis can be started. */
export const hasRedis = (process.env.REDIS_URL ?? '') !== '' || findProgram('redis-server') !== undefined

/**
 * What takes longer hangs. A limit judges no speed: a machine may be slow, and one that is shared may starve a process for seconds.
 */
export const hangMs = 240_000
/** A test of several waits, each bounded by {@link hangMs}, that takes longer has come to no end. */
export const storyMs = 600_000

/** What a command printed and how it ended. */
export interface Outcome<T> {
  readonly code: number
  readonly value: T
  readonly stderr: string
}

/** Folders of clusters that may have processes. */
const running = new Set<string>()

/** A test that timed out leaves nobody to remove its cluster: its processes end with the worker. */
process.once('exit', () => {
  for (const dir of running) {
    for (const name of readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    )) {
      const { pid } = readProcess(join(dir, name))
      if (pid !== undefined) process.kill(pid, 'SIGTERM')
    }
  }
})

/** A running cluster. */
export class TestCluster {
  readonly root: string
  readonly dir: string

  private constructor(root: string, dir = join(root, 'cluster')) {
    this.root = root
    this.dir = dir
  }

  /** A cluster whose folder was made by something else, and is removed with it. */
  static at(dir: string): TestCluster {
    return new TestCluster(dir, dir)
  }

  /** Makes, starts and enrols a cluster. `prepare` is called when its folder is there and nothing runs yet. */
  static async start(
    size: Pick<ClusterSize, 'doctors' | 'patients'> & Partial<ClusterSize>,
    prepare: (cluster: TestCluster) => void = () => {},
  ): Promise<TestCluster> {
    const cluster = new TestCluster(mkdtempSync(join(tmpdir(), 'healthblock-e2e-')))
    const plan = { accounting: 4, storage: 3, replicas: 3, periodMs: 10_000, ...size }
    const file = await createCluster(cluster.dir, plan, Date.now())
    prepare(cluster)
    running.add(cluster.dir)
    try {
      await startCluster(cluster.dir, file, cluster.#io([]))
      await enrolEverybody(cluster.dir, file, size.patients, cluster.#io([]))
    } catch (error) {
      await cluster.remove()
      throw error
    }
    return cluster
  }

  #io(output: string[], errors: string[] = [], input = ''): Io {
    return {
      stdin: (async function* () {
        if (input !== '') yield Buffer.from(input)
      })(),
      stdout: (text) => void output.push(text),
      stderr: (text) => void errors.push(text),
      interactive: false,
    }
  }

  /** Runs `healthblock ARGS --dir … --json` and parses what it printed. */
  async run<T = unknown>(...args: string[]): Promise<Outcome<T>> {
    return this.fed('', ...args)
  }

  /** As `run`, with something on standard input. */
  async fed<T = unknown>(input: string, ...args: string[]): Promise<Outcome<T>> {
    const output: string[] = []
    const errors: string[] = []
    const code = await main([...args, '--dir', this.dir, '--json'], this.#io(output, errors, input))
    const text = output.join('')
    return { code, value: (text === '' ? undefined : JSON.parse(text)) as T, stderr: errors.join('') }
  }

  /** As `run`, for a command that must succeed. */
  async ok<T = unknown>(...args: string[]): Promise<T> {
    const { code, value, stderr } = await this.run<T>(...args)
    if (code !== 0) throw new Error(`healthblock ${args.join(' ')} ended with ${code}: ${stderr}`)
    return value
  }

  /** What a command that must succeed says to people. */
  async words(...args: string[]): Promise<string> {
    const output: string[] = []
    const errors: string[] = []
    const code = await main([...args, '--dir', this.dir], this.#io(output, errors))
    if (code !== 0) throw new Error(`healthblock ${args.join(' ')} ended with ${code}: ${errors.join('')}`)
    return output.join('')
  }

  get file(): ClusterFile {
    return readCluster(this.dir)
  }

  /** Folder of a node. */
  node(name: string): string {
    return clusterPaths.node(this.dir, name)
  }

  /** What logs a person in on the page of her node. */
  passphrase(name: string): string {
    return readFileSync(clusterPaths.passphrase(this.dir, name), 'utf8').trim()
  }

  url(name: string): string {
    const { url } = readProcess(this.node(name))
    if (url === undefined) throw new Error(`${name} does not run`)
    return url
  }

  /** Ends a process at once, as a loss of power does to it; returns when it is gone. */
  async kill(name: string): Promise<void> {
    const { pid } = readProcess(this.node(name))
    if (pid === undefined) throw new Error(`${name} does not run`)
    process.kill(pid, 'SIGKILL')
    await eventually(`the end of ${name}`, () => (readProcess(this.node(name)).pid === undefined ? true : undefined))
  }

  /** Waits until a doctor's node has read and judged what is on record, and all that it posted is answered: no alarm comes of it any more. */
  async judged(doctor: string): Promise<void> {
    let before = -1
    await eventually(`the end of what ${doctor} has to judge`, async () => {
      const { docchain, pending } = await callNode<{ docchain: number; pending: number }>(
        ...([nodeAccess(this.dir, this.file, doctor), 'POST', '/v1/catch-up', { timeoutMs: 50_000 }] as const),
      )
      // A diagnosis that came on record meanwhile may have another one follow.
      const isOver = pending === 0 && docchain === before
      before = docchain
      return isOver ? true : undefined
    })
  }

  /** Starts a node again where it was. */
  async restart(name: string, environment: Record<string, string> = {}): Promise<void> {
    await startNode(this.dir, this.file, name, environment)
  }

  /** Copies the folder of a node that runs, as it is at one moment: the node stands still meanwhile. */
  copyFolder(name: string, to: string): void {
    const { pid } = readProcess(this.node(name))
    if (pid === undefined) throw new Error(`${name} does not run`)
    process.kill(pid, 'SIGSTOP')
    try {
      cpSync(this.node(name), to, { recursive: true })
    } finally {
      process.kill(pid, 'SIGCONT')
    }
  }

  /** Runs `act` while a node stands still: whoever asks it is connected, and hears nothing. */
  async whileStopped(name: string, act: () => Promise<void>): Promise<void> {
    const { pid } = readProcess(this.node(name))
    if (pid === undefined) throw new Error(`${name} does not run`)
    process.kill(pid, 'SIGSTOP')
    try {
      await act()
    } finally {
      process.kill(pid, 'SIGCONT')
    }
  }

  /** Starts again what was killed and not restarted: what a test that failed in between leaves to the next one. */
  async makeWhole(): Promise<void> {
    for (const { name } of this.file.nodes) if (readProcess(this.node(name)).pid === undefined) await this.restart(name)
  }

  /** Stops everything and removes the folder. */
  async remove(): Promise<void> {
    await stopCluster(this.dir, this.file)
    running.delete(this.dir)
    rmSync(this.root, { recursive: true, force: true })
  }

  /** Stops everything; the data stays. */
  async down(): Promise<void> {
    await stopCluster(this.dir, this.file)
  }

  /** Starts everything again. */
  async up(): Promise<void> {
    await startCluster(this.dir, this.file, this.#io([]))
  }
}

/** Asks again until `find` gives a value; throws after {@link hangMs}. */
export async function eventually<T>(what: string, find: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = performance.now() + hangMs
  for (;;) {
    const found = await find()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${hangMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
