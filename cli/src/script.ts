import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { projectRoot } from './cluster/root.ts'
import type { ExitCode, Io } from './io.ts'

/** The exit code of a process that a signal ended and that cleaned up first. */
const brokenOffCode = 130

/** Runs a script of the project (`bench/ledger.ts`, `test/chaos/main.ts`) in a process of its own; its stdout is the command's. */
export function runScript(path: string, args: readonly string[], io: Io): Promise<ExitCode> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(projectRoot, path), ...args], {
      cwd: projectRoot,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    child.stdout.setEncoding('utf8').on('data', (text: string) => io.stdout(text))
    // The child gets the terminal's signals itself, and cleans up before it ends.
    const wait = (): void => {}
    const pass = (): void => void child.kill('SIGTERM')
    process.on('SIGINT', wait)
    process.on('SIGTERM', pass)
    child.once('error', reject)
    child.once('close', (code, signal) => {
      process.off('SIGINT', wait)
      process.off('SIGTERM', pass)
      if (signal !== null || code === brokenOffCode)
        io.stderr('broken off: nothing is said about what was not done yet\n')
      resolve(code === 0 || code === 2 ? code : 1)
    })
  })
}
