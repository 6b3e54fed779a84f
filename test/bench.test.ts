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
  const script = `
    import { writeFileSync } from 'node:fs'
    import { temporaryFolder } from ${JSON.stringify(module)}
    const folders = [temporaryFolder(), temporaryFolder('two-')]
    for (const folder of folders) writeFileSync(folder + '/file', '')
    setTimeout(() => {}, 60_000)
    process.stdout.write(JSON.stringify(folders))`
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [told] = (await once(child.stdout, 'data')) as [Buffer]
    const folders = JSON.parse(told.toString()) as string[]
    expect(folders.map((folder) => existsSync(join(folder, 'file')))).toEqual([true, true])
    child.kill(signal)
    expect(await once(child, 'close')).toEqual([130, null])
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
