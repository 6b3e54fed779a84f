/**
 * Makes the key files of a new node: `node src/create-keys.ts FOLDER`. Prints what others need to know as one JSON
 * line: `{"storeKey": hex32, "peerId"}`. Files that exist are never overwritten: what was broken off is made whole.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { ensureFolder, readFileIfPresent, writeSecretFile } from '@healthblock/runtime/files'
import { peerIdOfSeed } from './swarm/swarm.ts'

/** The seed in a file; a new one if there is none. */
function seedIn(path: string): Uint8Array {
  const there = readFileIfPresent(path)
  if (there === undefined) {
    const seed = new Uint8Array(randomBytes(32))
    writeSecretFile(path, `${toHex(seed)}\n`)
    return seed
  }
  const text = Buffer.from(there).toString().trim()
  if (!/^[0-9a-f]{64}$/.test(text)) throw new Error(`${path} is there, and is no key: 64 hexadecimal digits`)
  return fromHex(text)
}

const folder = process.argv[2]
if (!folder) {
  process.stderr.write('usage: create-keys FOLDER\n')
  process.exit(2)
}
try {
  ensureFolder(folder)
  const [store, peer] = ['store', 'peer', 'rest'].map((name) => seedIn(join(folder, `${name}.key`)))
  const storeKey = toHex(signingKeyFromSeed(store as Uint8Array).publicKey)
  process.stdout.write(`${JSON.stringify({ storeKey, peerId: await peerIdOfSeed(peer as Uint8Array) })}\n`)
} catch (error) {
  process.stderr.write(`create-keys: ${messageOf(error)}\n`)
  process.exit(2)
}
