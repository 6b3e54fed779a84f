/** Puts blocks without end and prints the digest of each that was acknowledged: a process to be killed by a test. */
import { randomBytes } from 'node:crypto'
import { writeSync } from 'node:fs'
import { codecRaw, hashBlock } from './block-id.ts'
import { BlockStore } from './block-store.ts'

const [path, key] = process.argv.slice(2) as [string, string]
const store = new BlockStore({
  path,
  key: Buffer.from(key, 'hex'),
  bytesMax: 1e12,
  accountBytesMax: 1e12,
  node: new Uint8Array(32),
  now: Date.now,
  onCorrupt: () => process.exit(3),
  onFatal: () => process.exit(4),
})
await store.open()

async function putForever(account: Uint8Array): Promise<void> {
  for (;;) {
    // Some are large enough for a pack.
    const sizeMax = Math.random() < 0.2 ? 300_000 : 30_000
    const bytes = new Uint8Array(randomBytes(64 + Math.floor(Math.random() * sizeMax)))
    const digest = hashBlock(bytes)
    const references = [{ account, at: 1, pin: 1 }]
    await store.put({ digest, codec: codecRaw, bytes, references, handoff: [account], enforceQuota: true })
    writeSync(1, `${Buffer.from(digest).toString('hex')}\n`)
  }
}

await Promise.all(Array.from({ length: 12 }, (_, index) => putForever(new Uint8Array(32).fill(index))))
