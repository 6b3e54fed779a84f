import { cpSync, mkdtempSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { logSizeBytesMax } from '@healthblock/runtime/bounded-log'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { askProcess, readProcess, startProcess, stopProcess, tailLog, waitUntilReady } from './processes.ts'

let dir: string
let server: Server
/** Who answers, at each request. */
let answers: () => { instance?: string; status?: number; checks?: object[] }

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'healthblock-process-'))
  server = createServer((_, response) => {
    const { status = 200, ...body } = answers()
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A process that lives, and whose address is the server's.
  const script = join(dir, 'idle.mjs')
  writeFileSync(script, 'setInterval(() => {}, 1000)\n')
  await startProcess({ name: 'idle', dir, command: process.execPath, args: [script], env: {} })
})
afterEach(async () => {
  await stopProcess(dir)
  server.closeAllConnections()
  server.close()
  rmSync(dir, { recursive: true, force: true })
})

function tellAddress(instance?: string): void {
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  const { pid } = readProcess(dir)
  writeFileSync(join(dir, 'address.json'), JSON.stringify({ url, pid, instance }))
}

test('a stranger at the port of a process is not taken for it, however ready', async () => {
  let asked = 0
  answers = () => (asked++ < 4 ? { instance: 'a stranger' } : { instance: 'the process' })
  tellAddress('the process')
  expect(await askProcess(readProcess(dir), '/readyz')).toBeUndefined()
  expect(await waitUntilReady('idle', dir, '/readyz')).toBe(readProcess(dir).url)
  expect(asked).toBe(5)
})

test('what a process lacks is told by itself alone', async () => {
  const checks = [
    { name: 'register', ready: false, reason: 'away' },
    { name: 'queue', ready: true },
  ]
  answers = () => ({ instance: 'the process', status: 503, checks })
  tellAddress('the process')
  expect(await askProcess(readProcess(dir), '/readyz')).toEqual({ isWell: false, reasons: ['register: away'] })
  tellAddress('another')
  expect(await askProcess(readProcess(dir), '/readyz')).toBeUndefined()
})

test('who waits in vain for a process that runs is told so long before the time is up', async () => {
  answers = () => ({ instance: 'the process', status: 503, checks: [{ name: 'userchain member', ready: false }] })
  tellAddress('the process')
  let asked = 0
  const isVain = async (): Promise<boolean> => ++asked === 2
  expect(await waitUntilReady('idle', dir, '/readyz', isVain)).toBe(readProcess(dir).url)
  expect(asked).toBe(2)
}, 30_000)

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('a folder that was moved while its process runs, or is named by a link, still has it; its pid means nothing elsewhere', async () => {
  const { pid } = readProcess(dir)
  const [parent, other] = [
    mkdtempSync(join(tmpdir(), 'healthblock-moved-')),
    mkdtempSync(join(tmpdir(), 'healthblock-other-')),
  ]
  const [moved, link] = [join(parent, basename(dir)), join(other, basename(dir))]
  renameSync(dir, moved)
  symlinkSync(moved, link)
  expect([readProcess(moved).pid, readProcess(link).pid]).toEqual([pid, pid])
  const copy = join(parent, 'copy', basename(dir))
  cpSync(moved, copy, { recursive: true })
  expect(readProcess(copy).pid).toBeUndefined()
  writeFileSync(join(copy, 'pid'), `${process.pid}\n`)
  expect(readProcess(copy).pid).toBeUndefined()
  await stopProcess(link)
  // An ended child is there until this process has heard of its end.
  await expect.poll(() => isThere(pid as number)).toBe(false)
  for (const folder of [parent, other]) rmSync(folder, { recursive: true, force: true })
})

test('a log that has grown becomes the older one at the next start, and the end of it is still told', async () => {
  await stopProcess(dir)
  writeFileSync(join(dir, 'log'), `${'x'.repeat(logSizeBytesMax)}\nthe end\n`)
  await startProcess({ name: 'idle', dir, command: process.execPath, args: [join(dir, 'idle.mjs')], env: {} })
  expect([statSync(join(dir, 'log')).size, statSync(join(dir, 'log.1')).size]).toEqual([0, logSizeBytesMax + 9])
  expect(await tailLog(dir, 1)).toBe('the end')
})

test('programs of other people say nothing of themselves, and are believed', async () => {
  answers = () => ({})
  tellAddress()
  expect(await waitUntilReady('idle', dir, '/healthz')).toBe(readProcess(dir).url)
})
