import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BoundedLog, logSizeBytesMax } from './bounded-log.ts'

const sizeBytesMax = 4_096
let dir: string
let path: string
let descriptor: number
let log: BoundedLog
let number: number

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-bounded-'))
  path = join(dir, 'log')
  descriptor = openSync(path, 'a')
  log = new BoundedLog({ descriptor, path, sizeBytesMax })
  number = 0
})
afterEach(() => {
  closeSync(descriptor)
  rmSync(dir, { recursive: true })
})

function write(count: number): void {
  for (let i = 0; i < count; i++) {
    const line = `${++number} ${'x'.repeat(number % 90)}\n`
    writeSync(descriptor, line)
    log.wrote(line.length)
  }
}

const read = (name: string): string => (existsSync(join(dir, name)) ? readFileSync(join(dir, name), 'utf8') : '')
/** Numbers of all lines that there are, oldest first. */
const numbers = (): number[] =>
  `${read('log.1')}${read('log')}`
    .trimEnd()
    .split('\n')
    .map((line) => Number(line.split(' ')[0]))

function expectNewest(): void {
  const found = numbers()
  expect(found).toEqual(Array.from({ length: found.length }, (_, i) => number - found.length + 1 + i))
}

test('a log is at most as large as it may be, with one before it, and has every line of that time whole and in order', () => {
  for (let round = 0; round < 40; round++) {
    write(25)
    expectNewest()
    expect(statSync(path).size).toBeLessThan(sizeBytesMax)
  }
  expect(statSync(`${path}.1`).size).toBeGreaterThanOrEqual(sizeBytesMax)
  expect(statSync(`${path}.1`).size).toBeLessThan(sizeBytesMax + 200)
})

test('what others write into the same file is counted and kept', () => {
  for (let round = 0; round < 400; round++) {
    appendFileSync(path, `${++number} of another\n`)
    write(1)
  }
  expectNewest()
  expect(statSync(path).size).toBeLessThan(2 * sizeBytesMax)
})

test('what others write beside few lines of the process is moved, too', () => {
  log = new BoundedLog({ descriptor, path })
  write(1)
  appendFileSync(path, 'of another\n'.repeat(logSizeBytesMax / 10))
  for (let kib = 0; kib < 80; kib++) {
    writeSync(descriptor, `${'x'.repeat(1023)}\n`)
    log.wrote(1024)
  }
  expect(statSync(path).size).toBeLessThan(80 * 1024)
  expect(statSync(`${path}.1`).size).toBeGreaterThan(logSizeBytesMax)
})

test('a log that was large before its process started is moved at the first line', () => {
  writeFileSync(path, '0\n'.repeat(sizeBytesMax))
  log = new BoundedLog({ descriptor, path, sizeBytesMax })
  write(2)
  expect(read('log.1').startsWith('0\n')).toBe(true)
  expect(read('log')).toBe('2 xx\n')
})

test('a log that cannot be moved goes on, and loses nothing', () => {
  mkdirSync(`${path}.1`)
  write(200)
  expect(read('log').trimEnd().split('\n')).toHaveLength(200)
  expect(existsSync(`${path}.new`)).toBe(false)
})

test('a file that somebody else moved away, or put in its place, is left alone', () => {
  renameSync(path, join(dir, 'elsewhere'))
  writeFileSync(path, 'another')
  write(200)
  expect([read('log'), read('log.1')]).toEqual(['another', ''])
  expect(read('elsewhere').trimEnd().split('\n')).toHaveLength(200)
})

test('the logger of a process bounds the file that its stderr is, and what the process itself says there is kept', async () => {
  const script = `import { createLogger } from ${JSON.stringify(join(import.meta.dirname, 'logger.ts'))}
    const logger = createLogger({ name: 'test' })
    for (let number = 1; number <= 30_000; number++) {
      if (number % 100 === 0) process.stderr.write(JSON.stringify({ number }) + '\\n')
      else logger.info({ number }, 'line '.repeat(80))
    }`
  const env = { ...process.env, STDERR_FILE: 'log' }
  const args = ['--input-type=module', '-e', script]
  const child = spawn(process.execPath, args, { cwd: dir, env, stdio: ['ignore', 'ignore', descriptor] })
  expect(await once(child, 'exit')).toEqual([0, null])
  const found = `${read('log.1')}${read('log')}`.trimEnd().split('\n')
  expect(found.map((line) => (JSON.parse(line) as { number: number }).number)).toEqual(
    found.map((_, i) => 30_000 - found.length + 1 + i),
  )
  expect(statSync(path).size).toBeLessThan(logSizeBytesMax)
  expect(statSync(`${path}.1`).size).toBeLessThan(logSizeBytesMax + 100_000)
})
