import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeHeadRegister } from '../../../../test/support/register-conformance.ts'
import { openSqliteRegister, type SqliteRegister } from './sqlite-register.ts'

let dir: string
let clients: SqliteRegister[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'healthblock-register-'))
})
afterEach(() => {
  closeAll()
  rmSync(dir, { recursive: true, force: true })
})

function closeAll(): void {
  for (const client of clients) client.close()
  clients = []
}

function client(path = join(dir, 'register.db')): SqliteRegister {
  const opened = openSqliteRegister(path)
  clients.push(opened)
  return opened
}

describe('the register in a SQLite file', () => {
  describeHeadRegister(
    () => ({
      client: () => client(),
      async reopen() {
        closeAll()
      },
      async lose() {
        closeAll()
        for (const suffix of ['', '-wal', '-shm']) rmSync(join(dir, `register.db${suffix}`), { force: true })
      },
    }),
    { isRemote: false },
  )

  it.each([
    ['with its log', ['', '-wal', '-shm']],
    ['alone', ['']],
  ])('a file that is removed %s under those who use it is nobody’s register any more', async (_, suffixes) => {
    const [one, two] = [client(), client()]
    const [first, second, third] = [1, 2, 3].map((byte) => new Uint8Array(64).fill(byte)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    expect(await one.cas('userchain', undefined, first)).toBe(true)
    expect(await two.read('userchain')).toEqual(first)
    for (const suffix of suffixes) rmSync(join(dir, `register.db${suffix}`))
    // Who is started since has a new one: two registers would stop a ledger whose nodes are split between them.
    const later = client()
    expect(await later.cas('userchain', undefined, second)).toBe(true)
    expect(await one.cas('userchain', first, third)).toBe(false)
    expect([await one.read('userchain'), await two.read('userchain')]).toEqual([second, second])
    expect(await two.cas('userchain', second, third)).toBe(true)
    closeAll()
    expect(await client().read('userchain')).toEqual(third)
  })

  it('says of a damaged file that the nodes rebuild it, and goes on once it is moved away', async () => {
    const path = join(dir, 'register.db')
    writeFileSync(path, 'no database at all, and longer than a header of SQLite would be: '.repeat(40))
    const register = client(path)
    await expect(register.read('userchain')).rejects.toThrow('move it away')
    rmSync(path)
    expect(await register.read('userchain')).toBeUndefined()
  })

  it('says so while its folder is away, and goes on when it is back', async () => {
    const register = client(join(dir, 'later', 'register.db'))
    await expect(register.read('userchain')).rejects.toMatchObject({ detail: { code: 'ERR_REGISTER_FAILED' } })
    const { mkdirSync } = await import('node:fs')
    mkdirSync(join(dir, 'later'))
    expect(await register.read('userchain')).toBeUndefined()
  })
})
