/** Processor time of a process by its threads, as Linux counts it (`/proc`): comparable even when other processes use the machine. */
import { readdirSync, readFileSync } from 'node:fs'

/** µs of user and system time. `helpers`: V8's, which compile and collect; `pool`: libuv's, which sync the disk. What a profile costs is left out. */
export interface ThreadTimes {
  readonly main: number
  readonly workers: number
  readonly helpers: number
  readonly pool: number
}

/** Linux counts in hundredths of a second, on every machine that Node runs on. */
const tickUs = 10_000

function kindOf(pid: number, thread: string, name: string): keyof ThreadTimes | undefined {
  if (thread === String(pid)) return 'main'
  if (name.startsWith('v8:Prof')) return undefined
  if (name.startsWith('WorkerThread')) return 'workers'
  return name.startsWith('libuv') ? 'pool' : 'helpers'
}

/** The times up to now; undefined if the process has ended. */
export function threadTimes(pid: number): ThreadTimes | undefined {
  const times = { main: 0, workers: 0, helpers: 0, pool: 0 }
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
      // The name may hold anything, so what follows is counted from the last bracket.
      const end = stat.lastIndexOf(')')
      const fields = stat.slice(end + 2).split(' ')
      const kind = kindOf(pid, thread, stat.slice(stat.indexOf('(') + 1, end))
      if (kind !== undefined) times[kind] += (Number(fields[11]) + Number(fields[12])) * tickUs
    }
  } catch {
    return undefined
  }
  return times
}

/** What came to `before` until `after`. */
export function timesBetween(before: ThreadTimes, after: ThreadTimes): ThreadTimes {
  return {
    main: after.main - before.main,
    workers: after.workers - before.workers,
    helpers: after.helpers - before.helpers,
    pool: after.pool - before.pool,
  }
}
