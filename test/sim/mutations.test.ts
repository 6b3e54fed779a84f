import { expect, it } from 'vitest'
import { mutations } from './mutations.ts'
import { lastLine, simulate, timeoutMs } from './process.test-support.ts'

it('the simulator finds every deliberate fault within its number of seeds', { timeout: timeoutMs }, async () => {
  expect(mutations.length).toBeGreaterThanOrEqual(20)
  const { stdout, stderr } = await simulate(['--mutations'])
  process.stdout.write(stdout)
  expect(lastLine(stdout), stdout + stderr).toBe(`${mutations.length} passed, 0 failed`)
})
