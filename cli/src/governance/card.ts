/** Keys of a node or store that is to join, or of one whose keys are to be replaced, and the card by which the others put them into the policy. */
import { randomBytes } from 'node:crypto'
import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { genesisAccount } from '@healthblock/chain/genesis'
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { concatBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder, writeFileDurably } from '@healthblock/runtime/files'
import { readFileText } from '../input-file.ts'
import { CommandError } from '../io.ts'

/** Public keys of a node, and whose it is. All hexadecimal. */
export interface NodeCard {
  readonly account: string
  readonly organisation: string
  /** Node key, log and cosigner keys of Userchain, then of Docchain. */
  readonly keys: readonly [string, string, string, string, string]
}

/** Public keys of a store, and whose it is. All hexadecimal. */
export interface StoreCard {
  readonly account: string
  readonly organisation: string
  readonly storeKey: string
  /** Binary libp2p peer id. */
  readonly peer: string
}

/** What the others need to know of a node or of a store. */
export type Card = NodeCard | StoreCard

/** Whether a card is a store's. */
export function isStoreCard(card: Card): card is StoreCard {
  return 'peer' in card
}

const keyFiles = [
  'node.key',
  'userchain-log.key',
  'userchain-cosigner.key',
  'docchain-log.key',
  'docchain-cosigner.key',
] as const

/** Reads a 32-byte seed from a file of 64 hexadecimal characters. */
export function readKeyFile(path: string): SigningKey {
  const text = readFileText(path).trim()
  if (!/^[0-9a-f]{64}$/.test(text)) throw new CommandError(`${path} is not a key file: 64 hexadecimal characters`)
  return signingKeyFromSeed(fromHex(text))
}

/** Writes a fresh signing key. @throws {CommandError} if the file is there: it may be the only copy of a key. */
export function writeKeyFile(path: string): SigningKey {
  if (existsSync(path)) throw new CommandError(`${path} is there already, and no key is written over`)
  const key = generateSigningKey()
  writeSecretFile(path, toHex(key.exportSeed()))
  return key
}

/** Writes a secret for its owner alone. */
export function writeSecretFile(path: string, text: string): void {
  writeFileDurably(path, `${text}\n`, { mode: 0o600 })
}

/**
 * Makes the secrets of a node in a folder of its own. Those that are there already are set aside: they may be in a policy, or be about to.
 *
 * @param options - `account`: of a node whose keys are replaced; a new node gets the account that follows from its key. `opKey`: its
 *   organisation's op key file, which the node uses for sponsors and licences.
 */
export function createNodeSecrets(
  folder: string,
  options: { ledgerId: Uint8Array; organisation: string; opKey: string; account?: string },
): NodeCard {
  const op = readKeyFile(options.opKey)
  if (existsSync(folder)) renameSync(folder, `${folder}.${Date.now()}`)
  ensureFolder(folder)
  const keys = keyFiles.map((name) => toHex(writeKeyFile(join(folder, name)).publicKey))
  writeSecretFile(join(folder, 'organisation-op.key'), toHex(op.exportSeed()))
  writeSecretFile(join(folder, 'admin.secret'), toHex(randomBytes(32)))
  const account = options.account ?? toHex(genesisAccount(options.ledgerId, fromHex(keys[0] as string)))
  return { account, organisation: options.organisation, keys: keys as unknown as NodeCard['keys'] }
}

/** An Ed25519 peer id: the identity multihash of libp2p's protobuf form of the public key. */
export function peerIdOf(publicKey: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20), publicKey)
}

/** Public keys of the store whose secrets are in a folder. All hexadecimal. */
export function readStoreKeys(folder: string): Pick<StoreCard, 'storeKey' | 'peer'> {
  const publicKey = (name: string): Uint8Array => readKeyFile(join(folder, name)).publicKey
  return { storeKey: toHex(publicKey('store.key')), peer: toHex(peerIdOf(publicKey('peer.key'))) }
}

/** Makes a store's secrets but for that of its blocks at rest. */
function makeStoreKeys(folder: string): Pick<StoreCard, 'storeKey' | 'peer'> {
  if (existsSync(folder)) renameSync(folder, `${folder}.${Date.now()}`)
  ensureFolder(folder)
  for (const name of ['store.key', 'peer.key']) writeKeyFile(join(folder, name))
  return readStoreKeys(folder)
}

/** Makes the secrets of a new store in a folder of its own. Those that are there already are set aside. */
export function createStoreSecrets(folder: string, options: { ledgerId: Uint8Array; organisation: string }): StoreCard {
  const keys = makeStoreKeys(folder)
  writeSecretFile(join(folder, 'at-rest.key'), toHex(randomBytes(32)))
  const account = toHex(genesisAccount(options.ledgerId, fromHex(keys.storeKey)))
  return { account, organisation: options.organisation, ...keys }
}

/** Makes other keys for a store, beside the secrets that it has: what its blocks are encrypted with at rest stays. */
export function renewStoreSecrets(
  folder: string,
  options: { from: string; account: string; organisation: string },
): StoreCard {
  const { from, account, organisation } = options
  const keys = makeStoreKeys(folder)
  // Durably: without it the store opens none of its blocks.
  writeSecretFile(join(folder, 'at-rest.key'), readFileText(join(from, 'at-rest.key')).trimEnd())
  return { account, organisation, ...keys }
}

/** Reads a card file. @throws {CommandError} if it is none. */
export function readCard(path: string): Card {
  const isHex = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
  const text = readFileText(path)
  let card: Partial<NodeCard & StoreCard>
  try {
    card = JSON.parse(text) as Partial<NodeCard & StoreCard>
  } catch (cause) {
    throw new CommandError(`${path} is not a card: not JSON`, undefined, { cause })
  }
  const { account, organisation, keys, storeKey, peer } = card ?? {}
  if (isHex(account) && isHex(organisation)) {
    if (Array.isArray(keys) && keys.length === 5 && keys.every(isHex))
      return { account, organisation, keys: keys as unknown as NodeCard['keys'] }
    if (isHex(storeKey) && typeof peer === 'string' && /^([0-9a-f]{2}){1,64}$/.test(peer))
      return { account, organisation, storeKey, peer }
  }
  throw new CommandError(`${path} is no card of a node or of a store`)
}
