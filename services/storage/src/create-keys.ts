/**
 * Makes the key files of a new node: `node src/create-keys.ts FOLDER`. Prints what others need to know as one JSON
 * line: `{"storeKey": hex32, "peerId"}`. Files that exist are never overwritten.
 */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { ensureFolder } from '@healthblock/runtime/files'
import { peerIdOfSeed } from './swarm/swarm.ts'

const folder = process.argv[2]
if (!folder) {
  process.stderr.write('usage: create-keys FOLDER\n')
  process.exit(2)
}
try {
  ensureFolder(folder)
} catch (error) {
  process.stderr.write(`create-keys: ${messageOf(error)}\n`)
  process.exit(2)
}
const seeds = { store: new Uint8Array(randomBytes(32)), peer: new Uint8Array(randomBytes(32)), rest: randomBytes(32) }
for (const [name, seed] of Object.entries(seeds)) {
  writeFileSync(join(folder, `${name}.key`), `${toHex(seed)}\n`, { flag: 'wx', mode: 0o600 })
}
const storeKey = toHex(signingKeyFromSeed(seeds.store).publicKey)
process.stdout.write(`${JSON.stringify({ storeKey, peerId: await peerIdOfSeed(seeds.peer) })}\n`)
