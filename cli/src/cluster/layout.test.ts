import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { enrolPatient } from './enrol.ts'
import { type ClusterFile, readCluster, resolvePerson, shellWord, startingCluster, writeCluster } from './layout.ts'

const cluster: ClusterFile = {
  ...{ v: 1, id: 'a'.repeat(32), ledgerId: 'b'.repeat(64), replicas: 3, periodMs: 10_000, wanted: [], doctors: [] },
  nodes: [
    { name: 'user', role: 'user' },
    { name: 'doctor-a', role: 'doctor' },
  ],
  patients: [],
}

let dir: string
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'hb-layout-'))
  await writeCluster(dir, cluster)
})
afterEach(() => rmSync(dir, { recursive: true }))

test('commands that change a cluster at the same time lose nothing of each other', async () => {
  const [processes, times] = [3, 8]
  const script = `
    const { changeCluster } = await import(${JSON.stringify(new URL('./layout.ts', import.meta.url).href)})
    for (let time = 0; time < ${times}; time++)
      await changeCluster(${JSON.stringify(dir)}, (latest) => ({ ...latest, wanted: [...latest.wanted, process.argv[1] + time] }))
  `
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script]
  const names = Array.from({ length: processes }, (_, index) => `p${index}-`)
  await Promise.all(names.map((name) => promisify(execFile)(process.execPath, [...args, name])))
  const wanted = names.flatMap((name) => Array.from({ length: times }, (_, time) => `${name}${time}`))
  expect([...readCluster(dir).wanted].sort()).toEqual(wanted.sort())
})

test.each(['auditor', 'administrator', 'Administrator', 'doctor-a'])(
  'a patient called %s would get the passphrase of another, and is refused',
  async (name) => {
    await expect(enrolPatient(dir, cluster, name)).rejects.toThrow('logs in elsewhere in this cluster')
  },
)

const noNames = ['', ' anna', 'anna ', '../anna', 'a/b', 'a\\b', 'a\n', 'a\u202eb', '\ud800', 'x'.repeat(65)]
test.each([...noNames, '👩‍⚕️'.repeat(20), '-x', 'a'.repeat(64)])('"%s" is no name', async (name) => {
  await expect(enrolPatient(dir, cluster, name)).rejects.toThrow('cannot be a name here')
})

test.each(['anna', 'Änne Müßig', "Zoë O'Neil", '👩‍⚕️ Zoë', '李 小龙', '"q" $HOME', 'b'.repeat(63)])(
  '%s is a name: nothing but the cluster that is not there stops it',
  async (name) => {
    await expect(enrolPatient(dir, cluster, name)).rejects.not.toThrow('cannot be a name here')
  },
)

test('a name stands for its account however its letters are composed', () => {
  const people = [{ name: 'Änne'.normalize('NFC'), account: 'c'.repeat(64), node: 'user' }]
  expect(resolvePerson(people, 'Änne'.normalize('NFD'), 'patient')).toBe(people[0])
})

test('a path is shown as it is typed', () => {
  expect(shellWord('/tmp/a-b_c.d')).toBe('/tmp/a-b_c.d')
  expect(shellWord("/tmp/it's a")).toBe("'/tmp/it'\\''s a'")
})

test('of two commands that start a cluster at once, the second waits, says so, and comes after the first', async () => {
  const told: string[] = []
  const io = {
    stdin: (async function* () {})(),
    stdout: () => {},
    stderr: (text: string) => void told.push(text),
    interactive: false,
  }
  const events: string[] = []
  const first = Promise.withResolvers<void>()
  const begun = startingCluster(dir, io, async () => {
    events.push('first begins')
    await first.promise
    events.push('first ends')
  })
  const second = startingCluster(dir, io, async () => void events.push('second'))
  while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  first.resolve()
  await Promise.all([begun, second])
  expect(events).toEqual(['first begins', 'first ends', 'second'])
  expect(told).toEqual(['another command is starting this cluster; waiting for it\n'])
})

test('a start that is broken off says that what it started runs on, and how to stop it', async () => {
  const script = `
    import { startingCluster } from ${JSON.stringify(new URL('layout.ts', import.meta.url).href)}
    const io = { stderr: (text) => void process.stderr.write(text) }
    await startingCluster(${JSON.stringify(dir)}, io, () => {
      process.stdout.write('starts')
      return new Promise((resolve) => setTimeout(resolve, 60_000))
    })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  let told = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told += text
  })
  await once(child.stdout, 'data')
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([130, null])
  expect(told).toContain(`goes on running; stop it with ./healthblock down --dir ${dir}, or go on with up`)
})
