/** What scripts rely on in benchmarks: their names, and the one line that `--json` prints. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { main } from '../cli/src/main.ts'
import { hasRedis } from './support/cluster.ts'

async function run(...argv: string[]): Promise<{ code: number; out: string }> {
  let out = ''
  const io = {
    stdin: (async function* () {})(),
    stdout: (text: string) => {
      out += text
    },
    stderr: () => {},
    interactive: false,
  }
  return { code: await main(argv, io), out }
}

test('every benchmark is named in the help, and is there', async () => {
  const { out } = await run('bench', '--help')
  const named = out.match(/^ {2}[a-z][a-z-]+ /gm)?.map((name) => name.trim())
  const files = readdirSync(join(import.meta.dirname, '../bench')).filter((name) => name.endsWith('.ts'))
  expect(named?.sort()).toEqual(files.map((name) => name.replace('.ts', '')).sort())
})

test('what a benchmark made is taken away when it is broken off', async () => {
  const module = new URL('../bench/support/folder.ts', import.meta.url).href
  const script = (more: string): string => `
    import { writeFileSync } from 'node:fs'
    import { temporaryFolder } from ${JSON.stringify(module)}
    const folders = [temporaryFolder(), temporaryFolder('two-')]
    for (const folder of folders) writeFileSync(folder + '/file', '')
    ${more}
    process.stdout.write(JSON.stringify(folders))
    await new Promise((resolve, reject) => setTimeout(reject, 60_000, ended = reject))`
  const cases: [NodeJS.Signals, string][] = [
    ['SIGINT', 'let ended'],
    ['SIGTERM', 'let ended'],
    // Somebody else stops what the benchmark works with, and so its work fails.
    ['SIGINT', `let ended; process.on('SIGINT', () => ended(new Error('what it works with has ended')))`],
  ]
  for (const [signal, more] of cases) {
    const args = ['--input-type=module', '-e', script(more)]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let err = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    const [told] = (await once(child.stdout, 'data')) as [Buffer]
    const folders = JSON.parse(told.toString()) as string[]
    expect(folders.map((folder) => existsSync(join(folder, 'file')))).toEqual([true, true])
    child.kill(signal)
    expect(await once(child, 'close')).toEqual([130, null])
    expect(err).toBe('')
    expect(folders.map((folder) => existsSync(folder))).toEqual([false, false])
  }
})

test.skipIf(!hasRedis)(
  'records measures own node, storage, plain server and revisions',
  { timeout: 180_000 },
  async () => {
    const { code, out } = await run('bench', 'records', '--quick', '--json')
    expect(code).toBe(0)
    const lines = out.trim().split('\n')
    expect(lines).toHaveLength(1)
    const { bench, machine, results } = JSON.parse(lines[0] as string)
    expect([bench, machine.cores > 0]).toEqual(['records', true])
    const files = results.filter((row: { what?: string }) => row.what === undefined)
    for (const system of ['own node', 'own storage', 'plain http']) {
      const own = files.filter((row: { system: string }) => row.system === system)
      expect(own.map((row: { sizeBytes: number }) => row.sizeBytes)).toEqual([100_000, 1_000_000])
      for (const { upMs, downMs, upMegabytesPerSecond } of own)
        expect(Math.min(upMs, downMs, upMegabytesPerSecond)).toBeGreaterThan(0)
    }
    expect(results.at(-1)).toMatchObject({ what: 'revisions', revisions: 5, listMs: expect.any(Number) })
  },
)
