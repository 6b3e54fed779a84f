/**
 * A local cluster is a folder: one subfolder per process, `secrets/` for what people would keep, `cluster.json` for
 * what was asked for. Everything else (addresses, pids) is found in the nodes' own folders.
 */

import { existsSync, readFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { ensureFolder, writeFileDurably } from '@healthblock/runtime/files'
import { CommandError } from '../io.ts'

/** What a process of a cluster is. */
export type NodeRole = 'accounting' | 'storage' | 'user' | 'doctor'

/** One process of a cluster: its name is its folder's name. */
export interface NodePlan {
  readonly name: string
  readonly role: NodeRole
  /** Of an accounting node that joined later, or whose keys were replaced: its account and its organisation's (hex). */
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

/** Paths inside a cluster's folder. */
export const clusterPaths = {
  file: (dir: string): string => join(dir, 'cluster.json'),
  /** There while a cluster is being made, and no longer. */
  unfinished: (dir: string): string => join(dir, 'unfinished'),
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
 * @throws {CommandError} if there is no cluster in the folder.
 */
export function readCluster(dir: string): ClusterFile {
  const path = clusterPaths.file(dir)
  if (!existsSync(path)) {
    throw new CommandError(`there is no cluster in ${dir}: make one with ./healthblock up --dir ${dir}`)
  }
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ClusterFile
  } catch (cause) {
    throw new CommandError(`${path} cannot be read: restore it from a backup of its folder`, undefined, { cause })
  }
}

/** Replaces `cluster.json`. */
export async function writeCluster(dir: string, cluster: ClusterFile): Promise<void> {
  writeFileDurably(clusterPaths.file(dir), `${JSON.stringify(cluster, null, 2)}\n`)
}

/**
 * Makes the folder of a new cluster, and fills it by `make`. If that fails nothing is left in it; what an interrupted process left
 * there was given to nobody yet, and is removed first.
 *
 * @throws {CommandError} if it holds anything else: a new ledger never comes to be beside an old one. {RuntimeError} `ERR_DISK_FULL`,
 *   `ERR_FILE_FAILED`.
 */
export async function fillClusterFolder(dir: string, make: () => Promise<ClusterFile>): Promise<ClusterFile> {
  ensureFolder(dir)
  const marker = clusterPaths.unfinished(dir)
  const found = await readdir(dir)
  if (found.includes(basename(marker))) await emptyFolder(dir)
  else if (found.length > 0) {
    throw new CommandError(
      `${dir} is not empty and holds no cluster (${found.slice(0, 3).join(', ')}…): name an empty folder, or restore cluster.json`,
    )
  }
  try {
    writeFileDurably(marker, '')
    ensureFolder(clusterPaths.secrets(dir))
    const cluster = await make()
    await rm(marker)
    // From here on it is a cluster.
    await writeCluster(dir, cluster)
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
export function resolvePerson(people: readonly KnownPerson[], nameOrAccount: string, what: string): KnownPerson {
  const found = people.find(({ name, account }) => name === nameOrAccount || account === nameOrAccount)
  if (found !== undefined) return found
  if (/^[0-9a-f]{64}$/.test(nameOrAccount)) return { name: nameOrAccount, account: nameOrAccount, node: '' }
  const names = people.map(({ name }) => name).join(', ') || 'none'
  throw new CommandError(`there is no ${what} "${nameOrAccount}" here (${names})`)
}
