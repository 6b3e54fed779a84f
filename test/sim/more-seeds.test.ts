import { expect, it } from 'vitest'
import { lastLine, simulate, timeoutMs } from './process.test-support.ts'

// A file of its own, so that it runs beside the odd ones.
it('the simulator passes 1,000 even seeds', { timeout: timeoutMs }, async () => {
  const { stdout, stderr } = await simulate(['--from', '2', '--seeds', '1000', '--stride', '2'])
  expect(lastLine(stdout), stdout + stderr).toBe('1000 passed, 0 failed')
})
