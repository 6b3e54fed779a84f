import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { sha256 } from '@healthblock/crypto/hash'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { CommandError, type Io } from '../io.ts'
import { ensureProgram } from './install.ts'

/**
 * Makes sure that `redis-server` is there, unless REDIS_URL names another one; installs it with the system's package
 * manager after saying so.
 *
 * @throws {CommandError} with what to do, if it cannot be installed from here.
 */
export async function ensureRedisServer(io: Io): Promise<void> {
  if ((process.env.REDIS_URL ?? '') !== '') return
  if (await ensureProgram(io, { program: 'redis-server', package: 'redis-server' })) return
  throw new CommandError(
    'Redis 7 is needed: install redis-server (Debian: apt-get install redis-server; macOS: brew install redis), or set REDIS_URL',
  )
}

const redisPortDefault = 6379
const redisAnswerMs = 3_000

/**
 * Makes sure that something listens where REDIS_URL points, before anything is started that would wait for it.
 *
 * @throws {CommandError} with what to do; no password is in it.
 */
export async function requireRedisAt(redisUrl: string): Promise<void> {
  let url: URL
  try {
    url = new URL(redisUrl)
  } catch {
    throw new CommandError('REDIS_URL is not a URL such as redis://127.0.0.1:6379')
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') {
    throw new CommandError(`REDIS_URL begins with ${url.protocol}// and must begin with redis:// or rediss://`)
  }
  const host = url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1'
  const port = Number(url.port || redisPortDefault)
  const fault = await new Promise<string | undefined>((resolve) => {
    const end = (outcome: string | undefined): void => {
      socket.destroy()
      resolve(outcome)
    }
    const socket = createConnection({ host, port }, () => end(undefined))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
    socket.setTimeout(redisAnswerMs, () => end('no answer'))
  })
  if (fault !== undefined) {
    throw new CommandError(
      `REDIS_URL names ${host}:${port}, where nothing answers (${fault}): start Redis there, correct REDIS_URL, or unset it to have a private one started`,
    )
  }
}

/** A Redis instance of a cluster. */
export interface RedisPlan {
  readonly dir: string
  readonly port: number
}

/**
 * The configuration of a private Redis: loopback only, its own folder, every write in an append-only file, users from
 * `users.acl`. The process keeps its command line, by which its pid is told from a reused one.
 */
export function redisConfiguration(plan: RedisPlan): string {
  return [
    `port ${plan.port}`,
    'bind 127.0.0.1',
    `dir ${JSON.stringify(plan.dir)}`,
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    'maxmemory-policy noeviction',
    'daemonize no',
    'set-proc-title no',
    'loglevel warning',
    `aclfile ${JSON.stringify(join(plan.dir, 'users.acl'))}`,
    '',
  ].join('\n')
}

/**
 * Redis users: one for each accounting node, with what the queue needs and no more; the default user is off. Their file holds hashes, not
 * passwords: Redis may run as somebody else than the owner of the folder, and must read it.
 */
export async function writeRedisUsers(dir: string, names: string[]): Promise<Map<string, string>> {
  const passwords = new Map<string, string>()
  // Off: nobody can be it. Its rights are what Redis replays its own file with; without them all that was done in transactions is lost.
  const lines = ['user default off resetpass ~* &* +@all']
  for (const name of names) {
    const path = join(dir, `${name}.password`)
    if (!existsSync(path)) writeFileDurably(path, toHex(randomBytes(24)), { mode: 0o600 })
    const password = readFileSync(path, 'utf8')
    passwords.set(name, password)
    lines.push(
      `user ${name} on #${toHex(sha256(encodeUtf8(password)))} ~hb* &* +@all -@admin -@dangerous +info +client -client|kill -client|pause`,
    )
  }
  writeFileDurably(join(dir, 'users.acl'), `${lines.join('\n')}\n`)
  return passwords
}
