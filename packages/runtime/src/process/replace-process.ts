/** A process that is set up to be small: what a heap and an allocator are tuned for is fixed when they are made. */
import { once } from 'node:events'
import { flushCompileCache, getCompileCacheDir } from 'node:module'
import { Worker } from 'node:worker_threads'

/**
 * Halves of the young generation, in MB, and one thread that helps collecting: four of them take more of two cores than
 * they save.
 */
const flags = ['--max-semi-space-size=4', '--v8-pool-size=1']
/** One arena for all threads: each further one keeps what it was given. */
const allocator = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' }

/** Told to a process that finds all modules cached. */
const cachedName = 'HEALTHBLOCK_MODULES_CACHED'
const stripper = 'NativeModule internal/deps/amaro/dist/index'

/**
 * Replaces this process by one that is set up to be small, unless it is one already; the pid stays. To be called before
 * anything else is loaded. What the owner sets on the command line comes later, and wins.
 *
 * @param more - further flags.
 */
export function replaceBySmall(more: readonly string[] = []): void {
  if (process.env.MALLOC_ARENA_MAX !== undefined) return
  const args = [process.execPath, ...flags, ...more, ...process.execArgv, ...process.argv.slice(1)]
  process.execve?.(process.execPath, args, { ...allocator, ...process.env })
}

/**
 * Replaces this process once more if modules were new to the compile cache: what strips their types is compiled itself then, and
 * stays, 9 MiB until the process ends. To be called when all modules are loaded and nothing has begun yet.
 *
 * @param threads - modules of threads; started without anything to do (`workerData` is null) they end once they are loaded.
 */
export async function replaceByCached(threads: readonly URL[]): Promise<void> {
  const { moduleLoadList } = process as { moduleLoadList?: readonly string[] }
  if (process.env[cachedName] !== undefined || getCompileCacheDir() === undefined) return
  if (moduleLoadList?.includes(stripper) !== true) return
  // Threads have a cache of their own, since their flags differ; it is written when they end.
  await Promise.all(threads.map((module) => once(new Worker(module, { workerData: null }), 'exit')))
  flushCompileCache()
  const args = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  process.execve?.(process.execPath, args, { ...process.env, [cachedName]: '1' })
}
