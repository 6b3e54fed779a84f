/** Starts and stops the processes of a cluster. Ports are chosen anew at every start and handed over in files. */

import { existsSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { writeFileDurably } from '@healthblock/runtime/files'
import { findFreePort } from '@healthblock/runtime/ports'
import { CommandError, type Io } from '../io.ts'
import { nodesOf, writeAddressFiles } from './addresses.ts'
import { isLeftOut } from './admission.ts'
import { etcdFolders, etcdUrls, startEtcd } from './etcd.ts'
import { type ClusterFile, clusterPaths, type NodePlan } from './layout.ts'
import { ensurePortals } from './portals.ts'
import { type ProcessPlan, readProcess, startProcess, stopProcess, tailLog, waitUntilReady } from './processes.ts'
import { ensureRedisServer, redisConfiguration, requireRedisAt, writeRedisUsers } from './redis.ts'
import { projectRoot } from './root.ts'

interface Addresses {
  readonly http: Map<string, number>
  readonly swarm: Map<string, number>
  readonly redisUrls: string[]
}

function url(addresses: Addresses, name: string): string {
  return `http://127.0.0.1:${addresses.http.get(name)}`
}

async function waitForRedis(dir: string, port: number): Promise<void> {
  for (let attempt = 0; attempt < 250; attempt++) {
    const answered = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ host: '127.0.0.1', port }, () => socket.write('PING\r\n'))
      socket.once('data', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.setTimeout(500, () => resolve(false))
      socket.once('close', () => resolve(false))
      setTimeout(() => socket.destroy(), 500).unref()
    })
    if (answered) return
    if (readProcess(dir).pid === undefined) break
    await delay(20)
  }
  throw new CommandError(`Redis does not start. The end of its log (${dir}/log):\n${await tailLog(dir, 5)}`)
}

/** The port of the cluster's own Redis; undefined if it never had one. */
function redisPortOf(dir: string): number | undefined {
  const path = join(clusterPaths.redis(dir), 'port')
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : undefined
}

/** @param samePort - where nodes that run look for it. */
async function startRedis(dir: string, cluster: ClusterFile, io: Io, samePort?: number): Promise<string[]> {
  const given = process.env.REDIS_URL ?? ''
  const nodes = nodesOf(cluster, 'accounting')
  if (given !== '') {
    await requireRedisAt(given)
    return nodes.map(() => given)
  }
  await ensureRedisServer(io)
  const folder = clusterPaths.redis(dir)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const passwords = await writeRedisUsers(
    folder,
    nodes.map(({ name }) => name),
  )
  await stopProcess(folder)
  const port = samePort ?? (await findFreePort())
  const file = join(folder, 'redis.conf')
  writeFileDurably(file, redisConfiguration({ dir: folder, port }), { mode: 0o600 })
  await startProcess({ name: 'redis', dir: folder, command: 'redis-server', args: [file], env: {} })
  await waitForRedis(folder, port)
  writeFileDurably(join(folder, 'port'), `${port}\n`)
  return nodes.map(({ name }) => `redis://${name}:${passwords.get(name)}@127.0.0.1:${port}`)
}

async function choosePorts(cluster: ClusterFile): Promise<Pick<Addresses, 'http' | 'swarm'>> {
  const http = new Map<string, number>()
  const swarm = new Map<string, number>()
  for (const { name, role } of cluster.nodes) {
    http.set(name, await findFreePort())
    if (role === 'storage') swarm.set(name, await findFreePort())
  }
  return { http, swarm }
}

function registerOf(dir: string, cluster: ClusterFile): string {
  const urls = etcdUrls(dir, cluster)
  return urls.length === 0 ? `sqlite:${clusterPaths.register(dir)}` : `etcd:${urls.join(',')}`
}

/** Cores of this machine for each of several nodes that order; one at least. */
function coresEach(nodes: number): number {
  return Math.max(1, Math.floor(availableParallelism() / nodes))
}

function environmentOf(
  dir: string,
  cluster: ClusterFile,
  node: NodePlan,
  addresses: Addresses,
): Record<string, string> {
  const folder = clusterPaths.node(dir, node.name)
  const secret = (name: string): string => join(folder, 'secrets', name)
  const port = String(addresses.http.get(node.name))
  const index = nodesOf(cluster, node.role).findIndex(({ name }) => name === node.name)
  switch (node.role) {
    case 'accounting':
      return {
        ACCOUNTING_DIR: folder,
        ACCOUNTING_PORT: port,
        ...(node.account === undefined || node.organisation === undefined
          ? { ACCOUNTING_RANK: String(node.rank ?? index) }
          : { ACCOUNTING_ACCOUNT: node.account, ACCOUNTING_ORGANISATION: node.organisation }),
        ACCOUNTING_GENESIS_FILE: clusterPaths.genesis(dir),
        ACCOUNTING_PEERS_FILE: clusterPaths.peersFile(dir),
        // It says where storage nodes are: a cluster without any runs too.
        ...(nodesOf(cluster, 'storage').length > 0 ? { ACCOUNTING_LEDGER_FILE: clusterPaths.ledgerFile(dir) } : {}),
        ACCOUNTING_REGISTER: registerOf(dir, cluster),
        ACCOUNTING_ETCD_USER: node.name,
        ACCOUNTING_CORES: String(coresEach(nodesOf(cluster, 'accounting').length)),
        ACCOUNTING_QUEUE_PREFIX: `hb-${cluster.id.slice(0, 8)}`,
        ACCOUNTING_SECRETS_DIR: join(folder, 'secrets'),
        REDIS_URL: addresses.redisUrls[index] as string,
      }
    case 'storage':
      return {
        STORAGE_DIR: folder,
        STORAGE_RPC_PORT: port,
        STORAGE_SWARM_PORT: String(addresses.swarm.get(node.name)),
        STORAGE_SWARM_KEY_FILE: join(clusterPaths.secrets(dir), 'swarm.key'),
        STORAGE_STORE_KEY_FILE: secret('store.key'),
        STORAGE_PEER_KEY_FILE: secret('peer.key'),
        STORAGE_REST_KEY_FILE: secret('at-rest.key'),
        STORAGE_MEMBERS_FILE: clusterPaths.membersFile(dir),
        STORAGE_LEDGER_FILE: clusterPaths.ledgerFile(dir),
        STORAGE_REPLICAS: String(cluster.replicas),
      }
    case 'user':
      return {
        USER_DIR: folder,
        USER_PORT: port,
        USER_LEDGER_FILE: clusterPaths.ledgerFile(dir),
        USER_API_SECRET_FILE: secret('api.secret'),
        USER_PERIOD_MS: String(cluster.periodMs),
      }
    case 'doctor':
      return {
        DOCTOR_DIR: folder,
        DOCTOR_PORT: port,
        DOCTOR_LEDGER_FILE: clusterPaths.ledgerFile(dir),
        DOCTOR_API_SECRET_FILE: secret('api.secret'),
      }
  }
}

const serviceFolders: Record<NodePlan['role'], string> = {
  accounting: 'accounting-node',
  storage: 'storage',
  user: 'user-node',
  doctor: 'doctor-node',
}

function processPlan(dir: string, node: NodePlan, env: Record<string, string>): ProcessPlan {
  return {
    name: node.name,
    dir: clusterPaths.node(dir, node.name),
    command: process.execPath,
    args: [
      '--disable-warning=ExperimentalWarning',
      // What waits most of the time keeps a small young generation; ordering allocates fast and has the usual one.
      ...(node.role === 'accounting' ? [] : ['--max-semi-space-size=2']),
      join(projectRoot, 'services', serviceFolders[node.role], 'src', 'main.ts'),
      clusterPaths.node(dir, node.name),
    ],
    env,
  }
}

function readPorts(dir: string): Pick<Addresses, 'http' | 'swarm'> {
  const file = JSON.parse(readFileSync(join(dir, 'ports.json'), 'utf8')) as {
    http: [string, number][]
    swarm: [string, number][]
  }
  return { http: new Map(file.http), swarm: new Map(file.swarm) }
}

async function readAddresses(dir: string, cluster: ClusterFile): Promise<Addresses> {
  const redisPort = redisPortOf(dir) ?? ''
  const given = process.env.REDIS_URL ?? ''
  const redisUrls = nodesOf(cluster, 'accounting').map(({ name }) =>
    given !== ''
      ? given
      : `redis://${name}:${readFileSync(join(clusterPaths.redis(dir), `${name}.password`), 'utf8')}@127.0.0.1:${redisPort}`,
  )
  return { ...readPorts(dir), redisUrls }
}

/** Starts one node of a running cluster again, at the address that it had. */
export async function startNode(
  dir: string,
  cluster: ClusterFile,
  name: string,
  extra: Record<string, string> = {},
): Promise<string> {
  const node = cluster.nodes.find((candidate) => candidate.name === name)
  if (node === undefined) throw new CommandError(`there is no node "${name}" in this cluster`)
  const addresses = await readAddresses(dir, cluster)
  await startProcess(processPlan(dir, node, { ...environmentOf(dir, cluster, node, addresses), ...extra }))
  return waitUntilReady(name, clusterPaths.node(dir, name), '/healthz')
}

/** How often a cluster is started anew because somebody else took one of its ports between choosing and binding. */
const portAttempts = 3

function isPortTaken(error: unknown): boolean {
  return error instanceof CommandError && /port \d+ on \S+ is in use|EADDRINUSE/.test(error.message)
}

/** What may be added to one node's environment when it is started: fault injection in demonstrations and tests. */
export type ExtraEnvironment = (node: NodePlan) => Record<string, string>

/** How a cluster is started. */
export interface StartOptions {
  readonly extra?: ExtraEnvironment | undefined
  /** Told of each node that does not start; the others go on without it, as they do when it is lost later. Without this, none is kept. */
  readonly onLacking?: ((error: CommandError) => void) | undefined
  /** Told of each accounting or storage node that runs and is not in the policy in force; it holds up nobody. Without this, nobody is told. */
  readonly onWaiting?: ((words: string) => void) | undefined
}

/**
 * Starts every process of a cluster that does not run, in the order in which they need each other. If one does not start, those that
 * did are stopped again, unless `onLacking` takes it; if that is because its port was taken meanwhile, all are started at other ports.
 *
 * @throws {CommandError} that says which one, and why.
 */
export async function startCluster(
  dir: string,
  cluster: ClusterFile,
  io: Io,
  options: StartOptions = {},
): Promise<void> {
  const running = cluster.nodes.filter(({ name }) => readProcess(clusterPaths.node(dir, name)).pid !== undefined)
  // Who runs goes on, at the addresses that people have open; only where that cannot be all are started anew.
  const isNeededThere = running.length > 0 && (await startNeeded(dir, cluster, io))
  if (isNeededThere && running.length === cluster.nodes.length) return
  if (isNeededThere && (await startMissing(dir, cluster, options))) return
  if (running.length > 0) {
    io.stderr('what is new here does not fit beside those that run: all are started anew, at other addresses\n')
    await stopCluster(dir, cluster)
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await startStopped(dir, cluster, io, options)
    } catch (error) {
      await stopCluster(dir, cluster)
      if (!isPortTaken(error) || attempt === portAttempts) throw error
    }
  }
}

/**
 * Starts the queue and the register again where they were, if one of them is gone. False if that cannot be, or one of them never was in
 * this folder.
 */
async function startNeeded(dir: string, cluster: ClusterFile, io: Io): Promise<boolean> {
  const isGone = (folder: string): boolean => readProcess(folder).pid === undefined
  const redis = clusterPaths.redis(dir)
  const isRedisOurs = (process.env.REDIS_URL ?? '') === ''
  const running = nodesOf(cluster, 'accounting').filter(({ name }) => !isGone(clusterPaths.node(dir, name)))
  try {
    const isRegisterGone = etcdFolders(dir, cluster).some(isGone)
    if (isRegisterGone) await startEtcd(dir, cluster, io)
    const port = redisPortOf(dir)
    const isQueueGone = isRedisOurs && isGone(redis)
    // Those who run may look for another one than this command knows of.
    const areAllThere = running.length === nodesOf(cluster, 'accounting').length
    if (isQueueGone && port === undefined) return areAllThere
    if (isQueueGone) await startRedis(dir, cluster, io, port)
    if (isQueueGone && isGone(redis)) return false
    if (areAllThere && (isQueueGone || isRegisterGone)) {
      // Who does not find them again says so in the status; fewer may be no quorum, and are never ready by themselves.
      await Promise.allSettled(running.map((node) => waitForNode(dir, cluster, node)))
    }
    return true
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    return false
  }
}

/**
 * Starts what does not run beside what does, where it was. False if that cannot be: a port is taken, or a node is new, so that the queue and
 * its peers do not know it.
 */
async function startMissing(dir: string, cluster: ClusterFile, options: StartOptions): Promise<boolean> {
  const { http } = readPorts(dir)
  if (cluster.nodes.some(({ name }) => !http.has(name))) return false
  try {
    await startNodes(dir, cluster, await readAddresses(dir, cluster), options)
    return true
  } catch (error) {
    if (isPortTaken(error)) return false
    throw error
  }
}

async function startStopped(dir: string, cluster: ClusterFile, io: Io, options: StartOptions): Promise<void> {
  await ensurePortals(io)
  const redisUrls = await startRedis(dir, cluster, io)
  await startEtcd(dir, cluster, io)
  const ports = await choosePorts(cluster)
  const addresses: Addresses = { ...ports, redisUrls }
  writeFileDurably(join(dir, 'ports.json'), JSON.stringify({ http: [...ports.http], swarm: [...ports.swarm] }))
  writeAddressFiles(dir, cluster, {
    genesis: clusterPaths.genesis(dir),
    urlOf: (name) => url(addresses, name),
    swarmOf: (name) => `/ip4/127.0.0.1/tcp/${addresses.swarm.get(name)}`,
  })
  await startNodes(dir, cluster, addresses, options)
}

function waitingWords({ name, role }: NodePlan, folder: string): string {
  const propose = `"org propose policy --add ${join(folder, 'card.json')}"`
  return role === 'accounting'
    ? `${name} runs, and waits to be admitted: no policy in force has it (${propose})`
    : `${name} runs, and waits to be admitted: no policy in force has it with its key (${propose}; --replace for one whose keys are new)`
}

/** Waits until a node is ready. False if it runs, and no policy in force has it. */
async function waitForNode(dir: string, cluster: ClusterFile, node: NodePlan): Promise<boolean> {
  const { name, role } = node
  let isOut = false
  const isVain = async (): Promise<boolean> => {
    isOut = await isLeftOut(dir, cluster, node)
    return isOut
  }
  const isGoverned = role === 'accounting' || role === 'storage'
  const path = role === 'accounting' ? '/readyz' : '/healthz'
  await waitUntilReady(name, clusterPaths.node(dir, name), path, isGoverned ? isVain : undefined)
  return !isOut
}

/** Starts the nodes that do not run, role by role. */
async function startNodes(
  dir: string,
  cluster: ClusterFile,
  addresses: Addresses,
  options: StartOptions,
): Promise<void> {
  const isStopped = ({ name }: NodePlan): boolean => readProcess(clusterPaths.node(dir, name)).pid === undefined
  const start = (node: NodePlan): Promise<number> =>
    startProcess(processPlan(dir, node, { ...environmentOf(dir, cluster, node, addresses), ...options.extra?.(node) }))
  const ready = async (node: NodePlan): Promise<void> => {
    if (await waitForNode(dir, cluster, node)) return
    options.onWaiting?.(waitingWords(node, clusterPaths.node(dir, node.name)))
  }
  for (const role of ['accounting', 'storage', 'user', 'doctor'] as const) {
    const all = nodesOf(cluster, role)
    const nodes = all.filter(isStopped)
    await Promise.all(nodes.map(start))
    const faults = (await Promise.allSettled(nodes.map(ready))).flatMap((one) =>
      one.status === 'rejected' ? [one.reason as unknown] : [],
    )
    // Nobody is ready before a quorum is: without one, nothing that comes behind could start either.
    const isNoneReady = role === 'accounting' && faults.length > 0 && faults.length === all.length
    for (const fault of faults) {
      if (options.onLacking === undefined || isNoneReady || isPortTaken(fault) || !(fault instanceof CommandError))
        throw fault
      options.onLacking(fault)
    }
  }
}

/** Stops every process of a cluster, those first that others do not need. */
export async function stopCluster(dir: string, cluster: ClusterFile): Promise<void> {
  for (const roles of [['user', 'doctor'], ['storage'], ['accounting']]) {
    const nodes = cluster.nodes.filter(({ role }) => roles.includes(role))
    await Promise.all(nodes.map(({ name }) => stopProcess(clusterPaths.node(dir, name))))
  }
  await Promise.all([clusterPaths.redis(dir), ...etcdFolders(dir, cluster)].map(stopProcess))
}
