/** A user node as a whole, with a real ledger. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signingMessage } from '@healthblock/chain/transaction'
import { createLogger } from '@healthblock/runtime/logger'
import { expect, test } from 'vitest'
import { type Consortium, createConsortium, startTestNode, TestLedger } from '../../../packages/runtime/src/testkit.ts'
import { createUserNode, type UserNode } from './app.ts'
import type { Person } from './store/person.ts'

interface House {
  readonly dir: string
  readonly consortium: Consortium
  readonly history: TestLedger
  start(): Promise<UserNode & { readonly url: string }>
  stop(): Promise<void>
}

/** A node and one accounting node, whose ledger begins with this house. */
async function atHouse(act: (house: House) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'user-node-'))
  const consortium = createConsortium(1)
  const history = new TestLedger(consortium)
  const accounting = await startTestNode(history, { token: null })
  let node: UserNode | undefined
  const start = async (): Promise<UserNode & { url: string }> => {
    node = await createUserNode({
      config: {
        ...{ dir, host: '127.0.0.1', port: 0, periodMs: 60_000, idleMs: 60_000, webDir: dir, logLevel: 'silent' },
        ledger: { genesis: consortium.genesis.bytes, accounting: [accounting.url], storage: ['http://127.0.0.1:1'] },
      },
      secrets: { apiSecret: 'a secret of the house' },
      logger: createLogger({ name: 'test', level: 'silent' }),
    })
    const { url } = await node.listen()
    return { ...node, url }
  }
  const stop = async (): Promise<void> => {
    await node?.stop()
    node = undefined
    await expect.poll(() => history.onBlock.size, { timeout: 30_000 }).toBe(0)
  }
  try {
    await act({ dir, consortium, history, start, stop })
  } finally {
    await node?.stop()
    await accounting.close()
    rmSync(dir, { recursive: true })
  }
}

/** Enrols somebody, and waits until the node listens to a stream of each chain. */
async function enrol({ consortium, history }: House, { services: { people, confirm } }: UserNode): Promise<void> {
  const { account: sponsor, op } = consortium.organisation
  const { person, body } = await people.create({ name: 'anna', passphrase: 'correct horse battery', sponsor })
  const message = signingMessage({ ledgerId: history.ledger.ledgerId, chain: 'userchain', bodyBytes: body })
  confirm(person, op.sign(message))
  await expect.poll(() => [person.state, history.onBlock.size], { timeout: 30_000 }).toEqual(['live', 2])
}

test('a node whose outbox was lost hears of the ledger as before', { timeout: 120_000 }, () =>
  atHouse(async (house) => {
    const { dir, history, start, stop } = house
    await enrol(house, await start())
    await stop()
    for (const name of ['outbox.db', 'outbox.db-wal', 'outbox.db-shm']) rmSync(join(dir, name), { force: true })
    const { store, transaction } = (await start()).services
    await expect.poll(() => history.onBlock.size, { timeout: 30_000 }).toBe(2)
    const again = store.all()[0] as Person
    expect(transaction(again, again.id)).toEqual({ status: 'committed' })
  }),
)

test('a node that cannot take a chain in is not ready, and goes on once it can', { timeout: 120_000 }, () =>
  atHouse(async (house) => {
    const { start, stop } = house
    const first = await start()
    await enrol(house, first)
    const cursorOf = (node: UserNode) => node.services.database.get("SELECT value FROM cursor WHERE name = 'docchain'")
    await expect.poll(() => cursorOf(first), { timeout: 30_000 }).toBeDefined()
    first.services.database.run("UPDATE cursor SET value = x'00' WHERE name = 'docchain'")
    await stop()
    const second = await start()
    const readiness = async () => {
      const response = await fetch(new URL('/readyz', second.url))
      return { status: response.status, body: await response.json() }
    }
    const reason = expect.stringContaining('cursor')
    await expect.poll(readiness, { timeout: 30_000 }).toMatchObject({
      status: 503,
      body: { checks: expect.arrayContaining([{ name: 'docchain', ready: false, reason }]) },
    })
    second.services.database.run("DELETE FROM cursor WHERE name = 'docchain'")
    await expect.poll(readiness, { timeout: 30_000 }).toMatchObject({ status: 200 })
    expect(cursorOf(second)).toBeDefined()
  }),
)
