/**
 * What a backup holds, with the SHA-256 of each file. Journals end with whatever came last, so that a damaged last record looks like one that
 * was torn when the node was copied: only a digest tells them apart.
 */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { writeFileDurably } from '@healthblock/runtime/files'
import { AccountingError } from '../errors.ts'

/** Written last: a folder without it is no whole backup. */
const name = 'backup.json'

/** A backup. */
export interface BackupManifest {
  readonly v: 1 | 2
  /** Lower-case hex. */
  readonly ledgerId: string
  /** Unix ms. */
  readonly at: number
  readonly withSecrets: boolean
  /** Public node key of the node then, in hex; absent if its secrets did not lie in its folder, or by an older release. */
  readonly node?: string
  /** By path below the folder, the SHA-256 in hex; version 1 has none. */
  readonly files?: Readonly<Record<string, string>>
}

/** @throws {AccountingError} `ERR_BACKUP_INVALID`, to be thrown. */
export function backupFault(reason: string): AccountingError {
  return new AccountingError(reason, { code: 'ERR_BACKUP_INVALID', reason })
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** Ends a backup: from now on it is whole. */
export async function writeManifest(
  dir: string,
  about: Omit<BackupManifest, 'v' | 'files'>,
  paths: readonly string[],
): Promise<void> {
  const files: Record<string, string> = {}
  for (const path of paths) files[path] = await digestOf(join(dir, path))
  const manifest: BackupManifest = { v: 2, ...about, files }
  writeFileDurably(join(dir, name), `${JSON.stringify(manifest)}\n`, { mode: 0o600 })
}

function isManifest(value: unknown): value is BackupManifest {
  const { v, ledgerId, node, files } = (value ?? {}) as Partial<BackupManifest>
  const areDigests = (named: object): boolean =>
    Object.values(named).every((digest) => typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest))
  if (typeof ledgerId !== 'string' || (node !== undefined && !/^[0-9a-f]{64}$/.test(node))) return false
  return v === 1 ? files === undefined : v === 2 && typeof files === 'object' && files !== null && areDigests(files)
}

/** True for the folder of a backup that was made whole. */
export function isBackup(dir: string): boolean {
  return existsSync(join(dir, name))
}

/** @throws {AccountingError} `ERR_BACKUP_INVALID` if there is none, or it cannot be read. */
export function readManifest(dir: string): BackupManifest {
  if (!isBackup(dir)) throw backupFault(`${dir} is no whole backup: it has no ${name}`)
  let value: unknown
  try {
    value = JSON.parse(readFileSync(join(dir, name), 'utf8'))
  } catch {
    // Not JSON.
  }
  if (!isManifest(value)) throw backupFault(`${join(dir, name)} is damaged, or of a later version`)
  return value
}

/** Files of a backup that are missing, or not what was copied, with what is wrong in words. */
export async function* damagedFiles(
  dir: string,
  { files = {} }: BackupManifest,
): AsyncGenerator<{ readonly file: string; readonly message: string }> {
  for (const [file, digest] of Object.entries(files)) {
    if (!existsSync(join(dir, file))) yield { file, message: 'it is missing' }
    else if ((await digestOf(join(dir, file))) !== digest) yield { file, message: 'it is not what was copied' }
  }
}
