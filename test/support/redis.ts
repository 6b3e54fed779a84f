/** A private Redis for a test: its own folder, a free loopback port, gone when stopped. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from '@healthblock/runtime/ports'

/** A running instance. */
export interface TestRedis {
  readonly url: string
  readonly port: number
  /** Forgets everything, as FLUSHALL does. */
  wipe(): void
  /** Names of the keys that match a pattern. */
  keys(pattern: string): string[]
  /** Ends the process at once; the port stays its own for `restart`. */
  kill(): Promise<void>
  /** Starts it again on the same port: empty, or with its append-only file. */
  restart(): Promise<void>
  /** The folder of the append-only file, if it has one. */
  readonly appendOnlyDir: string
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

/** True if `redis-server` is installed; tests that need it are skipped by name otherwise. */
export const redisInstalled: boolean = (() => {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

function launch(port: number, dir: string, appendOnly: boolean): Promise<ChildProcess> {
  const child = spawn(
    'redis-server',
    [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      dir,
      '--save',
      '',
      '--appendonly',
      appendOnly ? 'yes' : 'no',
      '--daemonize',
      'no',
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  return new Promise((resolve, reject) => {
    let text = ''
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}: ${text}`)))
    child.stdout?.on('data', (part: Buffer) => {
      text += part.toString()
      if (text.includes('Ready to accept connections')) {
        child.removeAllListeners('exit')
        child.stdout?.resume()
        resolve(child)
      }
    })
  })
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}

/** Starts a private instance; with `appendOnly` it keeps its data in an append-only file, synced every second. */
export async function startTestRedis({ appendOnly = false } = {}): Promise<TestRedis> {
  const port = await findFreePort()
  const dir = mkdtempSync(join(tmpdir(), 'healthblock-redis-'))
  let child = await launch(port, dir, appendOnly)
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    appendOnlyDir: join(dir, 'appendonlydir'),
    wipe() {
      execFileSync('redis-cli', ['-p', String(port), 'FLUSHALL'], { stdio: 'ignore' })
    },
    keys(pattern) {
      const text = execFileSync('redis-cli', ['-p', String(port), '--raw', 'KEYS', pattern], { encoding: 'utf8' })
      return text.split('\n').filter((line) => line !== '')
    },
    kill: () => end(child),
    async restart() {
      await end(child)
      child = await launch(port, dir, appendOnly)
    },
    async stop() {
      await end(child)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
