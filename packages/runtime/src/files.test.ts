import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isRuntimeError } from './errors.ts'
import { ensureFolder, lockFolder, readFileIfPresent, writeFileDurably, writeSecretFile } from './files.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-files-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('writeFileDurably', () => {
  it('replaces the content and leaves nothing else behind', () => {
    const path = join(dir, 'a')
    writeFileDurably(path, 'old')
    writeFileDurably(path, Uint8Array.of(1, 2))
    expect(readFileIfPresent(path)).toEqual(Uint8Array.of(1, 2))
    expect(readdirSync(dir)).toEqual(['a'])
  })

  it('leaves the old content when it fails', () => {
    ensureFolder(join(dir, 'a'))
    writeFileSync(join(dir, 'a', 'child'), 'x')
    expect(() => writeFileDurably(join(dir, 'a'), 'new')).toThrow()
    expect(readdirSync(dir)).toEqual(['a'])
    expect(() => writeFileDurably(join(dir, 'absent', 'b'), 'new')).toThrow('ENOENT')
  })

  it('keeps secrets to the owner', () => {
    writeSecretFile(join(dir, 's'), 'secret')
    expect(statSync(join(dir, 's')).mode & 0o777).toBe(0o600)
  })

  it('tells absent from unreadable and too large', () => {
    expect(readFileIfPresent(join(dir, 'none'))).toBeUndefined()
    expect(() => readFileIfPresent(dir)).toThrow('EISDIR')
    writeFileSync(join(dir, 'big'), 'four')
    expect(() => readFileIfPresent(join(dir, 'big'), { sizeBytesMax: 3 })).toThrow('larger than 3')
  })
})

describe('lockFolder', () => {
  it('is exclusive until released', () => {
    const lock = lockFolder(join(dir, 'data'))
    try {
      lockFolder(join(dir, 'data'))
      expect.unreachable()
    } catch (error) {
      expect(isRuntimeError(error, 'ERR_FOLDER_LOCKED') && error.detail.pid).toBe(process.pid)
    }
    lock.release()
    lock.release()
    lockFolder(join(dir, 'data')).release()
    expect(existsSync(join(dir, 'data', 'lock.pid'))).toBe(false)
  })

  it('is free at once when its holder was killed', async () => {
    const data = join(dir, 'data')
    const script = `import { lockFolder } from ${JSON.stringify(join(import.meta.dirname, 'files.ts'))}
      lockFolder(${JSON.stringify(data)}); console.log('held'); setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await once(child.stdout, 'data')
    expect(() => lockFolder(data)).toThrow(`process ${child.pid}`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(readFileSync(join(data, 'lock.pid'), 'utf8').trim()).toBe(String(child.pid))
    lockFolder(data).release()
  })
})
