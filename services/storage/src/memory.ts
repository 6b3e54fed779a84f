/** What keeps a node that has just started as small as it can be. All of it holds for the whole process, its threads included. */
import { flushCompileCache } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * While a node is loaded the young generation stays as small as it is, since it would not shrink again, and nothing is
 * compiled beyond bytecode: what runs once at the start is not worth the compiler, which is 5 MiB of code by itself.
 * V8 asks for these names each time it thinks of compiling a function, so that afterwards all of them may be compiled.
 */
const whileLoading = ['--semi-space-growth-factor=1', '--maglev-filter=-*', '--turbo-filter=-*', '--no-use-osr']
const onceLoaded = ['--semi-space-growth-factor=2', '--maglev-filter=*', '--turbo-filter=*', '--use-osr']

/** Called before anything else is loaded. */
export function beginLoading(): void {
  for (const flag of whileLoading) setFlagsFromString(flag)
}

/** Called once the node stands. */
export function endLoading(): void {
  for (const flag of onceLoaded) setFlagsFromString(flag)
  // What was read of the compile cache would be kept in memory until the end otherwise.
  flushCompileCache()
  collectGarbage()
  trimAllocator()
}

type Collect = (options: { type: 'major'; flavor?: 'last-resort' }) => void
let collector: Collect | undefined
let trim: ReturnType<Libraries['dlopen']>['functions'] | undefined

/** V8's collector, for this thread. */
function collect(options: Parameters<Collect>[0]): void {
  collector ??= (globalThis as { gc?: Collect }).gc
  if (collector === undefined) {
    setFlagsFromString('--expose-gc')
    collector = runInNewContext('gc') as Collect
  }
  collector(options)
}

/**
 * Looks once for what this thread does not use any more. V8 does not count memory that threads share, so that no amount of it
 * would have it look by itself.
 */
export function collectOnce(): void {
  collect({ type: 'major' })
}

/** Gives back what only loading needed: code that ran once, and text. Nothing would ask for it while a thread is idle. */
export function collectGarbage(): void {
  collect({ type: 'major', flavor: 'last-resort' })
}

/** What is used here of Node's way to call a library. */
interface Libraries {
  dlopen(
    name: string,
    functions: Record<string, { arguments: string[]; return: string }>,
  ): { functions: { malloc_trim(keptBytes: bigint): number } }
}

/**
 * Gives the system back what the allocator keeps between pieces that are still in use: by itself it gives back only what is free at its
 * end. Nothing happens where Node cannot call a library (before version 26), or the C library is not glibc.
 */
export function trimAllocator(): void {
  try {
    const libraries = process.getBuiltinModule('node:ffi') as unknown as Libraries | undefined
    trim ??= libraries?.dlopen('libc.so.6', { malloc_trim: { arguments: ['u64'], return: 'i32' } }).functions
    trim?.malloc_trim(0n)
  } catch {
    // The memory stays where it is.
  }
}

/**
 * Frees the memory of a buffer that nobody else has, at once: the collector runs by the size of its own objects, and one
 * that holds a MiB outside of its heap is as small as any. The buffer is empty afterwards.
 */
export function release(buffer: Uint8Array): void {
  const memory = buffer.buffer
  if (memory instanceof ArrayBuffer && memory.byteLength === buffer.byteLength) memory.transfer(0)
}
