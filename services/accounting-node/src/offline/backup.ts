/**
 * Backup of a node while it runs, and its restoration. Journals are only appended to, so a copy of one is a beginning of it; databases are
 * copied by SQLite. What follows from the log (state, tiles) is left out. The node's word is copied last: a backup never has less of it
 * than of the log. A restored node asks its peers what it had signed, catches up, and signs nothing below that.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { copyFile, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { backup as backUpDatabase, DatabaseSync } from 'node:sqlite'
import type { Ledger } from '@healthblock/chain/block'
import { ledgerIdOf } from '@healthblock/chain/genesis'
import { rankedNodes } from '@healthblock/chain/policy'
import { userTables } from '@healthblock/chain/tables'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder, fileError, lockFolder, syncFolder } from '@healthblock/runtime/files'
import { databaseError } from '@healthblock/runtime/sqlite'
import { backupFault, readManifest, writeManifest } from './backup-manifest.ts'
import { checkNode, type NodeReport } from './check-node.ts'

/** Files of a node in the order in which they are copied: the log holds what the checkpoint names, the promise comes last. */
const files = [
  'genesis.cbor',
  ...['userchain', 'docchain'].map((chain) => `${chain}/checkpoint`),
  ...['userchain', 'docchain'].map((chain) => `${chain}/log/blocks`),
  // Peers have the trail too, but if all nodes are restored nobody can make its steps again.
  'userchain/trail',
  'incidents.log',
  'witnesses.json',
  ...['userchain', 'docchain'].flatMap((chain) => [`${chain}/staged/blocks`, `${chain}/promise`]),
]
const databases = [
  ...['userchain/outbox.db', 'docchain/outbox.db', 'userchain/closures.db'],
  ...['directory.db', 'evidence.db', 'audits.db'],
]
/** Who may log in at the portal, with second factors: secret, so it goes with the keys. */
const portalFile = 'portal.json'

async function copy(from: string, to: string): Promise<void> {
  ensureFolder(dirname(to))
  try {
    await copyFile(from, to)
    const handle = await open(to, 'r+')
    try {
      await handle.chmod(0o600)
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw fileError(to, error)
  }
  syncFolder(dirname(to))
}

/** The files of a folder that is copied whole, by their paths. */
function filesIn(dir: string, folder: string): string[] {
  return existsSync(join(dir, folder)) ? readdirSync(join(dir, folder)).map((name) => `${folder}/${name}`) : []
}

async function copyDatabase(from: string, to: string): Promise<void> {
  ensureFolder(dirname(to))
  const source = new DatabaseSync(from, { readOnly: true })
  try {
    await backUpDatabase(source, to)
  } catch (error) {
    throw databaseError(to, error)
  } finally {
    source.close()
  }
}

/** Public node key of the node whose secrets lie in a folder, in hex; undefined if they lie elsewhere, or are none. */
function nodeKeyIn(dir: string): string | undefined {
  const path = join(dir, 'secrets', 'node.key')
  const seed = existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
  return /^[0-9a-f]{64}$/.test(seed) ? toHex(signingKeyFromSeed(fromHex(seed)).publicKey) : undefined
}

/** Account of the node that had this key under any policy of the ledger, in hex. */
function accountOfKey(ledger: Ledger, key: string): string | undefined {
  const state = ledger.state('userchain')
  for (let k = 0; ; k++) {
    const policy = userTables.policy.get(state, k)
    if (policy === undefined) return undefined
    const found = rankedNodes(policy).find(({ node }) => toHex(node[2]) === key)
    if (found !== undefined) return toHex(found.account)
  }
}

/**
 * Backs a node up. It may run: it is neither asked nor held up.
 *
 * @param options - `to` must be absent or empty. `withSecrets`: the keys too, and who may log in at the portal; whoever has them is the node.
 * @returns Bytes of the copies of both logs.
 * @throws {AccountingError} `ERR_BACKUP_INVALID`. {RuntimeError} `ERR_DISK_FULL`, `ERR_FILE_FAILED`, `ERR_DATABASE_FAILED`: then `to` is empty.
 */
export async function backUpNode(options: {
  from: string
  to: string
  withSecrets: boolean
  nowMs: number
}): Promise<{ ledgerId: string; sizeBytes: number }> {
  const { from, to, withSecrets, nowMs } = options
  if (!existsSync(join(from, 'genesis.cbor')))
    throw backupFault(`${from} is no folder of an accounting node: it has no genesis.cbor`)
  if (existsSync(to) && readdirSync(to).length > 0) throw backupFault(`${to} is not empty: name a new folder`)
  const secrets = withSecrets ? filesIn(from, 'secrets') : []
  if (withSecrets && secrets.length === 0)
    throw backupFault(`${from} has no secrets/: they lie elsewhere, and are backed up there`)
  const present = (file: string): boolean => existsSync(join(from, file))
  const portal = withSecrets && present(portalFile) ? [portalFile] : []
  const copied = [...filesIn(from, 'successions'), ...files.filter(present), ...secrets, ...portal]
  const stored = databases.filter(present)
  ensureFolder(to)
  try {
    for (const file of copied) await copy(join(from, file), join(to, file))
    for (const file of stored) await copyDatabase(join(from, file), join(to, file))
    const ledgerId = toHex(ledgerIdOf(new Uint8Array(readFileSync(join(to, 'genesis.cbor')))))
    const node = nodeKeyIn(from)
    const about = { ledgerId, at: nowMs, withSecrets, ...(node === undefined ? {} : { node }) }
    await writeManifest(to, about, [...copied, ...stored])
    const logs = copied.filter((file) => file.endsWith('/log/blocks'))
    return { ledgerId, sizeBytes: logs.reduce((sum, file) => sum + statSync(join(to, file)).size, 0) }
  } catch (error) {
    // The folder was empty: half a backup is of no use, and would bar the next one.
    for (const name of readdirSync(to)) rmSync(join(to, name), { recursive: true, force: true })
    throw error
  }
}

/** Moves what a folder holds of a ledger into a folder within it, so that nothing is lost by a restoration. */
function setAside(dir: string, aside: string): void {
  const stores = ['directory.db', 'evidence.db', 'audits.db']
  const sidecars = stores.flatMap((file) => [`${file}-wal`, `${file}-shm`])
  for (const name of ['genesis.cbor', 'userchain', 'docchain', 'incidents.log', ...stores, ...sidecars])
    move(dir, aside, name)
  syncFolder(dir)
}

function move(dir: string, aside: string, file: string): void {
  if (!existsSync(join(dir, file))) return
  ensureFolder(dirname(join(aside, file)))
  renameSync(join(dir, file), join(aside, file))
}

/** Puts a copied file in its place; another one that is there is set aside: the keys of a node may have been replaced since. */
function putBack(file: string, { from, to, aside }: { from: string; to: string; aside: string }): void {
  const [source, target] = [join(from, file), join(to, file)]
  if (existsSync(target) && !equalBytes(readFileSync(source), readFileSync(target))) move(to, aside, file)
  ensureFolder(dirname(target))
  renameSync(source, target)
  syncFolder(dirname(target))
}

/**
 * Restores a node from a backup that passes every check. The node must not run. What the folder held of a ledger, and keys that are others
 * in the backup, are set aside, not removed.
 *
 * @returns The check's report, and where the old files are, if there were any.
 * @throws {AccountingError} `ERR_BACKUP_INVALID` for a folder that is no whole backup, of another ledger or node, or damaged. {RuntimeError}
 * `ERR_DISK_FULL`, `ERR_FILE_FAILED`: then the folder is as it was.
 */
export async function restoreNode(options: {
  from: string
  to: string
  nowMs: number
}): Promise<{ report: NodeReport; aside: string | undefined }> {
  const { from, to, nowMs } = options
  const manifest = readManifest(from)
  const [theirs, own] = [manifest.node, nodeKeyIn(to)]
  let isOther = false
  const report = await checkNode(from, (ledger) => {
    if (theirs === undefined || own === undefined || theirs === own) return
    // Keys are replaced, the account stays.
    const accounts = [theirs, own].map((key) => accountOfKey(ledger, key))
    isOther = accounts.every((account) => account !== undefined) && accounts[0] !== accounts[1]
  })
  const [first] = report.findings
  if (first !== undefined) throw backupFault(`the backup is damaged: ${first.code} in ${first.file}: ${first.message}`)
  if (isOther)
    throw backupFault(
      `${from} is the backup of another node than that of ${to}: what it promised is not this one's word`,
    )
  const lock = lockFolder(to)
  const copies = join(to, 'restoring')
  try {
    rmSync(copies, { recursive: true, force: true })
    const own = join(to, 'genesis.cbor')
    if (existsSync(own) && !equalBytes(readFileSync(own), readFileSync(join(from, 'genesis.cbor'))))
      throw backupFault(`${to} belongs to another ledger than the backup`)
    const aside = join(to, `before-restore-${nowMs}`)
    const folders = ['successions', 'secrets'].flatMap((folder) => filesIn(from, folder))
    const restored = [...files, ...databases, ...folders, portalFile]
    // What somebody put beside the backup's files is none of them.
    const isOfIt = (file: string): boolean => manifest.files === undefined || Object.hasOwn(manifest.files, file)
    const present = restored.filter((file) => isOfIt(file) && existsSync(join(from, file)))
    // Nothing is set aside before the disk has room for all of it.
    for (const file of present) await copy(join(from, file), join(copies, file))
    setAside(to, aside)
    for (const file of present) putBack(file, { from: copies, to, aside })
    return { report, aside: existsSync(aside) ? aside : undefined }
  } finally {
    rmSync(copies, { recursive: true, force: true })
    lock.release()
  }
}
