import { defineConfig } from 'vitest/config'
import { dropEmptyVariables } from './packages/runtime/src/process/environment.ts'

// Workers get the variables as they are here.
dropEmptyVariables(process.env)

export default defineConfig({
  test: {
    include: [
      'packages/**/*.test.ts',
      'services/**/*.test.ts',
      'cli/**/*.test.ts',
      'test/**/*.test.ts',
      'web/src/**/*.test.ts',
    ],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // How long something takes is no assertion: a limit is for what hangs.
    expect: { poll: { timeout: 60_000 } },
    pool: 'forks',
    maxWorkers: 2,
    // A shared machine may starve a process for seconds: CI tries a failed test once more, and its report says so.
    retry: process.env.CI === undefined ? 0 : 1,
  },
})
