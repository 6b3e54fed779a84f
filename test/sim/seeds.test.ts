import { cp, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { lastLine, simulate, timeoutMs } from './process.test-support.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folders: string[] = []
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

/** The simulator and the sources that it runs, in another folder. */
async function copied(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hb-sim-elsewhere-'))
  folders.push(folder)
  for (const part of ['cli', 'packages', 'services', 'test'])
    await cp(join(root, part), join(folder, part), { recursive: true })
  await mkdir(join(folder, 'node_modules'))
  for (const name of await readdir(join(root, 'node_modules'))) {
    const [from, to] = [join(root, 'node_modules', name), join(folder, 'node_modules', name)]
    // The links of the workspace lead to the copies beside them.
    if (name === '@healthblock') await cp(from, to, { recursive: true, verbatimSymlinks: true })
    else await symlink(from, to)
  }
  return folder
}

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

  it('makes the same run in another folder, also where a fault is told with its place', {
    timeout: timeoutMs,
  }, async () => {
    // Here a node does not start, because its disk fails: the error names files of the sources.
    const seed = ['--from', '120', '--seeds', '1', '--json']
    const elsewhere = await simulate(seed, join(await copied(), 'test', 'sim', 'main.ts'))
    expect(traceOf(elsewhere.stdout, 120), elsewhere.stderr).toMatch(/^[0-9a-f]{16}$/)
    expect(traceOf(elsewhere.stdout, 120)).toBe(traceOf((await simulate(seed)).stdout, 120))
  })

  it('makes the same run for who reads along', { timeout: timeoutMs }, async () => {
    const { stdout } = await simulate(['--seed', '120', '--trace'])
    const [, trace] = /trace ([0-9a-f]{16})$/m.exec(stdout) ?? []
    expect(trace).toBe(traceOf((await simulate(['--from', '120', '--seeds', '1', '--json'])).stdout, 120))
  })

  it.each(['--bogus', '5', '--seeds many', '--profile none', '--mutations none'])(
    'says what it does not understand: %s',
    async (words) => {
      const { code, stdout, stderr } = await simulate(words.split(' '))
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toContain(words.split(' ').at(-1))
      expect(stderr).not.toMatch(/^\s+at /m)
    },
  )

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
