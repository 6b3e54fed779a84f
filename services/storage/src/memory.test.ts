/** What is given back to the system, measured in a process of its own. */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'

const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
const hasAllocator = header.glibcVersionRuntime !== undefined && process.getBuiltinModule('node:ffi') !== undefined

const program = `
  import { readFileSync } from 'node:fs'
  import { release, trimAllocator } from ${JSON.stringify(new URL('./memory.ts', import.meta.url).href)}
  const own = () => Number(/^Anonymous:\\s+(\\d+) kB/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))[1]) / 1024
  const buffers = Array.from({ length: 2000 }, () => new Uint8Array(32_768).fill(1))
  // What lies between others that are kept.
  for (const [index, buffer] of buffers.entries()) if (index % 20 > 0) release(buffer)
  const before = own()
  trimAllocator()
  console.log(before - own(), buffers.length)
`

test.skipIf(!hasAllocator)('what is free between pieces in use goes back to the system', () => {
  const env = { PATH: process.env.PATH, MALLOC_ARENA_MAX: '1' }
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program]
  const [freed] = execFileSync(process.execPath, flags, { env, encoding: 'utf8' }).split(' ').map(Number)
  expect(freed).toBeGreaterThan(30)
})
