import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RuntimeError } from '../errors.ts'
import {
  choice,
  fileBytes,
  flag,
  integer,
  ledgerFile,
  optional,
  path,
  readConfig,
  secretText,
  text,
  url,
  urls,
} from './config.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-config-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const fields = {
  settings: {
    port: integer('X_PORT', { description: 'port', min: 0, max: 65_535, fallback: '8080' }),
    level: choice('X_LEVEL', { description: 'level', of: ['info', 'debug'], fallback: 'info' }),
    nodes: urls('X_NODES', { description: 'where the nodes are' }),
    extra: optional(text('X_EXTRA', { description: 'nothing much', pattern: /^[a-z]+$/ })),
  },
  secrets: { api: secretText('X_API_SECRET_FILE', { description: 'the API secret' }) },
}

function faultsOf(environment: Record<string, string>): readonly string[] {
  try {
    readConfig(environment, fields)
  } catch (error) {
    if (error instanceof RuntimeError && error.detail.code === 'ERR_CONFIG_INVALID') return error.detail.faults
    throw error
  }
  return []
}

describe('readConfig', () => {
  it('reads, converts, fills in and freezes', () => {
    writeFileSync(join(dir, 'api'), 'a-secret-of-enough-length\n')
    const environment = {
      X_NODES: 'http://127.0.0.1:1, http://127.0.0.1:2/',
      X_API_SECRET_FILE: join(dir, 'api'),
      X_EXTRA: '',
    }
    const config = readConfig(environment, fields)
    expect(config.settings).toEqual({
      port: 8080,
      level: 'info',
      nodes: ['http://127.0.0.1:1', 'http://127.0.0.1:2'],
      extra: undefined,
    })
    expect(config.secrets.api).toBe('a-secret-of-enough-length')
    expect(Object.isFrozen(config.settings) && Object.isFrozen(config.settings.nodes)).toBe(true)
  })

  it('reports every fault at once and tells no secret', () => {
    writeFileSync(join(dir, 'api'), 'hunter2')
    const faults = faultsOf({ X_PORT: '70000', X_LEVEL: 'loud', X_EXTRA: 'A1', X_API_SECRET_FILE: join(dir, 'api') })
    expect(faults.map((fault) => fault.split(' ')[0])).toEqual([
      'X_PORT',
      'X_LEVEL',
      'X_NODES',
      'X_EXTRA',
      'X_API_SECRET_FILE',
    ])
    expect(faults.join()).not.toContain('hunter2')
  })

  it.each([['1e3'], ['-1'], ['0x10'], [' 1'], ['9007199254740993']])('refuses the number %s', (value) => {
    expect(faultsOf({ X_PORT: value }).some((fault) => fault.startsWith('X_PORT'))).toBe(true)
  })

  it.each([['ftp://a'], ['http://u:p@a'], ['http://a,http://a'], ['nonsense']])('refuses the URLs %s', (value) => {
    expect(faultsOf({ X_NODES: value }).some((fault) => fault.startsWith('X_NODES'))).toBe(true)
  })

  it('reads flags, paths, URLs, sized files and ledger files', () => {
    writeFileSync(join(dir, 'genesis.cbor'), Uint8Array.of(1, 2, 3))
    const genesis = join(dir, 'genesis.cbor')
    writeFileSync(
      join(dir, 'ledger.json'),
      JSON.stringify({ genesis, accounting: ['http://127.0.0.1:1'], storage: ['http://127.0.0.1:2'] }),
    )
    const { settings } = readConfig(
      { A: 'true', B: 'x', C: 'https://a.example/', D: genesis, E: join(dir, 'ledger.json') },
      {
        settings: {
          a: flag('A', { description: '' }),
          b: path('B', { description: '' }),
          c: url('C', { description: '' }),
          d: fileBytes('D', { description: '', sizeBytes: 3 }),
          e: ledgerFile('E', { description: '' }),
        },
        secrets: {},
      },
    )
    expect(settings.a).toBe(true)
    expect(settings.b.startsWith('/')).toBe(true)
    expect(settings.c).toBe('https://a.example')
    expect(settings.d).toEqual(Uint8Array.of(1, 2, 3))
    expect(settings.e).toEqual({
      genesis: Uint8Array.of(1, 2, 3),
      accounting: ['http://127.0.0.1:1'],
      storage: ['http://127.0.0.1:2'],
    })
    const sized = { settings: { d: fileBytes('D', { description: '', sizeBytes: 4 }) }, secrets: {} }
    expect(() => readConfig({ D: genesis }, sized)).toThrow('D names a file of 3 bytes, not 4')
  })
})
