/**
 * The vault: everything that the patient's own decision is needed for, under a passphrase. While it is open the passphrase
 * is not needed again; each encoding has a new salt and so a new key.
 *
 * @see SPEC.md §6
 */

import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { provider } from '#provider'
import { openWithKemKey, sealToKemKey } from './envelope.ts'
import { CryptoError } from './errors.ts'
import { argumentInvalid, openFailed } from './inner/failures.ts'
import { type FileFormat, fileFields, openFileWith, sealFileWith } from './inner/file.ts'
import { encodeHeldNodes, FormatReader, type HeldNodes, heldNodesValue, parseHeldNodes } from './inner/held-nodes.ts'
import { KemKeyPair, kemSuiteDefault } from './inner/kem.ts'
import type { Bytes } from './provider/provider.ts'

export type { HeldNodes } from './inner/held-nodes.ts'

/** What a vault holds. Seeds are 32 bytes. */
export interface VaultContents {
  /** Seed of the `root` signing key. */
  readonly rootSeed: Uint8Array
  /** Seed of the `op` signing key. */
  readonly opSeed: Uint8Array
  /** Seed of the person's KEM key pair. */
  readonly kemSeed: Uint8Array
  /** Seed of the vault's own KEM key pair, to which the hot store seals new roots. */
  readonly vaultKemSeed: Uint8Array
  /** The recovery phrase's entropy, 32 bytes; empty for an account without one. */
  readonly phraseEntropy: Uint8Array
  /** Recovery salts in use, 32 bytes each, newest last, at most 16. */
  readonly recoverySalts: readonly Uint8Array[]
  /** Roots, or what is left of them after shredding. */
  readonly nodes: readonly HeldNodes[]
  /** For the service's own use, at most 1 MiB; not read here. */
  readonly extra: Uint8Array
}

/** Fewest characters of a passphrase, after normalisation. */
export const passphraseLengthMin = 8
const recoverySaltsMax = 16
const extraSizeMax = 1_048_576
// 128 MiB, measured 0.4 to 0.9 s on one core: a guess must cost at least 250 ms.
const cost = { n: 2 ** 17, r: 8, p: 1 } as const
const format: FileFormat = { magic: 'hbvault1', info: 'healthblock/1 vault', fieldsSizeBytes: 32 }
const rootsLabel = 'vault.roots'
const noContext = new Uint8Array(0)
const keys = ['v', 'root', 'op', 'kem', 'vaultkem', 'phrase', 'salts', 'nodes', 'extra'] as const

function encodeContents(contents: VaultContents): Bytes {
  for (const name of ['rootSeed', 'opSeed', 'kemSeed', 'vaultKemSeed'] as const) {
    if (contents[name].length !== 32) throw argumentInvalid(name)
  }
  if (contents.phraseEntropy.length !== 32 && contents.phraseEntropy.length !== 0)
    throw argumentInvalid('phraseEntropy')
  const { recoverySalts, extra } = contents
  if (recoverySalts.length > recoverySaltsMax || recoverySalts.some((salt) => salt.length !== 32)) {
    throw argumentInvalid('recoverySalts')
  }
  if (extra.length > extraSizeMax) throw argumentInvalid('extra')
  return encodeCbor({
    v: 1,
    root: contents.rootSeed,
    op: contents.opSeed,
    kem: contents.kemSeed,
    vaultkem: contents.vaultKemSeed,
    phrase: contents.phraseEntropy,
    salts: [...recoverySalts],
    nodes: heldNodesValue(contents.nodes),
    extra,
  })
}

function parseContents(bytes: Uint8Array): VaultContents {
  const reader = new FormatReader('vault')
  const map = reader.map(bytes, keys)
  const phraseEntropy = reader.bytes(map.phrase)
  reader.demand(phraseEntropy.length === 32 || phraseEntropy.length === 0)
  const extra = reader.bytes(map.extra)
  reader.demand(extra.length <= extraSizeMax)
  return {
    rootSeed: reader.bytes(map.root, 32),
    opSeed: reader.bytes(map.op, 32),
    kemSeed: reader.bytes(map.kem, 32),
    vaultKemSeed: reader.bytes(map.vaultkem, 32),
    phraseEntropy,
    recoverySalts: reader.list(map.salts, recoverySaltsMax).map((salt) => reader.bytes(salt, 32)),
    nodes: reader.heldNodes(map.nodes),
    extra,
  }
}

async function masterKey(passphrase: string, salt: Uint8Array): Promise<Bytes> {
  const bytes = encodeUtf8(passphrase.normalize('NFKC'))
  const master = await provider.scrypt(bytes, salt, cost)
  bytes.fill(0)
  return master
}

/** A vault while its owner has it open. `contents` is replaced as a whole; `encode` gives the file to be written. */
export class OpenVault {
  #contents: VaultContents
  #salt: Uint8Array
  #master: Bytes
  private constructor(contents: VaultContents, salt: Uint8Array, master: Bytes) {
    this.#contents = contents
    this.#salt = salt
    this.#master = master
  }

  /**
   * What the vault holds.
   *
   * @throws {CryptoError} `ERR_ARGUMENT_INVALID` after `close`: whoever still works with it must not go on with wiped keys.
   */
  get contents(): VaultContents {
    this.#demandOpen()
    return this.#contents
  }

  set contents(contents: VaultContents) {
    this.#demandOpen()
    this.#contents = contents
  }

  #demandOpen(): void {
    if (this.#master.length === 0) throw argumentInvalid('vault')
  }

  static async create(contents: VaultContents, passphrase: string): Promise<OpenVault> {
    requirePassphrase(passphrase)
    const salt = provider.randomBytes(32)
    return new OpenVault(contents, salt, await masterKey(passphrase, salt))
  }

  static async open(file: Uint8Array, passphrase: string): Promise<OpenVault> {
    const salt = fileFields(format, file).slice()
    const master = await masterKey(passphrase, salt)
    let bytes: Bytes | undefined
    try {
      bytes = openFileWith(provider, format, master, file)
      return new OpenVault(parseContents(bytes), salt, master)
    } catch {
      master.fill(0)
      throw openFailed()
    } finally {
      bytes?.fill(0)
    }
  }

  /**
   * The file (SPEC.md §6), to be written atomically. Never the same bytes twice.
   *
   * @throws {CryptoError} `ERR_ARGUMENT_INVALID` for contents out of form, and after `close`.
   */
  encode(): Bytes {
    this.#demandOpen()
    return this.#encodeUnder(this.#master, this.#salt)
  }

  #encodeUnder(key: Bytes, fields: Uint8Array): Bytes {
    const contents = encodeContents(this.#contents)
    const salt = provider.randomBytes(32)
    const file = sealFileWith(provider, format, { key, fields, salt, contents })
    contents.fill(0)
    return file
  }

  /**
   * Has the file written under another passphrase. The vault goes over to it when `write` returns: what throws there leaves it under the one
   * that it had.
   *
   * @param write - makes the file durable, at once.
   * @throws {CryptoError} `ERR_SIZE_INVALID` for a short one; `ERR_ARGUMENT_INVALID` after `close`; what `write` throws.
   */
  async changePassphrase(passphrase: string, write: (file: Bytes) => void): Promise<void> {
    requirePassphrase(passphrase)
    const salt = provider.randomBytes(32)
    const master = await masterKey(passphrase, salt)
    try {
      this.#demandOpen()
      write(this.#encodeUnder(master, salt))
    } catch (error) {
      master.fill(0)
      throw error
    }
    this.#master.fill(0)
    this.#master = master
    this.#salt = salt
  }

  /** The vault's KEM public key, 1,216 bytes, for the hot store. */
  publicKey(): Bytes {
    return new KemKeyPair(this.contents.vaultKemSeed, provider).publicKey
  }

  /**
   * Opens roots that the hot store sealed, without adding them to `contents`.
   *
   * @throws {CryptoError} `ERR_OPEN_FAILED`, `ERR_SUITE_UNKNOWN`.
   */
  async openRoots(sealed: Uint8Array): Promise<HeldNodes[]> {
    const keyPair = new KemKeyPair(this.contents.vaultKemSeed, provider)
    const bytes = await openWithKemKey({ keyPair, label: rootsLabel, context: noContext, sealed })
    try {
      return parseHeldNodes(bytes)
    } catch {
      throw openFailed()
    } finally {
      bytes.fill(0)
    }
  }

  /** Wipes the key and the secrets in `contents` (best effort). The object is of no use afterwards. Twice is once. */
  close(): void {
    this.#master.fill(0)
    this.#master = new Uint8Array(0)
    const { rootSeed, opSeed, kemSeed, vaultKemSeed, phraseEntropy, recoverySalts, nodes, extra } = this.#contents
    for (const secret of [rootSeed, opSeed, kemSeed, vaultKemSeed, phraseEntropy, ...recoverySalts, extra])
      secret.fill(0)
    for (const held of nodes) for (const node of held.nodes) node.key.fill(0)
  }
}

function requirePassphrase(passphrase: string): void {
  const length = [...passphrase.normalize('NFKC')].length
  if (length < passphraseLengthMin) {
    const detail = { code: 'ERR_SIZE_INVALID', size: length, sizeMax: passphraseLengthMin } as const
    throw new CryptoError(`a passphrase has at least ${passphraseLengthMin} characters`, detail)
  }
}

/**
 * A new vault under a passphrase of at least `passphraseLengthMin` characters.
 *
 * @throws {CryptoError} `ERR_SIZE_INVALID` for a shorter one.
 */
export function createVault(options: { contents: VaultContents; passphrase: string }): Promise<OpenVault> {
  return OpenVault.create(options.contents, options.passphrase)
}

/**
 * Opens a vault file. Costs the same, about half a second, whether or not the passphrase is right.
 *
 * @throws {CryptoError} `ERR_OPEN_FAILED`, whatever the cause.
 */
export function openVault(options: { file: Uint8Array; passphrase: string }): Promise<OpenVault> {
  return OpenVault.open(options.file, options.passphrase)
}

/** Seals new roots to the vault's public key (1,216 bytes): whoever seals them cannot open them again. */
export async function sealRoots(options: { vaultKey: Uint8Array; roots: readonly HeldNodes[] }): Promise<Bytes> {
  const plaintext = encodeHeldNodes(options.roots)
  const { vaultKey: publicKey } = options
  const sealed = await sealToKemKey({
    suite: kemSuiteDefault,
    publicKey,
    label: rootsLabel,
    context: noContext,
    plaintext,
  })
  plaintext.fill(0)
  return sealed
}
