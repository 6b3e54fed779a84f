import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { beforeAll, describe, expect, test } from 'vitest'
import { CryptoError } from './errors.ts'
import { newStreamRoot } from './key-tree.ts'
import { provider as native } from './provider/native.ts'
import { provider as noble } from './provider/noble.ts'
import { randomBytes } from './random.ts'
import { createVault, type HeldNodes, type OpenVault, openVault, sealRoots, type VaultContents } from './vault.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const passphrase = 'correct horse ﬁve'
const held = (at: number): HeldNodes => ({
  stream: Uint8Array.of(at, 0, 0, 0, 0, 0, 0, 1),
  generation: 2,
  first: 490_000,
  nodes: [newStreamRoot()],
})
const contents = (): VaultContents => ({
  rootSeed: randomBytes(32),
  opSeed: randomBytes(32),
  kemSeed: randomBytes(32),
  vaultKemSeed: randomBytes(32),
  phraseEntropy: randomBytes(32),
  recoverySalts: [randomBytes(32)],
  nodes: [held(1), held(2)],
  extra: randomBytes(10),
})

const original = contents()
let vault: OpenVault
let file: Uint8Array
beforeAll(async () => {
  vault = await createVault({ contents: original, passphrase })
  file = vault.encode()
})

/** The file key and nonce of an encoding are functions of the passphrase salt and this salt: bytes 8 to 71. */
const keyOf = (encoding: Uint8Array) => toHex(encoding.subarray(8, 72))

test('opens under the passphrase, also written in another form', async () => {
  const opened = await openVault({ file, passphrase: 'correct horse five' })
  expect(opened.contents).toEqual(original)
})

test('a wrong passphrase, a flipped bit and a truncated file fail with one error', async () => {
  const attempts: [Uint8Array, string][] = [[file, 'correct horse six']]
  // One bit in each field: each attempt costs a whole guess, so not every bit is tried here; the AEAD's own tests do.
  for (const at of [0, 9, 41, file.length - 1]) {
    const wrong = file.slice()
    wrong[at] = (wrong[at] as number) ^ 1
    attempts.push([wrong, passphrase])
  }
  attempts.push([file.subarray(0, 87), passphrase], [file.subarray(0, file.length - 1), passphrase])
  const errors = await Promise.all(
    attempts.map(([wrong, tried]) => openVault({ file: wrong, passphrase: tried }).catch((error: unknown) => error)),
  )
  for (const error of errors) {
    expect(error).toBeInstanceOf(CryptoError)
    expect((error as CryptoError).message).toBe('could not be opened')
    expect((error as CryptoError).detail).toEqual({ code: 'ERR_OPEN_FAILED' })
  }
})

test('restored from an hour ago and written on: no key is used twice', async () => {
  const keys = new Set<string>()
  for (let i = 0; i < 50; i++) keys.add(keyOf(vault.encode()))
  const restored = await openVault({ file, passphrase })
  for (let i = 0; i < 50; i++) {
    restored.contents = { ...restored.contents, nodes: [held(i)] }
    keys.add(keyOf(restored.encode()))
  }
  expect(keys.size).toBe(100)
  expect(keys.has(keyOf(file))).toBe(false)
})

test('changed while open, written, opened again; a new passphrase replaces the old one', async () => {
  const own = await openVault({ file, passphrase })
  const next = { ...own.contents, nodes: [held(7)], recoverySalts: [] }
  own.contents = next
  const written: Uint8Array[] = []
  await own.changePassphrase('quite another one', (bytes) => written.push(bytes))
  for (const bytes of [...written, own.encode()]) {
    expect((await openVault({ file: bytes, passphrase: 'quite another one' })).contents).toEqual(next)
    await expect(openVault({ file: bytes, passphrase })).rejects.toThrow(code('ERR_OPEN_FAILED'))
  }
  expect(written).toHaveLength(1)
})

test('a file that could not be written under a new passphrase leaves the vault under the old one', async () => {
  const own = await openVault({ file, passphrase })
  const isFull = new Error('the disk is full')
  const changing = own.changePassphrase('quite another one', () => {
    throw isFull
  })
  await expect(changing).rejects.toBe(isFull)
  expect((await openVault({ file: own.encode(), passphrase })).contents).toEqual(own.contents)
})

test('closing wipes', async () => {
  const own = contents()
  const closing = await createVault({ contents: own, passphrase })
  closing.close()
  for (const seed of [own.rootSeed, own.opSeed, own.kemSeed, own.vaultKemSeed, own.nodes[0]?.nodes[0]?.key]) {
    expect(equalBytes(seed as Uint8Array, new Uint8Array(32))).toBe(true)
  }
  // What shares give back with the phrase, and the second factor's secret.
  expect(own.recoverySalts.every((salt) => equalBytes(salt, new Uint8Array(32)))).toBe(true)
  expect(own.extra).toEqual(new Uint8Array(10))
  expect(() => closing.encode()).toThrow(code('ERR_ARGUMENT_INVALID'))
  // Whoever waited for something while it was closed does not go on with zeros.
  expect(() => closing.contents).toThrow(code('ERR_ARGUMENT_INVALID'))
  expect(() => {
    closing.contents = contents()
  }).toThrow(code('ERR_ARGUMENT_INVALID'))
  expect(() => closing.publicKey()).toThrow(code('ERR_ARGUMENT_INVALID'))
  await expect(closing.changePassphrase(passphrase, () => {})).rejects.toThrow(code('ERR_ARGUMENT_INVALID'))
  closing.close()
})

test('short passphrases and contents out of form are refused', async () => {
  await expect(createVault({ contents: original, passphrase: 'seven77' })).rejects.toThrow(code('ERR_SIZE_INVALID'))
  for (const over of [
    { rootSeed: new Uint8Array(31) },
    { phraseEntropy: new Uint8Array(16) },
    { recoverySalts: [new Uint8Array(31)] },
    { nodes: [held(1), held(1)] },
    { extra: new Uint8Array(1_048_577) },
  ]) {
    vault.contents = { ...original, ...over }
    expect(() => vault.encode()).toThrow(code('ERR_ARGUMENT_INVALID'))
  }
  vault.contents = original
})

describe('new roots', () => {
  test('are sealed to the vault, and only the vault opens them', async () => {
    const roots = [held(2), held(1)]
    const sealed = await sealRoots({ vaultKey: vault.publicKey(), roots })
    expect(await vault.openRoots(sealed)).toEqual([roots[1], roots[0]])
    const own = vault.contents
    vault.contents = { ...own, vaultKemSeed: randomBytes(32) }
    await expect(vault.openRoots(sealed)).rejects.toThrow(code('ERR_OPEN_FAILED'))
    vault.contents = own
    sealed[sealed.length - 1] = (sealed[sealed.length - 1] as number) ^ 1
    await expect(vault.openRoots(sealed)).rejects.toThrow(code('ERR_OPEN_FAILED'))
  })
})

test('both providers stretch passphrases alike', async () => {
  const [word, salt] = [randomBytes(12), randomBytes(32)]
  const cost = { n: 1024, r: 8, p: 1 }
  expect(toHex(await native.scrypt(word, salt, cost))).toBe(toHex(await noble.scrypt(word, salt, cost)))
})
