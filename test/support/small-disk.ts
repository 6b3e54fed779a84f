/** A file system that is really full: a small one in memory, mounted where root may mount. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A mounted file system of its own. */
export interface SmallDisk {
  readonly dir: string
  /** Takes all the room that is left. */
  fill(): void
  /** Gives it back. */
  free(): void
  /** Unmounts it; what it holds is gone. */
  remove(): void
}

const ballast = 'ballast'

/** Mounts `sizeBytes` at `dir`, which is made if absent. */
export function mountSmallDisk(dir: string, sizeBytes: number): SmallDisk {
  mkdirSync(dir, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', dir], { stdio: 'ignore' })
  return {
    dir,
    fill() {
      const descriptor = openSync(join(dir, ballast), 'a')
      try {
        // Large pieces first, then single bytes: not one is left.
        for (const size of [65_536, 512, 1]) {
          const piece = new Uint8Array(size)
          for (;;) {
            try {
              writeSync(descriptor, piece)
            } catch (error) {
              if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
              break
            }
          }
        }
      } finally {
        closeSync(descriptor)
      }
    },
    free() {
      rmSync(join(dir, ballast), { force: true })
    },
    remove() {
      execFileSync('umount', ['-l', dir], { stdio: 'ignore' })
    },
  }
}

/** True where such a file system can be mounted; tests that need one are skipped by name otherwise. */
export const canMount: boolean = (() => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  const dir = mkdtempSync(join(tmpdir(), 'healthblock-mount-'))
  try {
    mountSmallDisk(dir, 65_536).remove()
    return true
  } catch {
    return false
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})()
