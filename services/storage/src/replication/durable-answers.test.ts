/** What a store says of its copies to others: nothing that may be lost with its power. */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { codecRaw, hashBlock } from '../store/block-id.ts'
import { breakLog } from '../store/broken-log.fixture.ts'
import { openPair } from './pair.fixture.ts'
import { newNonce } from './possession.ts'

test.skipIf(process.platform !== 'linux')(
  'a copy that can be seen and is not durable is neither signed for nor proved',
  async () => {
    const pair = await openPair({ isConnected: () => false, answers: (_request, response) => void response.end() })
    const bytes = new Uint8Array(randomBytes(100))
    const id = { digest: hashBlock(bytes), codec: codecRaw }
    breakLog(pair.folder)
    const references = [{ account: new Uint8Array(32).fill(3), at: 1, pin: 0 }]
    const failure = { detail: { code: 'ERR_STORE_FAILED' } }
    await expect(pair.store.put({ ...id, bytes, references, enforceQuota: true })).rejects.toMatchObject(failure)
    expect(pair.store.has(id.digest)).toBe(true)
    await expect(pair.replicator.ownReceipt(id)).rejects.toMatchObject(failure)
    await expect(pair.replicator.prove([id.digest], newNonce())).rejects.toMatchObject(failure)
    await pair.close()
  },
)
