/**
 * Names the test files that a run did not finish, and how workers ended that were not asked to: the runner itself says only that
 * one "exited unexpectedly". Writes both as JSON to the path in UNFINISHED_REPORT, with the number of errors outside of tests that have
 * another cause.
 */

import type { ChildProcess } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { writeFileSync } from 'node:fs'
import type { Reporter, SerializedError, TestModule } from 'vitest/node'

/** True for a file whose tests have not all ended. */
function isUnfinished(file: TestModule): boolean {
  if (file.state() === 'queued' || file.state() === 'pending') return true
  for (const test of file.children.allTests()) if (test.result().state === 'pending') return true
  return false
}

export default class UnfinishedReporter implements Reporter {
  readonly #ends: string[] = []

  constructor() {
    subscribe('child_process', (message) => {
      const { process: worker } = message as { process: ChildProcess }
      worker.once('exit', (code, signal) => {
        // The runner ends a worker that has done its work with SIGTERM.
        if (signal !== 'SIGTERM' && code !== 0)
          this.#ends.push(`worker ${worker.pid} ended with ${signal ?? `code ${code}`}`)
      })
    })
  }

  onTestRunEnd(files: readonly TestModule[], errors: readonly SerializedError[]): void {
    const unfinished = files.filter(isUnfinished).map(({ moduleId }) => moduleId)
    const errorCount = errors.filter(({ message }) => !/Worker \w+ emitted error/.test(message)).length
    const path = process.env.UNFINISHED_REPORT
    if (path !== undefined) writeFileSync(path, JSON.stringify({ unfinished, ends: this.#ends, errorCount }))
  }
}
