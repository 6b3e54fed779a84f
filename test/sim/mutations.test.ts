import { expect, it } from 'vitest'
import { lastLine, simulate, timeoutMs } from './process.test-support.ts'

const names = [
  ...['ack-before-sync', 'staged-forgotten', 'promise-forgotten', 'two-blocks-a-term', 'term-not-checked'],
  ...['clock-not-checked', 'decides-below-quorum', 'builds-anew', 'asks-nobody'],
  ...['register-never-rebuilt', 'never-takes-over', 'two-roots', 'published-below-quorum', 'state-not-compared'],
]

it('the simulator finds deliberate faults within their number of seeds', { timeout: timeoutMs }, async () => {
  const { stdout, stderr } = await simulate(['--mutations', ...names])
  process.stdout.write(stdout)
  expect(lastLine(stdout), stdout + stderr).toBe(`${names.length} passed, 0 failed`)
})
