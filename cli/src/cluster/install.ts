/** Programs that the project needs beside Node: found on PATH, or installed with the system's package manager after saying so. */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Io } from '../io.ts'

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

/** Makes sure that a program is on PATH, and installs its Debian package if it may. Answers whether it is there in the end. */
export async function ensureProgram(io: Io, options: { program: string; package: string }): Promise<boolean> {
  if (findProgram(options.program) !== undefined) return true
  if (findProgram('apt-get') === undefined || process.getuid?.() !== 0) return false
  io.stderr(`healthblock: ${options.package} is not installed; installing it with apt-get\n`)
  await runVisibly('apt-get', ['update', '-q'])
  await runVisibly('apt-get', ['install', '-y', '-q', '--no-install-recommends', options.package])
  // Debian starts a system-wide server on install where an init system runs; ours are private instances.
  return findProgram(options.program) !== undefined
}
