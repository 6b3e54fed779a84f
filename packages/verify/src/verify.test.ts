import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'
import { describe, expect, it } from 'vitest'
import { checkTrust, verifyFile } from './verify.ts'

const folder = fileURLToPath(new URL('../../../test/compat/1/', import.meta.url))
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)))
const genesis = read('genesis.cbor')

/** Most bytes of the verifier as a browser gets it. */
const bundleSizeBytesMax = 200_000

async function bundle(): Promise<string> {
  const { output } = await build({
    input: fileURLToPath(new URL('./verify.ts', import.meta.url)),
    platform: 'browser',
    resolve: { conditionNames: ['browser', 'import', 'default'] },
    write: false,
    logLevel: 'silent',
    output: { format: 'esm', minify: true },
  })
  return output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('\n')
}

describe('a file', () => {
  it('is a receipt or a bundle, believed by genesis, by a kept checkpoint, or by itself', () => {
    const bytes = read('reading.json')
    expect(verifyFile(bytes, { genesis })).toMatchObject({ kind: 'transaction', trust: 'pinned' })
    const { parts } = JSON.parse(new TextDecoder().decode(bytes)) as { parts: { proof: string }[] }
    const [, checkpoint] = /\n\n(healthblock[\s\S]*)$/.exec(parts[0]?.proof as string) ?? []
    expect(verifyFile(bytes, { checkpoint: checkpoint as string })).toMatchObject({ trust: 'pinned' })
    expect(verifyFile(bytes)).toMatchObject({ trust: 'embedded' })
    const other = (checkpoint as string).replace(/^healthblock\/[0-9a-f]{4}/, 'healthblock/0000')
    expect(() => verifyFile(bytes, { checkpoint: other })).toThrow('of another ledger')
    expect(() => verifyFile(bytes, { checkpoint: (checkpoint as string).replace(/^healthblock/, 'other') })).toThrow(
      'another kind of log',
    )
  })
})

/** The checkpoints inside a receipt, of its parts in their order. */
function checkpointsIn(bytes: Uint8Array): string[] {
  const { parts } = JSON.parse(new TextDecoder().decode(bytes)) as { parts: { proof: string }[] }
  return parts.map(({ proof }) => /\n\n(healthblock[\s\S]*)$/.exec(proof)?.[1] as string)
}

/** The same log and size with another root. */
const ofAnotherHistory = (checkpoint: string): string => {
  const [origin, size, root, ...rest] = checkpoint.split('\n') as [string, string, string]
  return [origin, size, `${root.startsWith('A') ? 'B' : 'A'}${root.slice(1)}`, ...rest].join('\n')
}

describe('a kept checkpoint', () => {
  it('of the size of a head in a receipt has its root, or there are two histories', () => {
    for (const name of ['reading.json', 'revocation.json', 'diagnosis.json']) {
      const bytes = read(name)
      for (const checkpoint of checkpointsIn(bytes)) {
        const { steps } = verifyFile(bytes, { checkpoint })
        expect(steps.join('\n')).toContain('the root of the checkpoint that you keep')
        expect(() => verifyFile(bytes, { checkpoint: ofAnotherHistory(checkpoint) })).toThrow(
          'trust: another root of the same size',
        )
      }
    }
  })

  it('is held against the Userchain head that a Docchain SEAL states, too', () => {
    const bytes = read('revocation.json')
    const [checkpoint] = checkpointsIn(bytes) as [string]
    const [, size] = /anchored at (\d+) entries/.exec(verifyFile(bytes, { genesis }).steps.join('\n')) ?? []
    const other = ofAnotherHistory(checkpoint).replace(/^(.*)\n\d+\n/, `$1\n${size}\n`)
    expect(() => verifyFile(bytes, { checkpoint: other })).toThrow('trust: another root of the same size')
  })
})

describe('what is to be trusted', () => {
  it('is refused by itself, whatever the file', () => {
    expect(() => checkTrust({ genesis: Uint8Array.of(1) })).toThrow('not a genesis file')
    expect(() => checkTrust({ checkpoint: 'words' })).toThrow('not a signed note')
    expect(() => checkTrust({ witnesses: ['words'] })).toThrow('not a verifier key')
    expect(() => checkTrust({ genesis })).not.toThrow()
  })
})

describe('the verifier in a browser', () => {
  it('is one script below 200 KB that asks for nothing of Node', async () => {
    const code = await bundle()
    expect(code.length).toBeGreaterThan(20_000)
    expect(code.length).toBeLessThan(bundleSizeBytesMax)
    expect(code).not.toMatch(/from\s*["']node:|require\(|import\s*\(?\s*["']/)
    const url = `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`
    const script = (await import(url)) as { verifyFile: typeof verifyFile }
    for (const name of readdirSync(folder).filter((one) => one.endsWith('.json') && one !== 'heads.json')) {
      const { steps } = script.verifyFile(read(name), { genesis })
      expect(steps).toEqual(verifyFile(read(name), { genesis }).steps)
      expect(() => script.verifyFile(Uint8Array.from(read(name)).fill(0x20, 900, 901), { genesis })).toThrow()
    }
  })
})
