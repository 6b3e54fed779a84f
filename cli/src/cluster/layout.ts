/**
 * A local cluster is a folder: one subfolder per process, `secrets/` for what people would keep, `cluster.json` for
 * what was asked for. Everything else (addresses, pids) is found in the nodes' own folders.
 */

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isRuntimeError } from '@healthblock/runtime/errors'
import { ensureFolder, type FolderLock, fileError, lockFolder, writeFileDurably } from '@healthblock/runtime/files'
import { CommandError, type Io } from '../io.ts'

/** What a process of a cluster is. */
export type NodeRole = 'accounting' | 'storage' | 'user' | 'doctor'

/** One process of a cluster: its name is its folder's name. */
export interface NodePlan {
  readonly name: string
  readonly role: NodeRole
  /** Of an accounting or storage node that joined later, or whose keys were replaced: its account and its organisation's (hex). */
  readonly account?: string
  readonly organisation?: string
  /** Of one that joined later: its rank. Absent: the position among the accounting nodes. */
  readonly rank?: number
}

/** A person whom the cluster's folder can name. */
export interface KnownPerson {
  readonly name: string
  readonly account: string
  /** The node that holds the person's keys. */
  readonly node: string
}

/** `cluster.json`: what was asked for, and who was enrolled. */
export interface ClusterFile {
  readonly v: 1
  readonly id: string
  readonly ledgerId: string
  readonly nodes: readonly NodePlan[]
  readonly replicas: number
  /** Members of the cluster's own etcd, which then is the head register; absent or 0: a SQLite file. */
  readonly etcdMembers?: number
  readonly periodMs: number
  /** Names of the patients whom a first start is to enrol: an interrupted one is finished by the next. */
  readonly wanted: readonly string[]
  readonly patients: readonly KnownPerson[]
  readonly doctors: readonly KnownPerson[]
  /** Accounts that `ledger token` and `storage token` speak for, once enrolled. */
  readonly auditor?: string
  readonly tenant?: string
  /** Folder of the cluster whose ledger this one carries on. */
  readonly prior?: string
  /** Hash of the newest algorithm that was put on record. */
  readonly algorithm?: string
}

/** The folder named by `--dir`, made absolute; `.healthblock` if none was named. */
export function clusterFolder(dir: string | undefined): string {
  return resolve(dir ?? '.healthblock')
}

/** A path as it is typed on a command line. */
export function shellWord(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}

/** Paths inside a cluster's folder. */
export const clusterPaths = {
  file: (dir: string): string => join(dir, 'cluster.json'),
  /** There, with the pid of who makes it, while a cluster is being made, and no longer. */
  unfinished: (dir: string): string => join(dir, 'cluster.unfinished'),
  /** Held by whoever starts the cluster. */
  starting: (dir: string): string => join(dir, 'starting'),
  genesis: (dir: string): string => join(dir, 'genesis.cbor'),
  /** Of a successor: beside its genesis. */
  succession: (dir: string): string => join(dir, 'succession.json'),
  secrets: (dir: string): string => join(dir, 'secrets'),
  passphrase: (dir: string, person: string): string => join(dir, 'secrets', `${person}.passphrase`),
  node: (dir: string, name: string): string => join(dir, name),
  ledgerFile: (dir: string): string => join(dir, 'ledger.json'),
  peersFile: (dir: string): string => join(dir, 'peers.json'),
  membersFile: (dir: string): string => join(dir, 'members.json'),
  register: (dir: string): string => join(dir, 'register.db'),
  redis: (dir: string): string => join(dir, 'redis'),
  etcdFile: (dir: string): string => join(dir, 'etcd.json'),
  etcdMember: (dir: string, index: number): string => join(dir, `etcd-${index}`),
}

/**
 * Reads `cluster.json`.
 *
 * @throws {CommandError} if there is no cluster in the folder. {RuntimeError} `ERR_FILE_FAILED` if it cannot be looked into.
 */
export function readCluster(dir: string): ClusterFile {
  const path = clusterPaths.file(dir)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(path, error)
    throw new CommandError(`there is no cluster in ${dir}: make one with ./healthblock up --dir ${shellWord(dir)}`)
  }
  try {
    return JSON.parse(text) as ClusterFile
  } catch (cause) {
    throw new CommandError(`${path} cannot be read: restore it from a backup of its folder`, undefined, { cause })
  }
}

const changeWaitMsMax = 10_000
const startWaitMsMax = 300_000
const waitStepMs = 20

/** Does something while no other command holds the folder. `onWait` is told once if one does. */
async function holding<T>(
  folder: string,
  options: { readonly waitMsMax: number; readonly onWait?: () => void },
  work: () => T | Promise<T>,
): Promise<T> {
  for (let waitedMs = 0; ; waitedMs += waitStepMs) {
    let lock: FolderLock
    try {
      lock = lockFolder(folder)
    } catch (error) {
      if (!isRuntimeError(error, 'ERR_FOLDER_LOCKED') || waitedMs >= options.waitMsMax) throw error
      if (waitedMs === 0) options.onWait?.()
      await delay(waitStepMs)
      continue
    }
    try {
      return await work()
    } finally {
      lock.release()
    }
  }
}

/**
 * Changes `cluster.json`: `change` gets it as it is now, and no other command changes it meanwhile.
 *
 * @throws {RuntimeError} `ERR_FOLDER_LOCKED` if another command holds it for 10 s.
 */
export function changeCluster(dir: string, change: (latest: ClusterFile) => ClusterFile): Promise<ClusterFile> {
  return holding(dir, { waitMsMax: changeWaitMsMax }, async () => {
    const changed = change(readCluster(dir))
    await writeCluster(dir, changed)
    return changed
  })
}

/** What a start that is broken off leaves: nodes run on their own, so whoever broke it off is told of them. */
async function tellingOfInterruption<T>(dir: string, io: Io, start: () => Promise<T>): Promise<T> {
  const option = `--dir ${shellWord(dir)}`
  const interrupt = (): void => {
    io.stderr(
      `interrupted: what was started already goes on running; stop it with ./healthblock down ${option}, or go on with up\n`,
    )
    process.exit(130)
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  try {
    return await start()
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
}

/**
 * Starts a cluster while nobody else does: of two who begin at once, the second waits and finds it running. A signal ends the process with
 * code 130, which says what it leaves.
 *
 * @throws {RuntimeError} `ERR_FOLDER_LOCKED` if another command takes more than 300 s.
 */
export function startingCluster<T>(dir: string, io: Io, start: () => Promise<T>): Promise<T> {
  const onWait = (): void => io.stderr('another command is starting this cluster; waiting for it\n')
  return holding(clusterPaths.starting(dir), { waitMsMax: startWaitMsMax, onWait }, () =>
    tellingOfInterruption(dir, io, start),
  )
}

/** Writes `cluster.json`, whatever stands there. */
export async function writeCluster(dir: string, cluster: ClusterFile): Promise<void> {
  writeFileDurably(clusterPaths.file(dir), `${JSON.stringify(cluster, null, 2)}\n`)
}

/** Folders in which this process is making a cluster. */
const inTheMaking = new Set<string>()

/** What the marker of an unfinished cluster begins with. Only what bears it is ever removed. */
const unfinishedWords = 'a cluster that is being made by process '

/** The process that makes, or was making, a cluster here; undefined if none ever was. */
function makerOf(dir: string): number | undefined {
  const path = clusterPaths.unfinished(dir)
  if (!existsSync(path)) return undefined
  const text = readFileSync(path, 'utf8')
  return text.startsWith(unfinishedWords) ? Number(text.slice(unfinishedWords.length)) : undefined
}

/**
 * Demands a folder in which a cluster may come to be: absent, empty, or with what an interrupted command left of one.
 *
 * @throws {CommandError} that says what is there: a new ledger never comes to be beside an old one.
 */
export async function requireFreeFolder(dir: string): Promise<void> {
  const found = await readdir(dir).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(dir, error)
    return [] as string[]
  })
  if (found.length === 0) return
  if (found.includes(basename(clusterPaths.file(dir))))
    throw new CommandError(`${dir} holds a cluster already: name another folder`)
  const maker = makerOf(dir)
  if (maker === undefined) {
    const names = `${found.slice(0, 3).join(', ')}${found.length > 3 ? '…' : ''}`
    throw new CommandError(
      `${dir} is not empty and holds no cluster (${names}): name an empty folder, or restore cluster.json`,
    )
  }
  if (isAlive(maker))
    throw new CommandError(`a cluster is being made in ${dir} by process ${maker}: wait for it, or remove the folder`)
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 1 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function otherMaker(dir: string): CommandError {
  return new CommandError(`another command is making a cluster in ${dir}: wait for it`)
}

/** Removes what an interrupted command left; of two who want to, one is refused. */
async function takeOver(dir: string): Promise<void> {
  const marker = clusterPaths.unfinished(dir)
  try {
    renameSync(marker, `${marker}.${process.pid}`)
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'ENOENT' ? otherMaker(dir) : fileError(marker, cause)
  }
  await emptyFolder(dir)
}

/** Marks the folder as one's own; of two who begin at once, one is refused. */
function markUnfinished(dir: string): void {
  try {
    writeFileSync(clusterPaths.unfinished(dir), `${unfinishedWords}${process.pid}\n`, { flag: 'wx' })
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST'
      ? otherMaker(dir)
      : fileError(clusterPaths.unfinished(dir), error)
  }
}

/**
 * Makes the folder of a new cluster, and fills it by `make`. If that fails nothing is left in it; what an interrupted process left
 * there was given to nobody yet, and is removed first.
 *
 * @throws {CommandError} as `requireFreeFolder`. {RuntimeError} `ERR_DISK_FULL`, `ERR_FILE_FAILED`.
 */
export async function fillClusterFolder(dir: string, make: () => Promise<ClusterFile>): Promise<ClusterFile> {
  ensureFolder(dir)
  await requireFreeFolder(dir)
  if (inTheMaking.has(dir)) throw otherMaker(dir)
  inTheMaking.add(dir)
  try {
    if (makerOf(dir) !== undefined) await takeOver(dir)
    markUnfinished(dir)
    return await fill(dir, make)
  } finally {
    inTheMaking.delete(dir)
  }
}

async function fill(dir: string, make: () => Promise<ClusterFile>): Promise<ClusterFile> {
  try {
    ensureFolder(clusterPaths.secrets(dir))
    const cluster = await make()
    // From here on it is a cluster, whether or not the mark is still there.
    await writeCluster(dir, cluster)
    await rm(clusterPaths.unfinished(dir))
    return cluster
  } catch (error) {
    await emptyFolder(dir)
    throw error
  }
}

async function emptyFolder(dir: string): Promise<void> {
  for (const name of await readdir(dir)) await rm(join(dir, name), { recursive: true, force: true })
}

/**
 * The account that a name stands for in this cluster; 64 hexadecimal characters stand for themselves.
 *
 * @throws {CommandError} for a name that nobody has, with the names that there are.
 */
export function resolvePerson(people: readonly KnownPerson[], given: string, what: string): KnownPerson {
  const nameOrAccount = given.normalize('NFC')
  const found = people.find(({ name, account }) => name === nameOrAccount || account === nameOrAccount)
  if (found !== undefined) return found
  if (/^[0-9a-f]{64}$/.test(nameOrAccount)) return { name: nameOrAccount, account: nameOrAccount, node: '' }
  const names = people.map(({ name }) => name).join(', ') || 'none'
  throw new CommandError(`there is no ${what} "${nameOrAccount}" here (${names})`)
}
