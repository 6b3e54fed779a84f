import { spawn } from 'node:child_process'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { projectRoot } from './cluster/root.ts'
import type { Io } from './io.ts'

/** How many tests ended how. */
export interface Totals {
  passed: number
  failed: number
  skipped: number
}

/** The part of the runner's report (`--reporter=json`) that is read here. */
interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly { readonly status: string }[]
  }[]
}

/** What `test/support/unfinished-reporter.ts` writes. */
interface Unfinished {
  readonly unfinished: readonly string[]
  readonly ends: readonly string[]
  readonly errorCount: number
}

/** By which somebody ends a process that shall clean up. */
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

interface Run extends Unfinished {
  readonly code: number
  readonly report: Report
}

/**
 * Runs a command of which nothing is printed on stdout (the summary shall be the last thing there): its stdout joins stderr.
 * Who ends this process by a signal ends the command first, which then ends what it started.
 *
 * @returns Its exit code; 1 if a signal ended it.
 */
export function runAside(
  command: string,
  args: readonly string[],
  { cwd, env = {}, output = 2 }: { cwd: string; env?: Readonly<Record<string, string>>; output?: 2 | 'ignore' },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { cwd, env: { ...process.env, ...env }, stdio: ['ignore', output, output] })
    let ending: NodeJS.Signals | undefined
    const end = (signal: NodeJS.Signals): void => {
      ending ??= signal
      // A terminal gives its SIGINT to the command, too.
      if (signal !== 'SIGINT') child.kill(signal)
    }
    const forget = (): void => {
      for (const signal of endings) process.off(signal, end)
    }
    for (const signal of endings) process.on(signal, end)
    child.once('error', (error) => {
      forget()
      reject(error)
    })
    child.once('close', (code) => {
      forget()
      if (ending === undefined) resolve(code ?? 1)
      else process.kill(process.pid, ending)
    })
  })
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, 'utf8')) as T
}

function sumOf({ testResults }: Report, isCounted: (path: string) => boolean): Totals {
  const totals = { passed: 0, failed: 0, skipped: 0 }
  for (const file of testResults.filter(({ name }) => isCounted(name))) {
    const count = (status: string): number => file.assertionResults.filter((test) => test.status === status).length
    const [passed, failed] = [count('passed'), count('failed')]
    totals.passed += passed
    // A file that could not be loaded has no tests to count, and is a failure all the same.
    totals.failed += failed === 0 && file.status === 'failed' ? 1 : failed
    totals.skipped += file.assertionResults.length - passed - failed
  }
  return totals
}

/**
 * Runs all tests under `root`. A file whose worker died under it (the system ended it, or it crashed) is named, with how the worker
 * ended, and is run once more by itself: its first run counts for nothing, and dying again is a failure.
 *
 * @param build - Folder for the runner's reports.
 * @param output - Where the runner prints: on stderr, or nowhere.
 */
export async function runSuite(root: string, build: string, io: Io, output: 2 | 'ignore' = 2): Promise<Totals> {
  await mkdir(build, { recursive: true })
  const run = async (name: string, files: readonly string[]): Promise<Run> => {
    const [reportPath, unfinishedPath] = [join(build, `${name}.json`), join(build, `${name}-unfinished.json`)]
    await Promise.all([reportPath, unfinishedPath].map((path) => rm(path, { force: true })))
    const options = [
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${reportPath}`,
      `--reporter=${join(projectRoot, 'test/support/unfinished-reporter.ts')}`,
    ]
    const code = await runAside(
      join(projectRoot, 'node_modules', '.bin', 'vitest'),
      ['run', '--root', root, ...options, ...files],
      {
        cwd: root,
        env: { UNFINISHED_REPORT: unfinishedPath },
        output,
      },
    )
    const found = await readJson<Unfinished>(unfinishedPath)
    for (const end of found.ends) io.stderr(`healthblock test: ${end}\n`)
    return { ...found, code, report: await readJson<Report>(reportPath) }
  }

  const first = await run('vitest', [])
  const again = new Set(first.unfinished)
  const totals = sumOf(first.report, (path) => !again.has(path))
  totals.failed += first.errorCount
  if (again.size === 0) return totals.failed === 0 && first.code !== 0 ? { ...totals, failed: 1 } : totals
  io.stderr(`healthblock test: not finished: ${first.unfinished.join(', ')}; once more\n`)
  const second = await run('vitest-again', first.unfinished)
  const rest = sumOf(second.report, () => true)
  return {
    passed: totals.passed + rest.passed,
    failed: totals.failed + rest.failed + second.errorCount + second.unfinished.length,
    skipped: totals.skipped + rest.skipped,
  }
}
