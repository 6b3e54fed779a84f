import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { projectRoot } from './cluster/root.ts'
import { runSuite } from './suite.ts'

let root: string
let said: string

beforeEach(() => {
  // Under the project, so that the tests in it find the runner.
  mkdirSync(join(projectRoot, 'build'), { recursive: true })
  root = mkdtempSync(join(projectRoot, 'build', 'suite-'))
  writeFileSync(join(root, 'vitest.config.ts'), "export default { test: { include: ['*.test.ts'], pool: 'forks' } }")
  said = ''
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function run(): ReturnType<typeof runSuite> {
  const io = {
    stdin: (async function* () {})(),
    stdout: () => {},
    stderr: (text: string) => {
      said += text
    },
    interactive: false,
  }
  return runSuite(root, join(root, 'reports'), io, 'ignore')
}

function write(name: string, ...lines: string[]): void {
  writeFileSync(join(root, name), ["import { expect, test } from 'vitest'", ...lines].join('\n'))
}

test('counts what passed, failed and was skipped, and a file that cannot be loaded as one failure', async () => {
  write('good.test.ts', "test('a', () => {})", "test.skip('b', () => {})", "test('c', () => expect(1).toBe(2))")
  write('bad.test.ts', "throw new Error('not loaded')")
  expect(await run()).toEqual({ passed: 1, failed: 2, skipped: 1 })
  expect(said).toBe('')
})

const die = "await new Promise(() => process.kill(process.pid, 'SIGKILL'))"

test('a run without any test has failed', async () => {
  expect(await run()).toEqual({ passed: 0, failed: 1, skipped: 0 })
})

test('a file whose worker dies is named and run once more', async () => {
  const mark = join(tmpdir(), `healthblock-suite-${process.pid}`)
  write('good.test.ts', "test('a', () => {})")
  write(
    'dying.test.ts',
    "import { existsSync, writeFileSync } from 'node:fs'",
    "test('b', () => {})",
    "test('c', async () => {",
    `  if (existsSync('${mark}')) return`,
    `  writeFileSync('${mark}', '')`,
    `  ${die}`,
    '})',
    "test('d', () => {})",
  )
  try {
    expect(await run()).toEqual({ passed: 4, failed: 0, skipped: 0 })
  } finally {
    rmSync(mark, { force: true })
  }
  expect(said).toMatch(/worker \d+ ended with SIGKILL\n.*not finished: \S+dying\.test\.ts; once more/)
})

test('a file whose worker dies twice has failed, and so has an error outside of the tests', async () => {
  write(
    'good.test.ts',
    "test('a', async () => { setTimeout(() => { throw new Error('late') }); await new Promise((r) => setTimeout(r, 50)) })",
  )
  write('dying.test.ts', "test('b', () => {})", `test('c', async () => { ${die} })`)
  expect(await run()).toMatchObject({ failed: 2 })
})

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  'who ends it by %s ends what it runs first, which cleans up',
  async (signal) => {
    const cleaned = join(root, 'cleaned')
    // In a terminal the command gets SIGINT from there.
    const command = `process.once('${signal === 'SIGINT' ? 'SIGUSR2' : signal}', () => {
      setTimeout(() => { require('fs').writeFileSync(${JSON.stringify(cleaned)}, ''); process.exit() }, 200)
    })
    process.once('SIGINT', () => {})
    console.log(process.pid)
    setInterval(() => {}, 1000)`
    const script = `import { runAside } from ${JSON.stringify(join(projectRoot, 'cli/src/suite.ts'))}
      await runAside(process.execPath, ['-e', ${JSON.stringify(command)}], { cwd: '.' })
      console.error('it went on')`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const [started] = (await once(parent.stderr, 'data')) as [Buffer]
    parent.kill(signal)
    if (signal === 'SIGINT') process.kill(Number(started.toString()), 'SIGUSR2')
    await once(parent, 'exit')
    expect(parent.signalCode).toBe(signal)
    expect(existsSync(cleaned)).toBe(true)
  },
)
