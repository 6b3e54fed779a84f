import { describe, expect, it } from 'vitest'
import { lastLine, simulate, timeoutMs } from './process.test-support.ts'

function traceOf(stdout: string, seed: number): string | undefined {
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
  const runs = lines.map((line) => JSON.parse(line) as { seed: number; trace: string })
  return runs.find((run) => run.seed === seed)?.trace
}

describe('the simulator', () => {
  it('makes the same run of a seed, in another process and after other seeds', { timeout: timeoutMs }, async () => {
    const first = await simulate(['--from', '4', '--seeds', '2', '--json'])
    const again = await simulate(['--from', '4', '--seeds', '2', '--json'])
    const later = await simulate(['--from', '2', '--seeds', '3', '--json'])
    expect(traceOf(first.stdout, 4)).toMatch(/^[0-9a-f]{16}$/)
    expect(traceOf(again.stdout, 4)).toBe(traceOf(first.stdout, 4))
    expect(traceOf(again.stdout, 5)).toBe(traceOf(first.stdout, 5))
    expect(traceOf(later.stdout, 4)).toBe(traceOf(first.stdout, 4))
    expect(traceOf(first.stdout, 5)).not.toBe(traceOf(first.stdout, 4))
  })

  it('passes the seeds that once found something', { timeout: timeoutMs }, async () => {
    const { stdout, stderr } = await simulate(['--kept'])
    expect(lastLine(stdout), stdout + stderr).toMatch(/^\d+ passed, 0 failed$/)
  })

  it('passes 60 seeds in which the organisation changes the policy among the faults', {
    timeout: timeoutMs,
  }, async () => {
    const { stdout, stderr } = await simulate(['--profile', 'governed', '--from', '1', '--seeds', '60'])
    expect(lastLine(stdout), stdout + stderr).toBe('60 passed, 0 failed')
  })

  it('passes 60 seeds in which a node takes calls and never answers them', { timeout: timeoutMs }, async () => {
    const { stdout, stderr } = await simulate(['--profile', 'silent', '--from', '1', '--seeds', '60'])
    expect(lastLine(stdout), stdout + stderr).toBe('60 passed, 0 failed')
  })

  it('passes 1,000 odd seeds', { timeout: timeoutMs }, async () => {
    const { stdout, stderr } = await simulate(['--from', '1', '--seeds', '1000', '--stride', '2'])
    expect(lastLine(stdout), stdout + stderr).toBe('1000 passed, 0 failed')
  })
})
