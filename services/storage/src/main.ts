/**
 * Starts one storage node. Prints nothing on stdout; what stops it from starting goes to stderr, with exit code 2.
 *
 * The process first replaces itself by one that is set up to be small, and keeps its pid: what a heap is tuned for is
 * fixed when it is made. (`--optimize-for-size` would save a little more, and now and then keeps a process from ending: a
 * thread that compiles waits for a collection that the main thread, waiting for it, does not do.)
 */
import { beginLoading, endLoading } from './memory.ts'

/**
 * Halves of the young generation, in MB; one thread that helps collecting: four of them take more of two cores than they
 * save; and no second copy of V8's own code beside each heap, which is 2 MiB and makes no put or get faster. What the
 * node's owner sets on the command line comes later, and wins.
 */
const flags = ['--max-semi-space-size=4', '--v8-pool-size=1', '--no-short-builtin-calls']
/** One arena for all threads: each further one keeps what it was given. */
const allocator = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' }

if (process.env.MALLOC_ARENA_MAX === undefined) {
  const args = [process.execPath, ...flags, ...process.execArgv, ...process.argv.slice(1)]
  process.execve?.(process.execPath, args, { ...allocator, ...process.env })
}

beginLoading()
const [{ run }, { StorageError }] = await Promise.all([import('./run.ts'), import('./errors.ts')])
try {
  await run(process.env)
  endLoading()
} catch (error) {
  const text = error instanceof StorageError ? error.message : String((error as Error).stack)
  process.stderr.write(`storage: ${text}\n`)
  process.exit(2)
}
