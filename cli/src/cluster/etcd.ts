/**
 * A cluster's own etcd on loopback: the head register of its accounting nodes. Each node has a user of its own, whose role may read
 * and write the ledger's keys and nothing else; the root password stays in `DIR/secrets/`.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { EtcdClient, type EtcdMessage, etcdBytes, etcdRangeEnd } from '@healthblock/runtime/etcd'
import { writeFileDurably, writeSecretFile } from '@healthblock/runtime/files'
import { findFreePort } from '@healthblock/runtime/ports'
import { CommandError, type Io } from '../io.ts'
import { ensureProgram } from './install.ts'
import { type ClusterFile, clusterPaths } from './layout.ts'
import { readProcess, startProcess, tailLog } from './processes.ts'

/** One member. Its ports stay its own: the others know it by them. */
export interface EtcdMember {
  readonly name: string
  readonly dir: string
  readonly clientPort: number
  readonly peerPort: number
}

const startTimeoutMs = 30_000
const callTimeoutMs = 5_000

/** Arguments of the process of one member. */
export function etcdArguments(members: readonly EtcdMember[], index: number): string[] {
  const { name, dir, clientPort, peerPort } = members[index] as EtcdMember
  const peerUrl = (port: number): string => `http://127.0.0.1:${port}`
  const options = {
    name,
    'data-dir': join(dir, 'data'),
    'listen-client-urls': `http://127.0.0.1:${clientPort}`,
    'advertise-client-urls': `http://127.0.0.1:${clientPort}`,
    'listen-peer-urls': peerUrl(peerPort),
    'initial-advertise-peer-urls': peerUrl(peerPort),
    'initial-cluster': members.map((member) => `${member.name}=${peerUrl(member.peerPort)}`).join(','),
    // A register is one value: its history is of no use.
    'auto-compaction-mode': 'revision',
    'auto-compaction-retention': '1000',
    logger: 'zap',
    'log-level': 'error',
  }
  return Object.entries(options).flatMap(([option, value]) => [`--${option}`, value])
}

function readMembers(dir: string, cluster: ClusterFile): EtcdMember[] {
  if ((cluster.etcdMembers ?? 0) === 0 || !existsSync(clusterPaths.etcdFile(dir))) return []
  const ports = JSON.parse(readFileSync(clusterPaths.etcdFile(dir), 'utf8')) as {
    clientPort: number
    peerPort: number
  }[]
  return ports.map((port, index) => ({ name: `etcd-${index}`, dir: clusterPaths.etcdMember(dir, index), ...port }))
}

/** Client URLs of a cluster's members; none if its register is a SQLite file. */
export function etcdUrls(dir: string, cluster: ClusterFile): string[] {
  return readMembers(dir, cluster).map(({ clientPort }) => `http://127.0.0.1:${clientPort}`)
}

/** Folders of a cluster's members. */
export function etcdFolders(dir: string, cluster: ClusterFile): string[] {
  return readMembers(dir, cluster).map((member) => member.dir)
}

/** Starts one member that does not run. */
export async function startEtcdMember(dir: string, cluster: ClusterFile, index: number): Promise<void> {
  const members = readMembers(dir, cluster)
  const { name, dir: folder } = members[index] as EtcdMember
  await startProcess({ name, dir: folder, command: 'etcd', args: etcdArguments(members, index), env: {} })
}

async function waitForMember({ name, dir, clientPort }: EtcdMember): Promise<void> {
  const deadline = Date.now() + startTimeoutMs
  while (Date.now() < deadline && readProcess(dir).pid !== undefined) {
    try {
      const signal = AbortSignal.timeout(2_000)
      const response = await fetch(`http://127.0.0.1:${clientPort}/health`, { signal })
      const { health } = (await response.json()) as { health?: string }
      if (health === 'true') return
    } catch {
      // Not yet.
    }
    await delay(50)
  }
  throw new CommandError(`${name} does not start. The end of its log (${dir}/log):\n${await tailLog(dir, 5)}`)
}

function password(path: string): string {
  if (!existsSync(path)) writeSecretFile(path, `${toHex(randomBytes(24))}\n`)
  return readFileSync(path, 'utf8').trim()
}

/**
 * Users and roles, and that nobody gets in without: at each start, and once a node has new secrets. Each node's password is that of its file,
 * made if there is none.
 */
async function secure(dir: string, cluster: ClusterFile, endpoints: string[]): Promise<void> {
  const root = { user: 'root', password: password(join(clusterPaths.secrets(dir), 'etcd-root.password')) }
  const open = new EtcdClient({ endpoints, timeoutMs: callTimeoutMs })
  const asRoot = new EtcdClient({ endpoints, timeoutMs: callTimeoutMs, credentials: root })
  const isSecured = await open.call('/v3/kv/range', { key: etcdBytes('x') }, { repeatable: true }).then(
    () => false,
    (error: unknown) => messageOf(error).includes('user name is empty'),
  )
  const client = isSecured ? asRoot : open
  const say = async (path: string, message: EtcdMessage): Promise<boolean> => {
    try {
      await client.call(`/v3/auth/${path}`, message, { repeatable: true })
      return true
    } catch (error) {
      if (!messageOf(error).includes('already exists')) throw error
      return false
    }
  }
  try {
    const prefix = `/healthblock/${cluster.ledgerId}/`
    const perm = { permType: 'READWRITE', key: etcdBytes(prefix), range_end: etcdRangeEnd(prefix) }
    await say('role/add', { name: 'ledger' })
    await say('role/grant', { name: 'ledger', perm })
    for (const { name, role } of cluster.nodes) {
      if (role !== 'accounting') continue
      const credentials = { name, password: password(join(clusterPaths.node(dir, name), 'secrets', 'etcd.password')) }
      // Of a node with new secrets the user is there, with the password that a thief may have.
      if (!(await say('user/add', credentials))) await say('user/changepw', credentials)
      await say('user/grant', { user: name, role: 'ledger' })
    }
    await say('user/add', { name: root.user, password: root.password })
    await say('user/grant', { user: root.user, role: 'root' })
    if (!isSecured) await say('enable', {})
  } finally {
    open.close()
    asRoot.close()
  }
}

/** Lets nodes in with the passwords of their present secrets, and with no others. Nothing to do without an etcd, or while it does not run. */
export async function renewEtcdUsers(dir: string, cluster: ClusterFile): Promise<void> {
  const members = readMembers(dir, cluster)
  if (members.every((member) => readProcess(member.dir).pid === undefined)) return
  await secure(dir, cluster, etcdUrls(dir, cluster))
}

/** Starts the cluster's etcd, if it has one, and waits until it answers. Its ports are chosen once. */
export async function startEtcd(dir: string, cluster: ClusterFile, io: Io): Promise<void> {
  const count = cluster.etcdMembers ?? 0
  if (count === 0) return
  if (!(await ensureProgram(io, { program: 'etcd', package: 'etcd-server' }))) {
    throw new CommandError(
      'etcd is needed: install etcd-server (Debian: apt-get install etcd-server), or leave --register out',
    )
  }
  if (!existsSync(clusterPaths.etcdFile(dir))) {
    const ports = []
    for (let index = 0; index < count; index++) {
      ports.push({ clientPort: await findFreePort(), peerPort: await findFreePort() })
    }
    writeFileDurably(clusterPaths.etcdFile(dir), `${JSON.stringify(ports)}\n`)
  }
  for (let index = 0; index < count; index++) await startEtcdMember(dir, cluster, index)
  const members = readMembers(dir, cluster)
  for (const member of members) await waitForMember(member)
  await secure(dir, cluster, etcdUrls(dir, cluster))
}
