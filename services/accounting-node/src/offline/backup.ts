/**
 * Backup of a node while it runs, and its restoration. Journals are only appended to, so a copy of one is a beginning of it; databases are
 * copied by SQLite. What follows from the log (state, tiles) is left out. The node's word is copied last: a backup never has less of it
 * than of the log. A restored node asks its peers what it had signed, catches up, and signs nothing below that.
 */
import { existsSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { copyFile, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { backup as backUpDatabase, DatabaseSync } from 'node:sqlite'
import { ledgerIdOf } from '@healthblock/chain/genesis'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder, lockFolder, syncFolder, writeFileDurably } from '@healthblock/runtime/files'
import { AccountingError } from '../errors.ts'
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
/** Written last: a folder without it is no whole backup. */
const manifest = 'backup.json'

function fault(reason: string): AccountingError {
  return new AccountingError(reason, { code: 'ERR_BACKUP_INVALID', reason })
}

async function copy(from: string, to: string): Promise<void> {
  ensureFolder(dirname(to))
  await copyFile(from, to)
  const handle = await open(to, 'r+')
  try {
    await handle.chmod(0o600)
    await handle.sync()
  } finally {
    await handle.close()
  }
  syncFolder(dirname(to))
}

/** Successions that the node knows: without them a restored node would go on with a ledger that has ended. */
async function copySuccessions(from: string, to: string): Promise<void> {
  const folder = join(from, 'successions')
  if (!existsSync(folder)) return
  for (const name of readdirSync(folder)) await copy(join(folder, name), join(to, 'successions', name))
}

async function copyDatabase(from: string, to: string): Promise<void> {
  ensureFolder(dirname(to))
  const source = new DatabaseSync(from, { readOnly: true })
  try {
    await backUpDatabase(source, to)
  } finally {
    source.close()
  }
}

async function copySecrets(from: string, to: string): Promise<void> {
  const folder = join(from, 'secrets')
  if (!existsSync(folder)) throw fault(`${from} has no secrets/: they lie elsewhere, and are backed up there`)
  for (const name of readdirSync(folder)) await copy(join(folder, name), join(to, 'secrets', name))
}

/**
 * Backs a node up. It may run: it is neither asked nor held up.
 *
 * @param options - `to` must be absent or empty. `withSecrets`: the keys too; whoever has them is the node.
 * @returns Bytes of the copies of both logs.
 * @throws {AccountingError} `ERR_BACKUP_INVALID`.
 */
export async function backUpNode(options: {
  from: string
  to: string
  withSecrets: boolean
  nowMs: number
}): Promise<{ ledgerId: string; sizeBytes: number }> {
  const { from, to, withSecrets, nowMs } = options
  if (!existsSync(join(from, 'genesis.cbor')))
    throw fault(`${from} is no folder of an accounting node: it has no genesis.cbor`)
  if (existsSync(to) && readdirSync(to).length > 0) throw fault(`${to} is not empty: name a new folder`)
  ensureFolder(to)
  let sizeBytes = 0
  for (const file of files) {
    if (!existsSync(join(from, file))) continue
    await copy(join(from, file), join(to, file))
    if (file.endsWith('/log/blocks')) sizeBytes += statSync(join(to, file)).size
  }
  for (const file of databases) if (existsSync(join(from, file))) await copyDatabase(join(from, file), join(to, file))
  if (withSecrets) await copySecrets(from, to)
  const ledgerId = toHex(ledgerIdOf(new Uint8Array(readFileSync(join(to, 'genesis.cbor')))))
  writeFileDurably(join(to, manifest), `${JSON.stringify({ v: 1, ledgerId, at: nowMs, withSecrets })}\n`, {
    mode: 0o600,
  })
  return { ledgerId, sizeBytes }
}

/** Moves what a folder holds of a ledger into a folder beside it, so that nothing is lost by a restoration. */
function setAside(dir: string, nowMs: number): string | undefined {
  const names = [
    'genesis.cbor',
    'userchain',
    'docchain',
    'incidents.log',
    'directory.db',
    'evidence.db',
    'audits.db',
  ].filter((name) => existsSync(join(dir, name)))
  if (names.length === 0) return undefined
  const aside = join(dir, `before-restore-${nowMs}`)
  ensureFolder(aside)
  for (const name of names) renameSync(join(dir, name), join(aside, name))
  for (const name of ['directory.db', 'evidence.db', 'audits.db'].flatMap((file) => [`${file}-wal`, `${file}-shm`])) {
    if (existsSync(join(dir, name))) renameSync(join(dir, name), join(aside, name))
  }
  syncFolder(dir)
  return aside
}

/**
 * Restores a node from a backup that passes every check. The node must not run. What the folder held of a ledger is set aside, not removed.
 *
 * @returns The check's report, and where the old files are, if there were any.
 * @throws {AccountingError} `ERR_BACKUP_INVALID` for a folder that is no whole backup, of another ledger, or damaged.
 */
export async function restoreNode(options: {
  from: string
  to: string
  nowMs: number
}): Promise<{ report: NodeReport; aside: string | undefined }> {
  const { from, to, nowMs } = options
  if (!existsSync(join(from, manifest))) throw fault(`${from} is no whole backup: it has no ${manifest}`)
  const report = await checkNode(from)
  const [first] = report.findings
  if (first !== undefined) throw fault(`the backup is damaged: ${first.code} in ${first.file}: ${first.message}`)
  const lock = lockFolder(to)
  try {
    const own = join(to, 'genesis.cbor')
    if (existsSync(own) && !equalBytes(readFileSync(own), readFileSync(join(from, 'genesis.cbor'))))
      throw fault(`${to} belongs to another ledger than the backup`)
    const aside = setAside(to, nowMs)
    for (const file of [...files, ...databases])
      if (existsSync(join(from, file))) await copy(join(from, file), join(to, file))
    await copySuccessions(from, to)
    if (existsSync(join(from, 'secrets'))) await copySecrets(from, to)
    return { report, aside }
  } finally {
    lock.release()
  }
}
