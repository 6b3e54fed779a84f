import { expect, it } from 'vitest'
import { simulate } from './process.test-support.ts'

it('passes 100 even seeds', { timeout: 15 * 60_000 }, async () => {
  const { stdout } = await simulate(['--from', '2', '--seeds', '100', '--stride', '2'])
  expect(stdout.trimEnd().split('\n').at(-1), stdout).toBe('100 passed, 0 failed')
})
