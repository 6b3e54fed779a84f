/** For tests, on Linux: a store whose log cannot be synced any more. */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** The file by which a store's thread syncs the log: SQLite has its own, which it writes to. */
function logFileOf(folder: string): number {
  const isLog = (file: number): boolean => {
    try {
      const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${file}`, 'utf8'))?.[1] ?? ''
      const isRead = (Number.parseInt(flags, 8) & 3) === 0
      return isRead && readlinkSync(`/proc/self/fd/${file}`) === join(folder, 'blocks.db-wal')
    } catch {
      return false
    }
  }
  return readdirSync('/proc/self/fd').map(Number).find(isLog) as number
}

/** Puts a file that cannot be synced in the place of the log's. @param folder - of the store, which is open. */
export function breakLog(folder: string): void {
  const log = logFileOf(folder)
  closeSync(log)
  const others: number[] = []
  while (others.at(-1) !== log) others.push(openSync('/proc/self/status', 'r'))
  for (const file of others) if (file !== log) closeSync(file)
}
