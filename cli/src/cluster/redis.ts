import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { CommandError, type Io } from '../io.ts'

/** The absolute path of a program on PATH, or `undefined`. */
export function findProgram(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here: look further.
    }
  }
  return undefined
}

function runVisibly(command: string, args: string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 2, 2],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
    child.once('error', () => resolve(1))
    child.once('close', (code) => resolve(code ?? 1))
  })
}

/**
 * Makes sure that `redis-server` is there, unless REDIS_URL names another one; installs it with the system's package
 * manager after saying so.
 *
 * @throws {CommandError} with what to do, if it cannot be installed from here.
 */
export async function ensureRedisServer(io: Io): Promise<void> {
  if ((process.env.REDIS_URL ?? '') !== '' || findProgram('redis-server') !== undefined) return
  const isRoot = process.getuid?.() === 0
  if (findProgram('apt-get') !== undefined && isRoot) {
    io.stderr('healthblock: redis-server is not installed; installing it with apt-get\n')
    await runVisibly('apt-get', ['update', '-q'])
    await runVisibly('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'redis-server'])
    // Debian starts a system-wide server on install where an init system runs; ours are private instances.
    if (findProgram('redis-server') !== undefined) return
  }
  throw new CommandError(
    'Redis 7 is needed: install redis-server (Debian: apt-get install redis-server; macOS: brew install redis), or set REDIS_URL',
  )
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
