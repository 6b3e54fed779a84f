/**
 * A private IPFS network without a ledger: members and hashes of tokens are files of one folder. Everything that is
 * missing is made, nothing that is there is changed, and the nodes run until the command is interrupted.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { lockFolder, writeSecretFile } from '@healthblock/runtime/files'
import { projectRoot } from '../cluster/root.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseCount } from '../options.ts'

const execute = promisify(execFile)
const service = join(projectRoot, 'services', 'storage', 'src')
const startTimeoutMs = 60_000
/** Kubo daemons take 10 s. */
const connectTimeoutMs = 30_000
/** How long a node that has ended is left before it is started again. */
const pauseMsMin = 1000
const pauseMsMax = 60_000
/** Between a node's RPC port and its swarm port. */
const swarmPortStep = 1000

/** What may be asked for. */
export interface ServeOptions {
  readonly dir: string
  readonly nodes: string | undefined
  readonly port: string | undefined
  readonly backend: string | undefined
  /** R; by default 3, or as many as there are nodes. */
  readonly replicas?: string | undefined
  readonly json: boolean
}

interface NodePlan {
  readonly name: string
  readonly folder: string
  readonly account: string
  readonly storeKey: string
  readonly peerId: string
  readonly rpcPort: number
}

/** What the process said that was to make a node's keys. */
function keysFault(error: unknown): string {
  const { stderr = '' } = error as { stderr?: string }
  return stderr.trim() === '' ? messageOf(error) : stderr.trim()
}

/** Keys of a node, made once. */
async function planNode(dir: string, index: number, port: number): Promise<NodePlan> {
  const name = `node-${index + 1}`
  const folder = join(dir, name)
  const about = join(folder, 'identity.json')
  if (!existsSync(about)) {
    const args = [join(service, 'create-keys.ts'), join(folder, 'keys')]
    const { stdout } = await execute(process.execPath, args).catch((error: unknown) => {
      throw new CommandError(`${name} has no keys: ${keysFault(error)}`)
    })
    writeSecretFile(about, `${JSON.stringify({ ...JSON.parse(stdout), account: toHex(randomBytes(32)) })}\n`)
  }
  const identity = JSON.parse(readFileSync(about, 'utf8')) as { storeKey: string; peerId: string; account: string }
  return { name, folder, ...identity, rpcPort: port + index }
}

/** The files that all nodes share; the token in the clear is for whoever owns the folder. */
function prepareShared(dir: string, nodes: readonly NodePlan[]): void {
  const ledger = join(dir, 'network.id')
  if (!existsSync(ledger)) writeSecretFile(ledger, toHex(randomBytes(32)))
  const swarmKey = join(dir, 'swarm.key')
  if (!existsSync(swarmKey)) writeSecretFile(swarmKey, `/key/swarm/psk/1.0.0/\n/base16/\n${toHex(randomBytes(32))}\n`)
  const token = join(dir, 'token')
  if (!existsSync(token)) writeSecretFile(token, randomBytes(32).toString('base64url'))
  const tokens = join(dir, 'tokens.json')
  if (!existsSync(tokens)) {
    const sha256 = createHash('sha256').update(readFileSync(token, 'utf8').trim()).digest('hex')
    writeSecretFile(tokens, `${JSON.stringify({ tokens: [{ account: toHex(randomBytes(32)), sha256 }] }, null, 2)}\n`)
  }
  const members = nodes.map(({ account, storeKey, peerId, rpcPort }) => ({
    ...{ account, storeKey, peerId },
    url: `http://127.0.0.1:${rpcPort}`,
    addresses: [`/ip4/127.0.0.1/tcp/${rpcPort + swarmPortStep}`],
  }))
  const list = { ledgerId: readFileSync(ledger, 'utf8').trim(), members }
  writeSecretFile(join(dir, 'members.json'), `${JSON.stringify(list, null, 2)}\n`)
}

/** A process that could not be started says so on stderr, and is one that has ended. */
function start(
  dir: string,
  node: NodePlan,
  options: { replicas: number; backend: string | undefined; io: Io },
): ChildProcess {
  const key = (name: string): string => join(node.folder, 'keys', `${name}.key`)
  const child = spawn(process.execPath, [join(service, 'main.ts')], {
    // What a node has to say goes to stderr: stdout is for who asked for the network.
    stdio: ['ignore', 2, 'inherit'],
    env: {
      PATH: process.env.PATH ?? '',
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(projectRoot, '.cache', 'compile'),
      STORAGE_DIR: join(node.folder, 'data'),
      STORAGE_RPC_PORT: String(node.rpcPort),
      STORAGE_SWARM_PORT: String(node.rpcPort + swarmPortStep),
      STORAGE_MEMBERS_FILE: join(dir, 'members.json'),
      STORAGE_TOKENS_FILE: join(dir, 'tokens.json'),
      STORAGE_SWARM_KEY_FILE: join(dir, 'swarm.key'),
      STORAGE_STORE_KEY_FILE: key('store'),
      STORAGE_PEER_KEY_FILE: key('peer'),
      STORAGE_REST_KEY_FILE: key('rest'),
      STORAGE_REPLICAS: String(options.replicas),
      STORAGE_LOG_LEVEL: process.env.STORAGE_LOG_LEVEL ?? 'warn',
      ...(options.backend === 'kubo'
        ? {
            STORAGE_BACKEND: 'kubo',
            KUBO_BINARY: process.env.KUBO_BINARY ?? join(projectRoot, '.cache', 'kubo', 'ipfs'),
          }
        : {}),
    },
  })
  child.on('error', (error) => options.io.stderr(`${node.name}: ${error.message}\n`))
  return child
}

function hasEnded({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null
}

/** The process that says it has opened a node's ports: another one may sit at them, and would answer. */
function readPid({ folder }: NodePlan): number | undefined {
  try {
    return (JSON.parse(readFileSync(join(folder, 'data', 'address.json'), 'utf8')) as { pid: number }).pid
  } catch {
    return undefined
  }
}

async function untilReady(child: ChildProcess, node: NodePlan): Promise<void> {
  const { name, rpcPort } = node
  const deadline = performance.now() + startTimeoutMs
  for (;;) {
    if (hasEnded(child)) throw new CommandError(`${name} ended; see above`)
    if (performance.now() > deadline) throw new CommandError(`${name} is not ready after ${startTimeoutMs / 1000} s`)
    const answer = await fetch(`http://127.0.0.1:${rpcPort}/readyz`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok === true && readPid(node) === child.pid) return
    await delay(50)
  }
}

/** Until a node has found the others: before, what is removed would stay at those a while. Without them it serves all the same. */
async function untilConnected(url: string, { token, peers }: { token: string; peers: number }): Promise<void> {
  const headers = { authorization: `Bearer ${token}` }
  const deadline = performance.now() + connectTimeoutMs
  while (performance.now() < deadline) {
    const answer = await fetch(`${url}/v1/status`, { headers }).catch(() => undefined)
    const status = (await answer?.json().catch(() => undefined)) as { peers?: number } | undefined
    // Whoever took his token off the list is not kept waiting.
    if (answer?.status === 401 || (status?.peers ?? 0) >= peers) return
    await delay(50)
  }
}

/** Starts a node again that has ended, later each time that it does not come up: the others go on meanwhile. */
async function keepRunning(
  children: ChildProcess[],
  index: number,
  { node, begin, signal, io }: { node: NodePlan; begin: (node: NodePlan) => ChildProcess; signal: AbortSignal; io: Io },
): Promise<void> {
  for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(pauseMsMax, 2 * pauseMs)) {
    const child = children[index] as ChildProcess
    if (!hasEnded(child)) await once(child, 'exit')
    if (signal.aborted) return
    io.stderr(`${node.name} ended; it is started again in ${pauseMs / 1000} s\n`)
    await delay(pauseMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    try {
      const again = begin(node)
      children[index] = again
      await untilReady(again, node)
      io.stderr(`${node.name} is there again\n`)
      pauseMs = pauseMsMin / 2
    } catch (error) {
      // It is started again whatever the cause: as a process of which the machine has no room for another one.
      if (!(error instanceof CommandError)) io.stderr(`${node.name}: ${messageOf(error)}\n`)
    }
  }
}

async function endAll(children: readonly ChildProcess[]): Promise<void> {
  const running = children.filter((child) => !hasEnded(child))
  await Promise.all(
    running.map(async (child) => {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }),
  )
}

/** `./healthblock storage serve --standalone`: runs until `ended` resolves, or with SIGINT or SIGTERM, also while it starts. */
export async function serveStandalone(options: ServeOptions, io: Io, ended?: Promise<unknown>): Promise<ExitCode> {
  const { backend = 'embedded' } = options
  if (backend !== 'embedded' && backend !== 'kubo') throw new UsageError('--backend is embedded or kubo')
  const count = parseCount(options.nodes, 'nodes', { least: 1, most: 16, preset: 1 })
  const port = parseCount(options.port, 'port', { least: 1024, most: 64_000, preset: 5001 })
  const replicas = parseCount(options.replicas, 'replicas', { least: 1, most: count, preset: Math.min(3, count) })
  const dir = resolve(options.dir)
  // Another one that runs there would be told of other ports.
  const lock = lockFolder(dir)
  const children: ChildProcess[] = []
  const ending = new AbortController()
  const interrupted = Promise.withResolvers<void>()
  const stop = (): void => interrupted.resolve()
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  ended?.then(stop, stop)
  let isOver = false
  const over = interrupted.promise.then(() => {
    isOver = true
    return undefined
  })
  try {
    const plans = Array.from({ length: count }, (_, index) => planNode(dir, index, port))
    const nodes = await Promise.race([over, Promise.all(plans)])
    if (nodes === undefined) return 0
    prepareShared(dir, nodes)
    const begin = (node: NodePlan): ChildProcess => start(dir, node, { replicas, backend, io })
    children.push(...nodes.map(begin))
    const ready = nodes.map((node, index) => untilReady(children[index] as ChildProcess, node))
    await Promise.race([over, Promise.all(ready)])
    if (isOver) return 0
    const token = readFileSync(join(dir, 'token'), 'utf8').trim()
    const urls = nodes.map(({ rpcPort }) => `http://127.0.0.1:${rpcPort}`)
    const connected = urls.map((url) => untilConnected(url, { token, peers: count - 1 }))
    await Promise.race([over, Promise.all(connected)])
    const words = `a private IPFS of ${count} ${count === 1 ? 'node' : 'nodes'} in ${dir}
RPC    ${urls.join('  ')}
token  ${token}
       ipfs --api /ip4/127.0.0.1/tcp/${port} --api-auth bearer:${token} block put FILE
Ctrl-C ends it; the data stay.
`
    const pids = children.map(({ pid }) => pid)
    io.stdout(options.json ? `${JSON.stringify({ dir, urls, pids, token, tokenFile: join(dir, 'token') })}\n` : words)
    for (const [index, node] of nodes.entries())
      void keepRunning(children, index, { node, begin, signal: ending.signal, io })
    await over
    return 0
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
    ending.abort()
    await endAll(children)
    lock.release()
  }
}
