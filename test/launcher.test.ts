/** The launcher on machines that lack something: it says what to do, ends with 2, and leaves nothing half done. */
import { execFile, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'

const project = fileURLToPath(new URL('../', import.meta.url))
let root: string
let programs: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hb-launcher-'))
  programs = join(root, 'bin')
  mkdirSync(programs)
  for (const name of ['sh', 'uname', 'mkdir', 'dirname', 'cmp', 'cp', 'cat', 'chmod', 'rm', 'mv', 'sleep']) {
    const found = ['/bin', '/usr/bin'].map((folder) => join(folder, name)).find(existsSync)
    symlinkSync(found as string, join(programs, name))
  }
  mkdirSync(join(root, 'project', 'cli', 'src'), { recursive: true })
  for (const name of ['healthblock', 'package-lock.json'])
    copyFileSync(join(project, name), join(root, 'project', name))
  writeFileSync(join(root, 'project', 'cli', 'src', 'main.ts'), "console.log('ran', process.argv.slice(2).join())\n")
})
afterEach(() => rmSync(root, { recursive: true }))

function program(name: string, script: string): void {
  const path = join(programs, name)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}

/** A Node whose version is too old: it fails the question whether it is new enough. */
const oldNode = 'exit 1'
const npmCi = 'case "$1" in ci) mkdir -p node_modules ;; install) exit 1 ;; esac'

function launch(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(join(root, 'project', 'healthblock'), args, {
    env: { PATH: programs },
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test('without npm', () => {
  program('node', oldNode)
  expect(launch()).toMatchObject({ status: 2, stderr: expect.stringContaining('needs Node with npm; install both') })
  symlinkSync(process.execPath, join(programs, 'newer'))
  rmSync(join(programs, 'node'))
  symlinkSync(process.execPath, join(programs, 'node'))
  expect(launch()).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('needs npm to install the dependencies'),
  })
})

test('with an old Node, and a registry that cannot be reached', () => {
  program('node', oldNode)
  program('npm', npmCi)
  const { status, stderr } = launch()
  expect(status).toBe(2)
  expect(stderr).toContain('Node >= 24.12 is needed; fetching Node')
  expect(stderr).toContain('check the network and try again')
})

test('with an old Node, and a fetched one that does not run here', () => {
  program('node', oldNode)
  program('npm', 'mkdir -p "$3/node_modules/x"; exit 0')
  expect(launch()).toMatchObject({ status: 2, stderr: expect.stringContaining('libatomic1') })
})

test('on a machine for which no Node is pinned', () => {
  program('npm', npmCi)
  rmSync(join(programs, 'uname'))
  program('uname', 'case "$1" in -s) echo Plan9 ;; *) echo vax ;; esac')
  expect(launch()).toMatchObject({ status: 2, stderr: expect.stringContaining('no pinned Node for Plan9') })
})

test('dependencies that cannot be installed are tried again the next time, and those that are, are not', () => {
  symlinkSync(process.execPath, join(programs, 'node'))
  program('npm', 'exit 1')
  expect(launch('status')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('npm ci failed; check the network'),
  })
  expect(readdirSync(join(root, 'project'))).not.toContain('node_modules')
  program('npm', npmCi)
  expect(launch('status', '--json')).toMatchObject({ status: 0, stdout: 'ran status,--json\n' })
  program('npm', 'exit 1')
  expect(launch('status')).toMatchObject({ status: 0, stdout: 'ran status\n', stderr: '' })
})

test('of two launches at once one installs, and the other waits for it', async () => {
  symlinkSync(process.execPath, join(programs, 'node'))
  program('npm', 'echo ci >>count; [ ! -e busy ] || exit 1; echo >busy; sleep 2; mkdir -p node_modules; rm busy')
  const start = (name: string) =>
    promisify(execFile)(join(root, 'project', 'healthblock'), [name], { env: { PATH: programs } })
  const both = await Promise.all([start('first'), start('second')])
  expect(both.map(({ stdout }) => stdout)).toEqual(['ran first\n', 'ran second\n'])
  expect(both.map(({ stderr }) => stderr).join()).toContain('another launch is preparing this folder')
  expect(readFileSync(join(root, 'project', 'count'), 'utf8')).toBe('ci\n')
  expect(readdirSync(join(root, 'project', '.cache'))).not.toContain('preparing')
})

test('a launch that was killed while it installed holds up nobody', () => {
  symlinkSync(process.execPath, join(programs, 'node'))
  program('npm', npmCi)
  const { pid } = spawnSync(process.execPath, ['--version'])
  mkdirSync(join(root, 'project', '.cache', 'preparing'), { recursive: true })
  writeFileSync(join(root, 'project', '.cache', 'preparing', 'pid'), `${pid}\n`)
  expect(launch('status')).toMatchObject({ status: 0, stdout: 'ran status\n' })
  expect(readdirSync(join(root, 'project', '.cache'))).not.toContain('preparing')
})
