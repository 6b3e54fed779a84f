/** Folders in which benchmarks put what they make. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders = new Set<string>()

/** Ends the process, unless somebody else does who has more to stop first; what fails then, because what it needs has ended, is no news. */
function endBySignal(signal: 'SIGINT' | 'SIGTERM'): void {
  if (process.listenerCount(signal) === 1) process.exit(130)
  process.once('uncaughtException', () => process.exit(130))
}

/** A new folder, which is taken away when this process ends, also by SIGINT and SIGTERM (exit code 130). */
export function temporaryFolder(name = ''): string {
  if (folders.size === 0) {
    process.on('SIGINT', endBySignal)
    process.on('SIGTERM', endBySignal)
    // What other processes of the bench, which the terminal ends too, still write there is waited for.
    process.on('exit', () => {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    })
  }
  const folder = mkdtempSync(join(tmpdir(), `healthblock-bench-${name}`))
  folders.add(folder)
  return folder
}
