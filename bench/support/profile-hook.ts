/**
 * Writes a profile of the main thread when its process exits: `NODE_OPTIONS="--import THIS"`, `HEALTHBLOCK_BENCH_PROFILE_DIR`.
 * `--cpu-prof` cannot be used with a service that replaces its process: a tick of the profiler that comes after that kills the new one.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { type Profiler, Session } from 'node:inspector'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'

const dir = process.env.HEALTHBLOCK_BENCH_PROFILE_DIR

/** Services give their flags to the process that replaces the first one. */
const isReplaced = process.execArgv.some((flag) => flag.startsWith('--max-semi-space-size='))

function profileUntilExit(into: string): void {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.start')
  process.once('exit', () => {
    session.post('Profiler.stop', (error: Error | null, result?: Profiler.StopReturnType) => {
      if (error !== null) return
      mkdirSync(into, { recursive: true })
      writeFileSync(join(into, `CPU.${process.pid}.0.cpuprofile`), JSON.stringify(result?.profile))
    })
  })
}

if (dir !== undefined && isMainThread && isReplaced) profileUntilExit(dir)
