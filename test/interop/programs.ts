/** The foreign programs that `build.sh` builds, and how the tests run them. */
import { type ChildProcess, execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

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
