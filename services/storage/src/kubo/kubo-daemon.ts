/**
 * Starts a Kubo daemon in a repository of its own, watches over it, and starts it again when it ends: at once, then
 * after growing pauses. It is ended by its process id, and ends with this process.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ensureFolder } from '@healthblock/runtime/files'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { StorageError } from '../errors.ts'
import type { SwarmPeer } from '../swarm/swarm.ts'
import { KuboClient } from './kubo-client.ts'
import { kuboConfig, kuboLimits } from './kubo-config.ts'

const startTimeoutMs = 60_000
/** What is Kubo says so within this time, on a busy machine too. */
const versionTimeoutMs = 20_000
const stopTimeoutMs = 15_000
const pollMs = 20
const pauseMsMin = 250
const pauseMsMax = 30_000
/** A daemon that ran so long has earned an immediate restart. */
const healthyMs = 60_000

/** Settings of {@link KuboDaemon}. */
export interface KuboDaemonOptions {
  readonly binary: string
  /** Its repository; made if it is missing. */
  readonly dir: string
  readonly identitySeed: Uint8Array
  readonly swarmKey: Uint8Array
  readonly host: string
  readonly port: number
  /** Called after each restart that was not asked for. */
  readonly onRestart: () => void
}

/**
 * Asks a program whether it is Kubo: whatever else it is must not be waited for.
 *
 * @returns its version.
 * @throws {StorageError} `ERR_KUBO_FAILED` with the path and what is wrong.
 */
export async function kuboVersionOf(binary: string): Promise<string> {
  let said: string
  try {
    const options = { timeout: versionTimeoutMs, killSignal: 'SIGKILL', env: environmentOf('/') } as const
    said = (await promisify(execFile)(binary, ['version', '--number'], options)).stdout.trim()
  } catch (cause) {
    throw failed(`${binary} cannot be run: ${(cause as Error).message.split('\n')[0]}`)
  }
  if (/^\d+\.\d+\.\d+/.test(said)) return said
  throw failed(`${binary} is not Kubo: it says ${JSON.stringify(said.slice(0, 60))} for its version`)
}

/** One supervised daemon. */
export class KuboDaemon {
  readonly #options: KuboDaemonOptions
  readonly #token = randomBytes(24).toString('hex')
  #peers: readonly SwarmPeer[] = []
  #child: ChildProcess | undefined
  #client: KuboClient | undefined
  #stopped = false
  #pauseMs = 0
  #port: number

  constructor(options: KuboDaemonOptions) {
    this.#options = options
    this.#port = options.port
  }

  /** Speaks to the daemon that runs now. @throws {StorageError} `ERR_KUBO_FAILED` while none does. */
  get client(): KuboClient {
    if (this.#client) return this.#client
    const reason = 'the Kubo daemon is not running'
    throw new StorageError(reason, { code: 'ERR_KUBO_FAILED', reason })
  }

  /** The daemon's process, for whoever looks at its memory. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** The port that it got is kept over restarts: others have been told of it. */
  keepPort(port: number): void {
    this.#port = port
  }

  /** Starts it and resolves when it answers. @throws {StorageError} `ERR_KUBO_FAILED` with what it printed last. */
  async start(peers: readonly SwarmPeer[]): Promise<void> {
    await kuboVersionOf(this.#options.binary)
    this.#peers = peers
    await this.#prepare()
    await this.#launch()
  }

  /** Starts it again with another list of peers, who alone may connect. */
  async restart(peers: readonly SwarmPeer[]): Promise<void> {
    const child = this.#child
    this.#child = undefined
    await end(child)
    await this.start(peers)
  }

  /** Ends it. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#client?.close()
    await end(this.#child)
  }

  async #prepare(): Promise<void> {
    const { dir, binary, identitySeed, swarmKey, host } = this.#options
    const port = this.#port
    ensureFolder(dir)
    if (!existsSync(join(dir, 'version'))) {
      const made = spawn(binary, ['init', '--empty-repo'], { env: environmentOf(dir), stdio: 'ignore' })
      const [code] = await once(made, 'exit')
      if (code !== 0) throw failed(`ipfs init ended with ${code}`)
      // The store that `init` made is of the default kind; ours is made at the first start.
      for (const name of ['blocks', 'datastore', 'datastore_spec'])
        rmSync(join(dir, name), { recursive: true, force: true })
      const spec =
        '{"mounts":[{"mountpoint":"/blocks","path":"blocks","shardFunc":"/repo/flatfs/shard/v1/next-to-last/2","type":"flatfs"},{"mountpoint":"/","path":"datastore","type":"levelds"}],"type":"mount"}'
      writeFileSync(join(dir, 'datastore_spec'), spec)
    }
    const key = await generateKeyPairFromSeed('Ed25519', identitySeed)
    const config = kuboConfig({ key, host, port, token: this.#token, peers: this.#peers })
    const swarmText = `/key/swarm/psk/1.0.0/\n/base16/\n${Buffer.from(swarmKey).toString('hex')}\n`
    for (const [name, text] of [
      ['config', JSON.stringify(config, null, 2)],
      ['swarm.key', swarmText],
      ['libp2p-resource-limit-overrides.json', JSON.stringify(kuboLimits)],
    ] as const) {
      writeFileSync(join(dir, name), text, { mode: 0o600 })
    }
  }

  async #launch(): Promise<void> {
    const { dir, binary } = this.#options
    rmSync(join(dir, 'api'), { force: true })
    const child = spawn(binary, ['daemon', '--migrate=false'], {
      env: { ...environmentOf(dir), LIBP2P_FORCE_PNET: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    // A program that cannot be started has no exit: the loop below sees the missing process.
    child.once('error', () => {})
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        said = (said + String(chunk)).slice(-2000)
      })
    }
    const startedAt = Date.now()
    child.once('exit', () => this.#onExit(child, startedAt))
    while (Date.now() - startedAt < startTimeoutMs) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
        throw failed(`the Kubo daemon ended: ${said.trim()}`)
      const url = apiUrl(dir)
      if (url !== undefined) {
        const client = new KuboClient(url, this.#token)
        try {
          await client.call('version')
          this.#client?.close()
          this.#client = client
          return
        } catch {
          client.close()
        }
      }
      await delay(pollMs)
    }
    child.kill('SIGKILL')
    throw failed('the Kubo daemon did not answer in time')
  }

  #onExit(child: ChildProcess, startedAt: number): void {
    if (this.#stopped || this.#child !== child) return
    this.#client?.close()
    this.#client = undefined
    this.#pauseMs =
      Date.now() - startedAt > healthyMs ? 0 : Math.min(pauseMsMax, Math.max(pauseMsMin, this.#pauseMs * 2))
    const timer = setTimeout(() => {
      if (this.#stopped || this.#child !== child) return
      // A daemon that does not start comes back here, through its own exit.
      this.#launch().then(
        () => this.#options.onRestart(),
        () => {},
      )
    }, this.#pauseMs)
    timer.unref()
  }
}

function environmentOf(dir: string): Record<string, string> {
  return { PATH: '/usr/bin:/bin', HOME: dir, IPFS_PATH: dir, IPFS_TELEMETRY: 'off', GOLOG_LOG_LEVEL: 'error' }
}

/** The RPC's address as the daemon writes it down: `/ip4/127.0.0.1/tcp/<port>`. */
function apiUrl(dir: string): string | undefined {
  try {
    const port = /\/tcp\/(\d+)$/.exec(readFileSync(join(dir, 'api'), 'utf8').trim())?.[1]
    return port === undefined ? undefined : `http://127.0.0.1:${port}`
  } catch {
    return undefined
  }
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  await exited
  clearTimeout(timer)
}

function failed(reason: string): StorageError {
  return new StorageError(reason, { code: 'ERR_KUBO_FAILED', reason })
}
