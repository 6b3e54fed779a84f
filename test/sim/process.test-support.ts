/** Runs the simulator as a process of its own: its hooks must be there before the nodes' code is loaded. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('main.ts', import.meta.url))

/** Time for a machine that has other work. */
export const timeoutMs = 15 * 60_000

/** A run of the command: what it wrote, and its exit code. */
export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `./healthblock test sim` with these arguments; `program` is its main file, here or in a copy. */
export function simulate(args: readonly string[], program: string = main): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: process.env })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** The last line of a text: the command's summary. */
export function lastLine(text: string): string | undefined {
  return text.trimEnd().split('\n').at(-1)
}
