import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { kuboBinary } from './kubo.fixture.ts'
import { KuboDaemon, kuboVersionOf } from './kubo-daemon.ts'

const folder = mkdtempSync(join(tmpdir(), 'kubo-daemon-'))
afterAll(() => rmSync(folder, { recursive: true }))

function program(name: string, script: string, mode = 0o700): string {
  const path = join(folder, name)
  writeFileSync(path, script)
  chmodSync(path, mode)
  return path
}

test.each([
  ['is not there', () => join(folder, 'none'), /cannot be run/],
  ['is a folder', () => folder, /cannot be run/],
  ['may not be run', () => program('file', '', 0o600), /cannot be run/],
  ['fails', () => program('fails', '#!/bin/sh\nexit 3\n'), /cannot be run/],
  ['is something else', () => program('other', '#!/bin/sh\necho hello\n'), /is not Kubo: it says "hello"/],
])('a program that %s is told at once, and not waited for', async (_what, make, reason) => {
  const binary = make()
  await expect(kuboVersionOf(binary)).rejects.toThrow(reason)
  const daemon = new KuboDaemon({
    ...{ binary, dir: join(folder, 'repo'), host: '127.0.0.1', port: 0 },
    ...{ identitySeed: new Uint8Array(32), swarmKey: new Uint8Array(32), onRestart: () => {} },
  })
  await expect(daemon.start([])).rejects.toThrow(reason)
})

test.skipIf(kuboBinary === undefined)('Kubo says its version', async () => {
  expect(await kuboVersionOf(kuboBinary as string)).toMatch(/^0\.\d+\.\d+$/)
})
