import { expect, it } from 'vitest'
import { lastLine, simulate, timeoutMs } from './process.test-support.ts'

it('one action of each kind fails, not done and done all the same, and nothing is lost', {
  timeout: timeoutMs,
}, async () => {
  const { stdout, stderr } = await simulate(['--pairs', '--sampled'])
  expect(lastLine(stdout), stdout + stderr).toMatch(/^\d{3,} passed, 0 failed$/)
})
