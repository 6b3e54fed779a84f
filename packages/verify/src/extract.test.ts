import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseCheckpoint, parseVkey, signatureTypes, verifyNoteSignature } from '@healthblock/chain/checkpoint'
import { ledgerIdOf } from '@healthblock/chain/genesis'
import { leafHash, verifyInclusion } from '@healthblock/chain/merkle'
import { parseProof } from '@healthblock/chain/proof'
import { toHex } from '@healthblock/encoding/bytes'
import { describe, expect, it } from 'vitest'
import { extractFiles } from './extract.ts'

const folder = fileURLToPath(new URL('../../../test/compat/1/', import.meta.url))
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(`${folder}${name}`))
const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

describe('what is extracted', () => {
  it('has a name that says what it is, and no folder in it', () => {
    const names = extractFiles(read('revocation.json')).map(({ name }) => name)
    expect(names[0]).toBe('genesis.cbor')
    const stems = names.slice(1).map((name) => name.replace(/\.[a-z-]+$/, ''))
    expect([...new Set(stems)].map((stem) => stem.replace(/-\d+-/, '-N-'))).toEqual([
      'userchain-N-key',
      'userchain-N-seal',
      'docchain-N-seal',
    ])
    for (const name of names) expect(name).toMatch(/^[a-z0-9.-]+$/)
  })

  it.each(['reading.json', 'revocation.json', 'diagnosis.json'])(
    'of %s proves by itself what the file proves',
    (name) => {
      const files = new Map(extractFiles(read(name)).map((file) => [file.name, file.bytes]))
      const ledgerId = toHex(ledgerIdOf(files.get('genesis.cbor') as Uint8Array))
      const proofs = [...files.keys()].filter((one) => one.endsWith('.tlog-proof'))
      expect(proofs.length).toBeGreaterThan(0)
      for (const file of proofs) {
        const stem = file.replace('.tlog-proof', '')
        const { index, hashes, checkpoint } = parseProof(text(files.get(file)))
        expect(text(files.get(`${stem}.checkpoint`))).toBe(checkpoint)
        const { origin, size, root, text: signed, signatures } = parseCheckpoint(checkpoint)
        expect(origin).toContain(ledgerId)
        const leaf = files.get(`${stem}.leaf`) as Uint8Array
        verifyInclusion({ leafHash: leafHash(leaf), index, size, proof: hashes, root })
        // Every line of the checkpoint is of a key that the policy names, and as many nodes signed as it demands.
        const policy = text(files.get(`${stem}.policy`))
        const keys = [...policy.matchAll(/^(?:log|witness \S+) (\S+)$/gm)].map(([, vkey]) => parseVkey(vkey as string))
        const [, count] = /^group nodes (\d+) /m.exec(policy) ?? []
        for (const signature of signatures) {
          const key = keys.find((one) => one.name === signature.name)
          expect(key).toBeDefined()
          verifyNoteSignature({ text: signed, key: key as NonNullable<typeof key>, signature })
        }
        expect(keys.filter(({ type }) => type === signatureTypes.log)).toHaveLength(1)
        expect(signatures).toHaveLength(Number(count) + 1)
      }
    },
  )

  it('is nothing of a file that does not hold', () => {
    const good = text(read('reading.json'))
    const forgeries = [
      good.replace(/(index )(\d)/, (_, word, digit) => `${word}${(Number(digit) + 1) % 10}`),
      good.replace(/(\/0 )(.)(.)/, (_, place, a, b) => `${place}${b}${a}`),
      '{}',
    ]
    for (const forged of forgeries) {
      expect(forged).not.toBe(good)
      expect(() => extractFiles(new TextEncoder().encode(forged))).toThrow()
    }
  })
})
