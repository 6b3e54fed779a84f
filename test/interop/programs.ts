/** The foreign programs that `build.sh` builds, and how the tests run them. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '@healthblock/runtime/ports'

const folder = fileURLToPath(new URL('../../.cache/interop/', import.meta.url))

/** True if they are built; where they are not (no Go), the tests that need them are skipped by name. */
export const hasPrograms = existsSync(join(folder, 'stamp'))

/** Path of a program. */
export function program(name: 'fsck' | 'litewitness' | 'check-proof' | 'key-agent'): string {
  return join(folder, name)
}

/** How a program ended, and all that it printed. */
export interface Ended {
  readonly code: number
  readonly output: string
}

/** Runs a program to its end. */
export function runProgram(name: 'fsck' | 'check-proof', args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child: ChildProcess = execFile(program(name), args, { timeout: 120_000 }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, output: `${stdout}${stderr}` })
    })
  })
}

/**
 * Checks a log with Tessera's fsck. It ends with code 0 whatever it finds, so what it logs is judged.
 *
 * @returns The size that it checked, if it found the log whole; else what it said.
 */
export async function fsckLog(log: { url: string; keyFile: string; token: string }): Promise<number | string> {
  const { output } = await runProgram('fsck', [
    ...['--storage_url', log.url, '--public_key', log.keyFile, '--bearer_token', log.token],
    ...['--ui=false', '--N', '2', '--logtostderr'],
  ])
  const [, size] = /Successfully fsck'd log with size (\d+)/.exec(output) ?? []
  return size === undefined || /fsck failed/.test(output) ? output : Number(size)
}

/** Waits for the line of a program that `pattern` fits; gives its first group. */
function lineOf(child: ChildProcess, stream: 'stdout' | 'stderr', pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const said: string[] = []
    const lines = createInterface({ input: child[stream] as NonNullable<ChildProcess['stdout']> })
    lines.on('line', (line) => {
      said.push(line)
      const [, found] = pattern.exec(line) ?? []
      if (found !== undefined) resolve(found)
    })
    child.once('exit', (code) => reject(new Error(`ended with ${code}: ${said.join('\n')}`)))
  })
}

/**
 * A litewitness that runs, with its key in an agent of its own. Its logs are entered as `witnessctl add-log` and `add-key` do, which
 * is not built, because not every module proxy has what it imports.
 */
export class Litewitness {
  readonly #database: string
  readonly #children: ChildProcess[]
  readonly url: string
  readonly vkey: string

  private constructor(database: string, children: ChildProcess[], url: string, vkey: string) {
    this.#database = database
    this.#children = children
    this.url = url
    this.vkey = vkey
  }

  static async start(dir: string, logs: readonly { origin: string; keys: readonly string[] }[]): Promise<Litewitness> {
    const [socket, database] = [join(dir, 'agent.sock'), join(dir, 'litewitness.db')]
    const agent = spawn(program('key-agent'), [socket], { stdio: ['ignore', 'pipe', 'pipe'] })
    const fingerprint = await lineOf(agent, 'stdout', /^(SHA256:\S+)$/)
    const port = await findFreePort()
    const args = ['-name', 'witness.example/lite', '-db', database, '-ssh-agent', socket, '-key', fingerprint]
    const child = spawn(program('litewitness'), [...args, '-listen', `127.0.0.1:${port}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const vkey = await lineOf(child, 'stderr', /vkey=(\S+)/)
    const witness = new Litewitness(database, [child, agent], `http://127.0.0.1:${port}`, vkey)
    for (const { origin, keys } of logs) {
      // The root of no leaf: SHA-256 of nothing.
      witness.run("INSERT INTO log VALUES (?, 0, '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')", origin)
      for (const key of keys) witness.run('INSERT INTO key VALUES (?, ?)', origin, key)
    }
    return witness
  }

  /** Runs a statement on its database. */
  run(sql: string, ...values: string[]): void {
    const database = new DatabaseSync(this.#database)
    try {
      database.exec('PRAGMA busy_timeout = 5000')
      database.prepare(sql).run(...values)
    } finally {
      database.close()
    }
  }

  /** Size that it cosigned last of a log. */
  sizeOf(origin: string): number {
    const database = new DatabaseSync(this.#database, { readOnly: true })
    try {
      const row = database.prepare('SELECT tree_size FROM log WHERE origin = ?').get(origin)
      return Number(row?.tree_size)
    } finally {
      database.close()
    }
  }

  /** Ends it at once. */
  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }
}
