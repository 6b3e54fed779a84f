/** A process that is set up to be small: what a heap and an allocator are tuned for is fixed when they are made. */

/**
 * Halves of the young generation, in MB, and one thread that helps collecting: four of them take more of two cores than
 * they save.
 */
const flags = ['--max-semi-space-size=4', '--v8-pool-size=1']
/** One arena for all threads: each further one keeps what it was given. */
const allocator = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' }

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
