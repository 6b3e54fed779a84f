/**
 * The recovery phrase: 24 words from which the `root` key and, with a recovery salt that others hold in shares, the backup
 * key follow. Stream roots never follow from it, so that what is destroyed stays destroyed.
 *
 * @see SPEC.md §8, BIP-39
 */

import { concatBytes, encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { entropyToMnemonic, mnemonicToEntropy, mnemonicToSeedSync } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { provider } from '#provider'
import { CryptoError } from './errors.ts'
import { argumentInvalid, openFailed } from './inner/failures.ts'
import { type FileFormat, fileFields, openFileWith, sealFileWith } from './inner/file.ts'
import { SigningKey } from './inner/signature.ts'
import type { Bytes } from './provider/provider.ts'

/** Words of a recovery phrase. */
export const phraseWordsCount = 24
/** Bytes of a recovery salt. */
export const recoverySaltSizeBytes = 32
const entropySizeBytes = 32
const comparisonWordsCount = 6
const backupFormat: FileFormat = { magic: 'hbbackp1', info: 'healthblock/1 backup file', fieldsSizeBytes: 32 }

/** A recovery phrase in memory. */
export class RecoveryPhrase {
  readonly #entropy: Bytes
  readonly #words: string
  constructor(entropy: Uint8Array) {
    this.#entropy = Uint8Array.from(entropy)
    this.#words = entropyToMnemonic(this.#entropy, wordlist)
  }

  /** The 24 words, for showing once. */
  words(): string[] {
    return this.#words.split(' ')
  }

  /** 32 bytes, for the vault. A copy. */
  exportEntropy(): Bytes {
    return this.#entropy.slice()
  }

  /** The `root` signing key; `account` counts from 0, a later one replaces a key that leaked. About 10 ms. */
  rootKey(account = 0): SigningKey {
    if (!Number.isInteger(account) || account < 0 || account > 0xffffffff) throw argumentInvalid('account')
    const number = new Uint8Array(4)
    new DataView(number.buffer).setUint32(0, account)
    return new SigningKey(this.#derive(concatBytes(encodeUtf8('healthblock/1 root'), number)), provider)
  }

  /** The 32-byte backup key under a recovery salt of 32 bytes. */
  backupKey(recoverySalt: Uint8Array): Bytes {
    if (recoverySalt.length !== recoverySaltSizeBytes) throw argumentInvalid('recoverySalt')
    return this.#derive(encodeUtf8('healthblock/1 backup'), recoverySalt)
  }

  #derive(info: Uint8Array, salt?: Uint8Array): Bytes {
    const seed = mnemonicToSeedSync(this.#words)
    const derived = provider.hkdfSha256({ ikm: seed, info, length: 32, ...(salt === undefined ? {} : { salt }) })
    seed.fill(0)
    return derived
  }
}

/** A new random phrase. */
export function generateRecoveryPhrase(): RecoveryPhrase {
  return new RecoveryPhrase(provider.randomBytes(entropySizeBytes))
}

/**
 * The phrase of 32 bytes of entropy, as `exportEntropy` gave them.
 *
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID` for any other length.
 */
export function recoveryPhraseFromEntropy(entropy: Uint8Array): RecoveryPhrase {
  if (entropy.length !== entropySizeBytes) throw argumentInvalid('entropy')
  return new RecoveryPhrase(entropy)
}

/**
 * Reads a phrase as a person types it: case and white space do not matter.
 *
 * @throws {CryptoError} `ERR_PHRASE_INVALID` for another count of words, an unknown word or a wrong checksum.
 */
export function parseRecoveryPhrase(text: string): RecoveryPhrase {
  const words = text.normalize('NFKD').toLowerCase().trim().split(/\s+/)
  const invalid = () => new CryptoError('not a recovery phrase of 24 words', { code: 'ERR_PHRASE_INVALID' })
  if (words.length !== phraseWordsCount) throw invalid()
  let entropy: Uint8Array
  try {
    entropy = mnemonicToEntropy(words.join(' '), wordlist)
  } catch {
    throw invalid()
  }
  return new RecoveryPhrase(entropy)
}

/** A new recovery salt, to be held in shares by the parties that the patient names. */
export function newRecoverySalt(): Bytes {
  return provider.randomBytes(recoverySaltSizeBytes)
}

/** The backup file of any contents (SPEC.md §8). Never the same bytes twice. */
export function sealBackup(options: { phrase: RecoveryPhrase; recoverySalt: Uint8Array; contents: Uint8Array }): Bytes {
  const key = options.phrase.backupKey(options.recoverySalt)
  const fields = provider.sha256([options.recoverySalt])
  const { contents } = options
  const file = sealFileWith(provider, backupFormat, { key, fields, salt: provider.randomBytes(32), contents })
  key.fill(0)
  return file
}

/**
 * Opens a backup file.
 *
 * @throws {CryptoError} `ERR_OPEN_FAILED`, whatever the cause: also for the phrase without the right recovery salt.
 */
export function openBackup(options: { phrase: RecoveryPhrase; recoverySalt: Uint8Array; file: Uint8Array }): Bytes {
  const { phrase, recoverySalt, file } = options
  if (recoverySalt.length !== recoverySaltSizeBytes) throw openFailed()
  if (!equalBytes(fileFields(backupFormat, file), provider.sha256([recoverySalt]))) throw openFailed()
  const key = phrase.backupKey(recoverySalt)
  try {
    return openFileWith(provider, backupFormat, key, file)
  } finally {
    key.fill(0)
  }
}

/**
 * Six words by which two people compare a public key aloud: 66 bits of its hash.
 *
 * @param publicKey - the key's bytes, as registered.
 */
export function comparisonWords(publicKey: Uint8Array): string[] {
  const hash = provider.sha256([encodeUtf8('healthblock/1 comparison\0'), publicKey])
  let bits = 0n
  for (const byte of hash.subarray(0, 9)) bits = (bits << 8n) | BigInt(byte)
  bits >>= 6n
  const words: string[] = []
  for (let i = comparisonWordsCount - 1; i >= 0; i--)
    words.push(wordlist[Number((bits >> BigInt(11 * i)) & 2047n)] as string)
  return words
}
