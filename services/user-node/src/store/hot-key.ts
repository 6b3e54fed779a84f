/** The key that wraps the hot stores of the house: a file that only the service's user can read. */
import { join } from 'node:path'
import { newHotStoreKey } from '@healthblock/crypto/hot-store'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { readFileIfPresent, writeFileDurably } from '@healthblock/runtime/files'
import type { Database } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'

/** What to do about a key that is gone or another one. */
export function hotKeyWrong(path: string, what: string, cause?: unknown): UserNodeError {
  const message = `${path} ${what}: restore it from a backup of this folder (without it every person of the house needs her vault and a new hot store)`
  return new UserNodeError(message, { code: 'ERR_HOT_KEY_WRONG' }, { cause })
}

/**
 * Reads `hot.key`; a house without people gets a new one.
 *
 * @throws {UserNodeError} `ERR_HOT_KEY_WRONG` if it is missing although people live here, or is no key.
 */
export function loadWrappingKey(dir: string, database: Database): Uint8Array {
  const path = join(dir, 'hot.key')
  const kept = readFileIfPresent(path)
  if (kept !== undefined) {
    const text = new TextDecoder().decode(kept).trim()
    if (!/^[0-9a-f]{64}$/.test(text)) throw hotKeyWrong(path, 'is damaged')
    return fromHex(text)
  }
  // A new key would not open what the old one wrapped, and hide that it is gone.
  if (database.get('SELECT 1 AS one FROM person LIMIT 1') !== undefined) throw hotKeyWrong(path, 'is missing')
  const key = newHotStoreKey()
  writeFileDurably(path, `${toHex(key)}\n`, { mode: 0o600 })
  return key
}
