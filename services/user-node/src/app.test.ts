/** A user node as a whole, with a real ledger. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signingMessage } from '@healthblock/chain/transaction'
import { createLogger } from '@healthblock/runtime/logger'
import { expect, test } from 'vitest'
import { createConsortium, startTestNode, TestLedger } from '../../../packages/runtime/src/testkit.ts'
import { createUserNode, type UserNode } from './app.ts'
import type { Person } from './store/person.ts'

test('a node whose outbox was lost hears of the ledger as before', { timeout: 120_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'user-node-'))
  const consortium = createConsortium(1)
  const history = new TestLedger(consortium)
  const accounting = await startTestNode(history, { token: null })
  let node: UserNode | undefined
  const start = async (): Promise<UserNode> => {
    node = await createUserNode({
      config: {
        ...{ dir, host: '127.0.0.1', port: 0, periodMs: 60_000, idleMs: 60_000, webDir: dir, logLevel: 'silent' },
        ledger: { genesis: consortium.genesis.bytes, accounting: [accounting.url], storage: ['http://127.0.0.1:1'] },
      },
      secrets: { apiSecret: 'a secret of the house' },
      logger: createLogger({ name: 'test', level: 'silent' }),
    })
    await node.listen()
    return node
  }
  try {
    const { people, confirm } = (await start()).services
    const { account: sponsor, op } = consortium.organisation
    const { person, body } = await people.create({ name: 'anna', passphrase: 'correct horse battery', sponsor })
    const message = signingMessage({ ledgerId: history.ledger.ledgerId, chain: 'userchain', bodyBytes: body })
    confirm(person, op.sign(message))
    await expect.poll(() => [person.state, history.onBlock.size], { timeout: 30_000 }).toEqual(['live', 2])
    await node?.stop()
    for (const name of ['outbox.db', 'outbox.db-wal', 'outbox.db-shm']) rmSync(join(dir, name), { force: true })
    await expect.poll(() => history.onBlock.size, { timeout: 30_000 }).toBe(0)
    const { store, transaction } = (await start()).services
    // A stream of each chain.
    await expect.poll(() => history.onBlock.size, { timeout: 30_000 }).toBe(2)
    const again = store.all()[0] as Person
    expect(transaction(again, again.id)).toEqual({ status: 'committed' })
  } finally {
    await node?.stop()
    await accounting.close()
    rmSync(dir, { recursive: true })
  }
})
