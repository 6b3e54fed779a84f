import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { logSizeBytesMax } from '@healthblock/runtime/bounded-log'
import { writeFileDurably } from '@healthblock/runtime/files'
import { CommandError } from '../io.ts'
import { projectRoot } from './root.ts'

/** How to start a process of a cluster. Its folder is named among its arguments, so that its pid can be told from a reused one. */
export interface ProcessPlan {
  readonly name: string
  readonly dir: string
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** Whether a process runs: `pid` is set exactly while it does. */
export interface ProcessState {
  readonly pid: number | undefined
  readonly url: string | undefined
  /** What the process says of itself at `/healthz` and `/readyz`; undefined for programs of other people. */
  readonly instance?: string
}

const startTimeoutMs = 60_000
const stopTimeoutMs = 15_000
const vainEveryMs = 2_000

function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** True if the pid is that of a living process that was started for this folder. */
function isOurs(pid: number, dir: string): boolean {
  if (!isAlive(pid)) return false
  if (!existsSync('/proc/self/cmdline')) return true
  const words = readProc(pid, 'cmdline')
  // A process has no command line for a moment after it was started, and when it has ended and waits for its parent.
  if (words === '') return !/\) [ZX] /.test(readProc(pid, 'stat'))
  const parts = words.split('\0').map((part) => `${part}/`)
  if (parts.some((part) => part.startsWith(`${dir}/`))) return true
  // The folder was moved since, or is named by another way: the process still stands in it.
  return parts.some((part) => part.includes(`/${basename(dir)}/`)) && workingFolder(pid) === realpathSync(dir)
}

function workingFolder(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return undefined
  }
}

/** Whether the process of a folder runs, and where it listens. */
export function readProcess(dir: string): ProcessState {
  let pid: number | undefined
  try {
    pid = Number(readFileSync(join(dir, 'pid'), 'utf8'))
  } catch {
    return { pid: undefined, url: undefined }
  }
  if (!Number.isSafeInteger(pid) || pid <= 1 || !isOurs(pid, dir)) return { pid: undefined, url: undefined }
  return { pid, ...readAddress(dir, pid) }
}

function readAddress(dir: string, pid: number): Pick<ProcessState, 'url' | 'instance'> {
  try {
    const text = readFileSync(join(dir, 'address.json'), 'utf8')
    const { url, pid: of, instance } = JSON.parse(text) as { url?: string; pid?: number; instance?: string }
    if (of !== undefined && of !== pid) return { url: undefined }
    return instance === undefined ? { url } : { url, instance }
  } catch {
    return { url: undefined }
  }
}

/** A line of a service's log in words: what happened, and why. Lines of other programs stay as they are. */
function inWords(line: string): string {
  let fields: { level?: unknown; msg?: unknown; err?: { message?: unknown }; reason?: unknown }
  try {
    fields = JSON.parse(line) as typeof fields
  } catch {
    return line
  }
  if (typeof fields?.msg !== 'string') return line
  const why = fields.err?.message ?? fields.reason
  return `${fields.level ?? ''} ${fields.msg}${typeof why === 'string' ? `: ${why}` : ''}`.trim()
}

/** A disk with less is full: no process starts on it. */
const roomBytesMin = 1 << 20

/** The last lines that a process logged, for an error message; on a full disk there may be none. */
export async function tailLog(dir: string, lineCount: number): Promise<string> {
  const read = (name: string): Promise<string> => readFile(join(dir, name), 'utf8').catch(() => '')
  const newest = await read('log')
  // One that was moved a moment ago leaves little.
  const text = newest.split('\n').length > lineCount ? newest : `${await read('log.1')}${newest}`
  const lines = text.trimEnd().split('\n').slice(-lineCount).map(inWords)
  const disk = await statfs(dir).catch(() => undefined)
  if (disk !== undefined && disk.bavail * disk.bsize < roomBytesMin) lines.push(`no room left for ${dir}`)
  return lines.join('\n').trim()
}

/** What a process says that it lacks, to be put behind "is not ready". */
async function missingOf(dir: string, path: '/healthz' | '/readyz'): Promise<string> {
  const state = readProcess(dir)
  if (state.url === undefined) return ': it does not listen yet'
  const answer = await askProcess(state, path)
  if (answer === undefined) return ': it does not answer at its address'
  return answer.reasons.length === 0 ? '' : `: ${answer.reasons.join('; ')}`
}

/** Before a start: a log that has grown becomes the older one, also of a program that does not bound its own. */
async function boundLog(dir: string): Promise<void> {
  const path = join(dir, 'log')
  const size = (await stat(path).catch(() => undefined))?.size ?? 0
  if (size >= logSizeBytesMax) await rename(path, `${path}.1`)
}

/** Starts a process in the background, its output in `DIR/log`. It outlives the command that started it. */
export async function startProcess(plan: ProcessPlan): Promise<number> {
  await mkdir(plan.dir, { recursive: true, mode: 0o700 })
  const running = readProcess(plan.dir)
  if (running.pid !== undefined) return running.pid
  await rm(join(plan.dir, 'address.json'), { force: true })
  await boundLog(plan.dir)
  const log = openSync(join(plan.dir, 'log'), 'a', 0o600)
  try {
    const child = spawn(plan.command, [...plan.args], {
      cwd: plan.dir,
      detached: true,
      stdio: ['ignore', log, log],
      env: {
        PATH: process.env.PATH ?? '',
        TZ: process.env.TZ ?? 'UTC',
        // In the process's folder, wherever that is moved: a service keeps its own log bounded.
        STDERR_FILE: 'log',
        // Stripped and compiled modules are kept between starts: half the time to start, and 20 MiB less of memory.
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(projectRoot, '.cache', 'compile'),
        ...plan.env,
      },
    })
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('spawn', () => resolve(child.pid as number))
    })
    child.unref()
    writeFileDurably(join(plan.dir, 'pid'), `${pid}\n`)
    return pid
  } finally {
    closeSync(log)
  }
}

/**
 * Asks a process whether it is alive (`/healthz`) or ready (`/readyz`).
 *
 * @returns Its answer; undefined if nobody answers, or a stranger does who listens at its port.
 */
export async function askProcess(
  { url, instance }: Pick<ProcessState, 'url' | 'instance'>,
  path: '/healthz' | '/readyz',
): Promise<{ readonly isWell: boolean; readonly reasons: readonly string[] } | undefined> {
  if (url === undefined) return undefined
  try {
    const response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(3_000) })
    const answer = (await response.json()) as {
      instance?: string
      checks?: { name: string; ready: boolean; reason?: string }[]
    }
    if (instance !== undefined && answer.instance !== instance) return undefined
    const failing = (answer.checks ?? []).filter(({ ready }) => !ready)
    return { isWell: response.ok, reasons: failing.map(({ name, reason }) => `${name}: ${reason ?? 'not ready'}`) }
  } catch {
    return undefined
  }
}

/**
 * Waits until a started process answers `path` with 2xx.
 *
 * @param isVain - asked every 2 s until then: true if more waiting brings nothing.
 * @returns Its URL; what there is of it if waiting was in vain.
 * @throws {CommandError} with the end of its log, if it ends or is not ready within 60 s.
 */
export async function waitUntilReady(
  name: string,
  dir: string,
  path: '/healthz' | '/readyz' = '/readyz',
  isVain?: () => Promise<boolean>,
): Promise<string> {
  const deadline = Date.now() + startTimeoutMs
  let askedMs = Date.now()
  while (Date.now() < deadline) {
    const state = readProcess(dir)
    if (state.pid === undefined) {
      throw new CommandError(`${name} ended while starting. The end of its log (${dir}/log):\n${await tailLog(dir, 8)}`)
    }
    const answer = await askProcess(state, path)
    if (state.url !== undefined && answer?.isWell === true) return state.url
    if (isVain !== undefined && Date.now() - askedMs >= vainEveryMs) {
      if (await isVain()) return state.url ?? ''
      askedMs = Date.now()
    }
    await delay(40)
  }
  const missing = await missingOf(dir, path)
  throw new CommandError(
    `${name} is not ready after ${startTimeoutMs / 1000} s${missing}. The end of its log (${dir}/log):\n${await tailLog(dir, 8)}`,
  )
}

/** Stops the process of a folder: asks, waits up to 15 s, then ends it. Nothing happens if none runs. */
export async function stopProcess(dir: string): Promise<void> {
  const { pid } = readProcess(dir)
  if (pid !== undefined) {
    process.kill(pid, 'SIGTERM')
    const deadline = Date.now() + stopTimeoutMs
    while (isOurs(pid, dir) && Date.now() < deadline) await delay(20)
    if (isOurs(pid, dir)) process.kill(pid, 'SIGKILL')
  }
  await rm(join(dir, 'pid'), { force: true })
  await rm(join(dir, 'address.json'), { force: true })
}
