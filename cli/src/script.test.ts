/** Scripts of the project, run by a command: how they end is the command's end. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { projectRoot } from './cluster/root.ts'
import { runScript } from './script.ts'

let dir: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'script-'))
})

afterAll(() => rmSync(dir, { recursive: true }))

async function run(source: string): Promise<{ code: number; said: string; errors: string }> {
  const path = join(dir, 'script.mjs')
  writeFileSync(path, source)
  const [said, errors]: [string[], string[]] = [[], []]
  const code = await runScript(relative(projectRoot, path), [], {
    stdin: (async function* () {})(),
    stdout: (text) => void said.push(text),
    stderr: (text) => void errors.push(text),
    interactive: false,
  })
  return { code, said: said.join(''), errors: errors.join('') }
}

test('what a script says and finds is the command’s', async () => {
  expect(await run(`console.log('1 passed')`)).toEqual({ code: 0, said: '1 passed\n', errors: '' })
  expect(await run(`process.exitCode = 2`)).toEqual({ code: 2, said: '', errors: '' })
  expect(await run(`throw process.exit(3)`)).toEqual({ code: 1, said: '', errors: '' })
})

test('one that was broken off is not taken for one that found something wrong, however it ends then', async () => {
  const words = 'broken off: nothing is said about what was not done yet\n'
  const ends = [`process.kill(process.pid, 'SIGINT')`, `process.kill(process.pid, 'SIGKILL')`, 'process.exit(130)']
  for (const end of ends) {
    const source = `console.log('so far'); ${end}; setInterval(() => {}, 1000)`
    expect(await run(source)).toEqual({ code: 1, said: 'so far\n', errors: words })
  }
})

test('no listener of a signal is left', async () => {
  const count = (): number[] => ['SIGINT', 'SIGTERM'].map((signal) => process.listenerCount(signal))
  const before = count()
  await run('')
  expect(count()).toEqual(before)
})
