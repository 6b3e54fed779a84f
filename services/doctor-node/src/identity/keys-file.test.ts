import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeBody } from '@healthblock/chain/transaction'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { Identity } from './identity.ts'
import { type DoctorKeys, readKeysFile, writeKeysFile } from './keys-file.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-keys-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

function keysOf(): DoctorKeys {
  const [root, op, kem] = [generateSigningKey(), generateSigningKey(), generateKemKeyPair()]
  const sponsor = new Uint8Array(32).fill(3)
  const keys = { root: root.publicKey, op: op.publicKey, kem: kem.publicKey, suite: kemSuiteDefault }
  const register = encodeBody({ v: 1, t: 'register', role: 2, ...keys, sponsor, salt: new Uint8Array(16) })
  return { name: 'doctor', root, op, kems: [kem], sponsor, register }
}

const corrupt = expect.objectContaining({
  message: expect.stringContaining('restore it from a backup'),
  detail: expect.objectContaining({ code: 'ERR_KEYS_CORRUPT' }),
})

test('what was written is read; damaged bytes, and a registration of other keys, are refused', () => {
  const path = join(dir, 'keys')
  const keys = keysOf()
  writeKeysFile(path, keys)
  const bytes = readFileSync(path)
  expect(readKeysFile(path)).toMatchObject({ name: 'doctor', register: keys.register, sponsor: keys.sponsor })
  for (let at = 0; at < bytes.length; at += 7) {
    const damaged = Uint8Array.from(bytes)
    damaged[at] = (damaged[at] as number) ^ 0x55
    writeFileSync(path, damaged)
    const name = (() => {
      try {
        return readKeysFile(path)?.name
      } catch (error) {
        expect(error).toEqual(corrupt)
        return 'refused'
      }
    })()
    // Only the name, which is for people at this node, may differ unnoticed; and the salt, which makes another account.
    if (name === 'doctor') expect(readKeysFile(path)?.register).not.toEqual(keys.register)
  }
  const map = decodeCbor(Uint8Array.from(bytes)) as Record<string, never>
  writeFileSync(path, encodeCbor({ ...map, register: keysOf().register }))
  expect(() => readKeysFile(path)).toThrow(corrupt)
})

test('a node that was used has a doctor: without keys it does not start', () => {
  const { ledger } = new TestLedger(1_800_000_000_000)
  const open = (isUsed: boolean) => new Identity({ dir, ledger, isUsed, nowMs: Date.now })
  expect(open(false).doctor).toBeUndefined()
  expect(() => open(true)).toThrow(corrupt)
})
