/** Faults of files and databases under this package's types, in words that say what to do. */
import { messageOf, RuntimeError } from '../errors.ts'

/** What the system's codes mean to the person who reads the message. */
const meanings: Readonly<Record<string, string>> = {
  EACCES: 'permission denied: it must belong to the user of this process',
  EPERM: 'permission denied: it must belong to the user of this process',
  EROFS: 'the file system is read-only',
  ENOENT: 'it does not exist',
  ENOTDIR: 'a part of the path is not a folder',
  EISDIR: 'it is a folder',
  EMFILE: 'too many files are open: raise the limit (ulimit -n)',
}

/** Gives the system's file errors this package's type: `ERR_DISK_FULL` or `ERR_FILE_FAILED`, with what to do about it. */
export function fileError(path: string, error: unknown): RuntimeError {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new RuntimeError(`no room left for ${path}`, { code: 'ERR_DISK_FULL', path }, { cause: error })
  }
  const reason = code ?? messageOf(error)
  const meaning = meanings[reason]
  const message = meaning === undefined ? `${path}: ${reason}` : `${path}: ${meaning} (${reason})`
  return new RuntimeError(message, { code: 'ERR_FILE_FAILED', path, reason }, { cause: error })
}

const sqliteReadOnly = 8
const sqliteCorrupt = 11
const sqliteFull = 13
const sqliteCannotOpen = 14
const sqliteNotADatabase = 26

/** Gives SQLite's errors this package's type; any other error is given back. */
export function databaseError(path: string, error: unknown): unknown {
  if (error instanceof RuntimeError || !(error instanceof Error)) return error
  const { errcode } = error as { errcode?: number }
  if (errcode === undefined) return error
  const primary = errcode & 0xff
  if (primary === sqliteFull) {
    return new RuntimeError(`no room left for ${path}`, { code: 'ERR_DISK_FULL', path }, { cause: error })
  }
  if (primary === sqliteCorrupt || primary === sqliteNotADatabase) {
    const message = `${path} is damaged (${error.message}): restore it from a backup of its folder`
    return new RuntimeError(message, { code: 'ERR_DATABASE_CORRUPT', path }, { cause: error })
  }
  const reason = messageOf(error)
  const advice =
    primary === sqliteReadOnly || primary === sqliteCannotOpen
      ? ': the file and its folder must belong to the user of this process'
      : ''
  const message = `${path}: ${reason}${advice}`
  return new RuntimeError(message, { code: 'ERR_DATABASE_FAILED', path, reason }, { cause: error })
}
