import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { canMount, mountSmallDisk, type SmallDisk } from '../../../../test/support/small-disk.ts'
import { isRuntimeError } from '../errors.ts'
import { ensureFolder, lockFolder, readFileIfPresent, writeFileDurably, writeSecretFile } from './files.ts'
import { openDatabase } from './sqlite.ts'

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

  it('makes folders that are not there, and never waits where none can be made', () => {
    ensureFolder(join(dir, 'a', 'b', 'c'))
    ensureFolder(join(dir, 'a', 'b', 'c'))
    expect(statSync(join(dir, 'a', 'b')).mode & 0o777).toBe(0o700)
    writeFileSync(join(dir, 'file'), 'x')
    expect(() => ensureFolder(join(dir, 'file'))).toThrow('ENOTDIR')
    expect(() => ensureFolder(join(dir, 'file', 'below'))).toThrow('ENOTDIR')
    if (existsSync('/proc/self'))
      expect(() => ensureFolder('/proc/healthblock')).toThrow('/proc/healthblock: a folder cannot be made there')
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
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    await once(child.stdout, 'data')
    expect(() => lockFolder(data)).toThrow(`process ${child.pid}`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(readFileSync(join(data, 'lock.pid'), 'utf8').trim()).toBe(String(child.pid))
    lockFolder(data).release()
  })

  it('says that the folder may not be written, and not that it is in use', async () => {
    const data = join(dir, 'data')
    lockFolder(data).release()
    const open = (folder: string): string =>
      `try { lockFolder(${JSON.stringify(folder)}) } catch (e) { console.log(e.message) }`
    const script = `import { lockFolder } from ${JSON.stringify(join(import.meta.dirname, 'files.ts'))}
      ${open(data)}; ${open(join(dir, 'none', 'data'))}`
    chmodSync(dir, 0o755)
    chmodSync(data, 0o555)
    chmodSync(join(data, 'lock'), 0o444)
    const asNobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        ...asNobody,
      },
    )
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (said += part))
    await once(child, 'close')
    const [locked = '', made = ''] = said.split('\n')
    expect(locked).toContain('must belong to the user of this process')
    expect(made).toContain('permission denied')
  })
})

describe.skipIf(!canMount)('on a full disk', () => {
  let disk: SmallDisk
  beforeEach(() => {
    disk = mountSmallDisk(join(dir, 'disk'), 262_144)
  })
  afterEach(() => disk.remove())

  it('a file keeps its old content, and a new one leaves nothing behind', () => {
    const path = join(disk.dir, 'a')
    writeFileDurably(path, 'old')
    disk.fill()
    for (const target of [path, join(disk.dir, 'b')]) {
      expect(() => writeFileDurably(target, 'new')).toThrow(
        expect.objectContaining({
          message: `no room left for ${target}`,
          detail: { code: 'ERR_DISK_FULL', path: target },
        }),
      )
    }
    expect(readdirSync(disk.dir).sort()).toEqual(['a', 'ballast'])
    expect(readFileSync(path, 'utf8')).toBe('old')
    disk.free()
    writeFileDurably(path, 'new')
    expect(readFileSync(path, 'utf8')).toBe('new')
  })

  it('a folder can be taken all the same', () => {
    lockFolder(disk.dir).release()
    disk.fill()
    const lock = lockFolder(disk.dir)
    expect(() => lockFolder(disk.dir)).toThrow('in use')
    lock.release()
  })

  it('a transaction happens whole or not at all, and the database goes on when there is room', () => {
    const database = openDatabase({
      path: join(disk.dir, 'a.db'),
      synchronous: 'full',
      migrations: ['CREATE TABLE item (id INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT'],
    })
    const insert = (id: number): number =>
      database.transaction(() => {
        database.run('INSERT INTO item VALUES (?, ?)', id, new Uint8Array(3_000))
        return database.run('INSERT INTO item VALUES (?, ?)', 1000 + id, new Uint8Array(3_000))
      })
    insert(0)
    disk.fill()
    let count = 1
    const fillUp = (): void => {
      for (; count < 1000; count++) insert(count)
    }
    expect(fillUp).toThrow(expect.objectContaining({ detail: { code: 'ERR_DISK_FULL', path: database.path } }))
    const rows = (): number => Number(database.get('SELECT count(*) AS n FROM item')?.n)
    expect(rows()).toBe(2 * count)
    disk.free()
    insert(count)
    expect(rows()).toBe(2 * count + 2)
    database.close()
  })
})
