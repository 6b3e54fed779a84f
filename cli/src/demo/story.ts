/** What a demonstration's steps share: the cluster, a way to run commands as a user would, and what they found. */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type ClusterFile, readCluster } from '../cluster/layout.ts'
import type { Command, Io } from '../io.ts'

/** One step's outcome: printed as one JSON object a line with `--json`. */
export interface StepResult {
  readonly step: string
  readonly ok: boolean
  readonly [evidence: string]: unknown
}

/** The running story. */
export interface Story {
  readonly dir: string
  readonly io: Io
  /** Says a sentence to the reader. */
  readonly tell: (text: string) => void
  /** What the record is called, and whether it is real. */
  readonly record: { path: string; name: string; isReal: boolean; seconds: number }
  /** Numerics of a monitor, one value a second. */
  readonly vitals: { path: string; name: string; isReal: boolean; seconds: number }
  readonly speed: number | 'max'
  readonly cluster: () => ClusterFile
  /** Facts that later steps need. */
  readonly facts: Map<string, unknown>
}

/** Runs a command with `--json` as a user would, and parses what it printed. */
export async function runJson<T>(story: Story, command: Command, args: string[]): Promise<{ code: number; value: T }> {
  let output = ''
  const io: Io = {
    stdin: story.io.stdin,
    stdout: (text) => {
      output += text
    },
    stderr: () => {},
    interactive: false,
  }
  const code = await command([...args, '--dir', story.dir, '--json'], io)
  return { code, value: (output === '' ? undefined : JSON.parse(output)) as T }
}

/** Asks again until `find` gives a value, at most `timeoutMs`. */
export async function eventually<T>(find: () => Promise<T | undefined>, timeoutMs: number): Promise<T | undefined> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const found = await find()
    if (found !== undefined || Date.now() > deadline) return found
    await delay(100)
  }
}

/** The story's cluster as its folder knows it now. */
export function currentCluster(dir: string): ClusterFile {
  return readCluster(dir)
}

/** True if the file is there. */
export function isFile(path: unknown): path is string {
  return typeof path === 'string' && existsSync(path)
}
