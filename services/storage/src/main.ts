/**
 * Starts one storage node. Prints nothing on stdout; what stops it from starting goes to stderr, with exit code 2.
 *
 * The process first replaces itself by one that is set up to be small, and keeps its pid. (`--optimize-for-size` would
 * save a little more, and now and then keeps a process from ending: a thread that compiles waits for a collection that
 * the main thread, waiting for it, does not do.)
 */
import { replaceByCached, replaceBySmall } from '@healthblock/runtime/replace-process'
import { beginLoading, endLoading } from './memory.ts'

// No second copy of V8's own code beside each heap: it is 2 MiB, and makes no put or get faster. A heap that is searched
// when it has grown by a quarter: what a load leaves behind is 55 MiB less, for at most a thirtieth of a put's time.
// Each thread has the collector without a context for it. Of Node's way to call a library one function is used, if it is there.
replaceBySmall([
  '--no-short-builtin-calls',
  '--heap-growing-percent=25',
  '--expose-gc',
  '--disable-warning=ExperimentalWarning',
])
beginLoading()
const [{ run }, { StorageError }, { RuntimeError }] = await Promise.all([
  import('./run.ts'),
  import('./errors.ts'),
  import('@healthblock/runtime/errors'),
])
await replaceByCached([new URL('./store/writer.ts', import.meta.url)])
try {
  await run(process.env)
  endLoading()
} catch (error) {
  const isSaid = error instanceof StorageError || error instanceof RuntimeError
  const text = isSaid ? error.message : String((error as Error).stack)
  process.stderr.write(`storage: ${text}\n`)
  process.exit(2)
}
