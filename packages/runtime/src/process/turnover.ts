/**
 * Frees the memory of buffers that went through. The collector runs by the size of its objects, and an object that holds
 * a MiB outside of its heap is as small as any: a file of a GiB would have a hundred MiB of buffers wait for it.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes after which the young objects are looked through, which takes about a millisecond. */
const turnoverBytes = 8 * 1024 * 1024

function createCollector(): () => void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void
  return () => collect({ type: 'minor' })
}

let collect: (() => void) | undefined
let passedBytes = 0

/** Tells that a buffer of so many bytes, or a few of them, will not be needed any more. */
export function turnOver(sizeBytes: number): void {
  passedBytes += sizeBytes
  if (passedBytes < turnoverBytes) return
  passedBytes = 0
  collect ??= createCollector()
  collect()
}
