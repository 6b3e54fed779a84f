/** Keys of a node that is to join, or of one whose keys are to be replaced, and the card by which the others put them into the policy. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { genesisAccount } from '@healthblock/chain/genesis'
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { readFileText } from '../input-file.ts'
import { CommandError } from '../io.ts'

/** Public keys of a node, and whose it is. All hexadecimal. */
export interface NodeCard {
  readonly account: string
  readonly organisation: string
  /** Node key, log and cosigner keys of Userchain, then of Docchain. */
  readonly keys: readonly [string, string, string, string, string]
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
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const keys = keyFiles.map((name) => toHex(writeKeyFile(join(folder, name)).publicKey))
  writeSecretFile(join(folder, 'organisation-op.key'), toHex(op.exportSeed()))
  writeSecretFile(join(folder, 'admin.secret'), toHex(randomBytes(32)))
  const account = options.account ?? toHex(genesisAccount(options.ledgerId, fromHex(keys[0] as string)))
  return { account, organisation: options.organisation, keys: keys as unknown as NodeCard['keys'] }
}

/** Reads a card file. */
export function readCard(path: string): NodeCard {
  const isHex = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
  const text = readFileText(path)
  let card: Partial<NodeCard>
  try {
    card = JSON.parse(text) as Partial<NodeCard>
  } catch (cause) {
    throw new CommandError(`${path} is not a node's card: not JSON`, undefined, { cause })
  }
  const { account, organisation, keys } = card
  const isGood = isHex(account) && isHex(organisation) && Array.isArray(keys) && keys.length === 5 && keys.every(isHex)
  if (!isGood) throw new CommandError(`${path} is not a node's card`)
  return { account, organisation, keys: keys as unknown as NodeCard['keys'] }
}
