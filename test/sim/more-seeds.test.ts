import { expect, it } from 'vitest'
import { simulate } from './process.test-support.ts'

it('passes 1,000 even seeds', { timeout: 15 * 60_000 }, async () => {
  const { stdout } = await simulate(['--from', '2', '--seeds', '1000', '--stride', '2'])
  expect(stdout.trimEnd().split('\n').at(-1), stdout).toBe('1000 passed, 0 failed')
})
