import { describe, expect, it } from 'vitest'
import { keptSeeds } from './kept-seeds.ts'
import { simulate } from './process.test-support.ts'

/** Time for a machine that has other work. */
const timeoutMs = 15 * 60_000

describe('the simulator', () => {
  it('makes the same run from the same seed, in another process and after other seeds', {
    timeout: timeoutMs,
  }, async () => {
    const traceOf = (stdout: string, seed: number): string => {
      const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
      const found = lines
        .map((line) => JSON.parse(line) as { seed: number; trace: string })
        .find((line) => line.seed === seed)
      return found?.trace ?? 'none'
    }
    const [first, again, later] = await Promise.all([
      simulate(['--from', '4', '--seeds', '2', '--json']),
      simulate(['--from', '4', '--seeds', '2', '--json']),
      simulate(['--from', '1', '--seeds', '5', '--json']),
    ])
    expect(traceOf(first.stdout, 4)).toMatch(/^[0-9a-f]{16}$/)
    expect(traceOf(again.stdout, 4)).toBe(traceOf(first.stdout, 4))
    expect(traceOf(later.stdout, 4)).toBe(traceOf(first.stdout, 4))
    expect(traceOf(first.stdout, 5)).not.toBe(traceOf(first.stdout, 4))
  })

  it.each(keptSeeds)('passes seed $seed, which once found that $found', { timeout: timeoutMs }, async ({ seed }) => {
    const { stdout } = await simulate(['--seed', `${seed}`])
    expect(stdout.trimEnd().split('\n').at(-1), stdout).toBe('1 passed, 0 failed')
  })

  it('passes 100 odd seeds', { timeout: timeoutMs }, async () => {
    const { stdout } = await simulate(['--from', '1', '--seeds', '100', '--stride', '2'])
    expect(stdout.trimEnd().split('\n').at(-1), stdout).toBe('100 passed, 0 failed')
  })
})
