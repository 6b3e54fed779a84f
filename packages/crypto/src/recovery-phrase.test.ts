import { toHex } from '@healthblock/encoding/bytes'
import { expect, test } from 'vitest'
import { generateKemKeyPair } from './envelope.ts'
import { hkdfSha256 } from './hash.ts'
import { randomBytes } from './random.ts'
import {
  comparisonWords,
  generateRecoveryPhrase,
  newRecoverySalt,
  openBackup,
  parseRecoveryPhrase,
  recoveryPhraseFromEntropy,
  sealBackup,
} from './recovery-phrase.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })

test('a phrase gives the same keys again, however it is typed', () => {
  const phrase = generateRecoveryPhrase()
  const words = phrase.words()
  expect(words).toHaveLength(24)
  const again = parseRecoveryPhrase(`  ${words.join('\n ').toUpperCase()} `)
  expect(toHex(again.exportEntropy())).toBe(toHex(phrase.exportEntropy()))
  expect(again.rootKey().publicKey).toEqual(phrase.rootKey().publicKey)
  expect(recoveryPhraseFromEntropy(phrase.exportEntropy()).words()).toEqual(words)
  expect(phrase.rootKey(1).publicKey).not.toEqual(phrase.rootKey().publicKey)
  expect(generateRecoveryPhrase().words()).not.toEqual(words)
})

test('BIP-39’s vector for zero entropy, and the keys that follow from its seed', () => {
  const phrase = recoveryPhraseFromEntropy(new Uint8Array(32))
  // The words as in github.com/trezor/python-mnemonic, vectors.json; the seed is the one without a passphrase.
  expect(phrase.words()).toEqual([...Array(23).fill('abandon'), 'art'])
  const seed = Uint8Array.from(
    Buffer.from(
      '408b285c123836004f4b8842c89324c1f01382450c0d439af345ba7fc49acf705489c6fc77dbd4e3dc1dd8cc6bc9f043db8ada1e243c4a0eafb290d399480840',
      'hex',
    ),
  )
  const info = Uint8Array.from([...Buffer.from('healthblock/1 root'), 0, 0, 0, 0])
  expect(phrase.rootKey().exportSeed()).toEqual(hkdfSha256({ ikm: seed, info, length: 32 }))
  const salt = randomBytes(32)
  const backup = { ikm: seed, salt, info: Uint8Array.from(Buffer.from('healthblock/1 backup')), length: 32 }
  expect(phrase.backupKey(salt)).toEqual(hkdfSha256(backup))
})

test('a phrase with a wrong word, order, count or checksum is refused', () => {
  const words = recoveryPhraseFromEntropy(new Uint8Array(32)).words()
  for (const wrong of [
    words.slice(1),
    [...words, 'art'],
    [...words.slice(0, 23), 'abandon'],
    [...words.slice(0, 23), 'healthblock'],
    ['art', ...words.slice(0, 23)],
    [],
  ]) {
    expect(() => parseRecoveryPhrase(wrong.join(' '))).toThrow(code('ERR_PHRASE_INVALID'))
  }
  expect(() => recoveryPhraseFromEntropy(new Uint8Array(16))).toThrow(code('ERR_ARGUMENT_INVALID'))
})

test('a backup needs phrase and recovery salt; both alone open nothing', () => {
  const [phrase, recoverySalt, contents] = [generateRecoveryPhrase(), newRecoverySalt(), randomBytes(500)]
  const file = sealBackup({ phrase, recoverySalt, contents })
  expect(openBackup({ phrase, recoverySalt, file })).toEqual(contents)
  expect(sealBackup({ phrase, recoverySalt, contents })).not.toEqual(file)
  for (const over of [
    { phrase: generateRecoveryPhrase() },
    { recoverySalt: newRecoverySalt() },
    { recoverySalt: new Uint8Array(0) },
    { file: file.subarray(1) },
    { file: file.subarray(0, file.length - 1) },
    { file: file.map((byte, i) => (i === 100 ? byte ^ 1 : byte)) },
  ]) {
    expect(() => openBackup({ phrase, recoverySalt, file, ...over })).toThrow(code('ERR_OPEN_FAILED'))
  }
})

test('six words to compare, the same for the same key', () => {
  const key = generateKemKeyPair().publicKey
  const words = comparisonWords(key)
  expect(words).toHaveLength(6)
  expect(comparisonWords(key.slice())).toEqual(words)
  const other = key.slice()
  other[1000] = (other[1000] as number) ^ 1
  expect(comparisonWords(other)).not.toEqual(words)
  expect(comparisonWords(new Uint8Array(0))).toEqual(['pet', 'income', 'flee', 'quote', 'hurt', 'raccoon'])
})
