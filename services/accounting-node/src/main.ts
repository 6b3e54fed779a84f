/**
 * Starts an accounting node, and stops it upon a signal. Configuration: SPEC.md §5.
 *
 * The process first replaces itself by one that takes the translated files from a cache: the pid stays, and it needs some
 * 30 MB less than one that carries the translator for as long as it lives.
 */
import { existsSync } from 'node:fs'
import { enableCompileCache, flushCompileCache } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { dropEmptyVariables } from '@healthblock/runtime/environment'
import { ensureFolder } from '@healthblock/runtime/files'

/**
 * In MB. The halves of the nursery: what is under way between submission and block must die there, or the whole heap is searched for it; a
 * node at rest gives most of it back (`packages/runtime/src/process/rest.ts`). The heap: live is a tenth of this, but without a bound the collector waits until garbage
 * is several times as much. It is searched once it is three times what was live, not 1.4 times: at full load that search was a fifth of the
 * main thread. Where the node has two cores, the search goes on beside the main thread, which stops for 20 to 60 ms at its end, and not for 60 to
 * 160. Several nodes that share two cores (a local cluster) search in the main thread: beside it the search would take the core from another
 * node. While the main thread is stopped nobody helps it: helpers that wait for each other cost a node a sixth of its processor time, which its
 * signatures need.
 */
const flags = [
  '--max-semi-space-size=32',
  '--max-old-space-size=512',
  '--heap-growing-percent=200',
  '--disable-warning=ExperimentalWarning',
]
const searchBeside = [
  '--no-parallel-scavenge',
  '--no-parallel-compaction',
  '--no-parallel-pointer-update',
  '--no-parallel-gc-clearing',
]
const searchAlone = ['--single-threaded-gc']
/** Each arena of the allocator keeps what it was given. */
const allocator = { MALLOC_ARENA_MAX: '2' }
dropEmptyVariables(process.env)
const { ACCOUNTING_DIR: dir, ACCOUNTING_CORES: cores, NODE_COMPILE_CACHE: cache } = process.env

const isReplaced = process.execArgv.includes(flags[0] as string)

async function replaceProcess(cacheDir: string): Promise<void> {
  // Whoever makes the folder fills it, so that of several nodes that share one only the first is slow.
  const isNew = !existsSync(cacheDir)
  ensureFolder(cacheDir)
  if (isNew) {
    enableCompileCache(cacheDir)
    await import('./run.ts')
    flushCompileCache()
  }
  const env = { ...allocator, ...process.env, NODE_COMPILE_CACHE: cacheDir }
  const isShared = Number(cores ?? availableParallelism()) < 2
  const collecting = isShared ? searchAlone : searchBeside
  process.execve?.(process.execPath, [process.execPath, ...flags, ...collecting, ...process.argv.slice(1)], env)
}

try {
  if (dir !== undefined && !isReplaced) await replaceProcess(cache ?? join(dir, 'compile-cache'))
  const { run } = await import('./run.ts')
  await run()
  flushCompileCache()
} catch (error) {
  process.stderr.write(`accounting node: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
