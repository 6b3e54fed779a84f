import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { userTables } from '@healthblock/chain/tables'
import { signTransaction, transactionId } from '@healthblock/chain/transaction'
import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import { Outbox, type OutboxEntry } from '@healthblock/runtime/outbox'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TestHome } from '../../../../test/support/home.ts'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { UserNodeEvents } from '../events.ts'
import { createLedgerView } from '../follower-view.ts'
import { OpStanding } from '../people/op-standing.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import { PersonStore } from '../store/person.ts'
import { Postings } from '../store/postings.ts'
import { Alarms } from './alarms.ts'
import { Delivery } from './delivery.ts'
import { Losses } from './losses.ts'
import { Samples } from './samples.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-delivery-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const away = (): Promise<never> => Promise.reject(new Error('no network'))
const logger = createLogger({ name: 'test', level: 'silent' })

function leafOf(world: TestLedger, key: SigningKey) {
  const account = new Uint8Array(32).fill(1)
  const cid = new Uint8Array(32).fill(2)
  const signed = signTransaction({
    ledgerId: world.ledger.ledgerId,
    chain: 'userchain',
    body: { v: 1, t: 'iot', a: account, r: [[new Uint8Array(8), 1, 1, 490_000, 0, 1024, cid]] },
    signers: [{ account, key: 1, signingKey: key }],
  })
  const place = { ledgerId: world.ledger.ledgerId, chain: 'userchain' as const, bodyBytes: signed.bodyBytes }
  return { account, leaf: signed.leaf, tx: transactionId(place) }
}

type Client = ConstructorParameters<typeof Outbox>[0]['client']

/** A node's postings, and outboxes over its folder, of which each may reach the ledger or not. */
function scene() {
  const world = new TestLedger(1_800_000_000_000)
  const { ledgerId } = world.ledger
  const nowMs = (): number => world.nowMs
  const database = openNodeDatabase(join(dir, 'node.db'))
  const postings = new Postings(database)
  const ledger = createLedgerView(world.ledger, nowMs)
  const alarms = new Alarms({ database, events: new UserNodeEvents(logger) })
  const losses = new Losses({ database, ledger, samples: new Samples(database, nowMs), alarms, logger, nowMs })
  const openOutbox = (client: Client = { submit: away, answers: away, receipt: away, urls: [] }) =>
    new Outbox({ dir, ledgerId, client, logger, retryMs: { min: 5, max: 50 } })
  const openDelivery = (outbox: Outbox, onFinal: (entry: OutboxEntry) => void = () => {}) =>
    new Delivery({
      ...{ database, people: new PersonStore(database, new Uint8Array(32)), postings, outbox, logger, nowMs },
      ledger,
      losses,
      standing: new OpStanding({ ledger, alarms, nowMs }),
      storageOf: () => {
        throw new Error('nothing is stored here')
      },
      onFinal: (_posting, entry) => onFinal(entry),
    })
  return { world, database, postings, openOutbox, openDelivery }
}

/** Takes everything at once. */
const takesAll: Client = {
  submit: async () => ({ url: 'http://gateway', deadlineMs: Date.now() + 30_000, refused: new Map() }),
  answers: async (_chain, ids) => ids.map(() => ({ status: 'committed', index: 1, height: 1, size: 2 })),
  receipt: async () => new Uint8Array(1),
  urls: [],
}

test('what an outbox knew that was lost is handed over again', async () => {
  const { world, database, postings, openOutbox, openDelivery } = scene()
  const { account, leaf, tx } = leafOf(world, generateSigningKey())
  postings.add({ tx, account, what: 'iot', leaf, requires: undefined }, world.nowMs)
  const first = openOutbox()
  openDelivery(first).handOver()
  expect([first.pending(), postings.unhanded().length]).toEqual([1, 0])
  await first.close()
  rmSync(join(dir, 'outbox.db'))
  const second = openOutbox()
  const delivery = openDelivery(second)
  expect(second.pending()).toBe(0)
  delivery.reconcile()
  delivery.handOver()
  expect(second.find(tx)?.status).toBe('waiting')
  await second.close()
  database.close()
})

test('what follows something that is on record goes on its way from an outbox that does not know that any more', async () => {
  const { world, database, postings, openOutbox, openDelivery } = scene()
  const { account, leaf, tx } = leafOf(world, generateSigningKey())
  const requires = sha256(tx)
  postings.add({ tx: requires, account, what: 'key', leaf: new Uint8Array(1), requires: undefined }, 1)
  postings.markFinal(requires, 'committed')
  postings.add({ tx, account, what: 'envelope', leaf, requires }, 2)
  const outbox = openOutbox(takesAll)
  outbox.start()
  openDelivery(outbox).handOver()
  expect(await outbox.wait(tx)).toMatchObject({ status: 'committed' })
  await outbox.close()
  database.close()
})

test('what follows something that was refused is refused with it, by an outbox that does not know that any more', async () => {
  const { world, database, postings, openOutbox, openDelivery } = scene()
  const { account, leaf, tx } = leafOf(world, generateSigningKey())
  const requires = sha256(tx)
  postings.add({ tx: requires, account, what: 'key', leaf: new Uint8Array(1), requires: undefined }, 1)
  postings.markFinal(requires, 'refused')
  postings.add({ tx, account, what: 'erase', leaf, requires }, 2)
  const outbox = openOutbox(takesAll)
  const rules: (string | undefined)[] = []
  openDelivery(outbox, ({ rule }) => rules.push(rule)).handOver()
  expect(postings.find(account, tx)).toMatchObject({ state: 'refused' })
  expect(rules).toEqual(['outbox.dependency'])
  expect([postings.unhanded().length, outbox.pending()]).toEqual([0, 0])
  await outbox.close()
  database.close()
})

test('what the outbox finished is settled at the next start, though the node was killed before it noted that it was handed over', async () => {
  const { world, database, postings, openOutbox, openDelivery } = scene()
  const { account, leaf, tx } = leafOf(world, generateSigningKey())
  const outbox = openOutbox(takesAll)
  outbox.start()
  outbox.add([{ chain: 'userchain', leaf }])
  await outbox.wait(tx)
  postings.add({ tx, account, what: 'iot', leaf, requires: undefined }, world.nowMs)
  const delivery = openDelivery(outbox)
  delivery.reconcile()
  delivery.handOver()
  expect(postings.find(account, tx)).toMatchObject({ state: 'committed' })
  await outbox.close()
  database.close()
})

test.each(['committed', 'refused'] as const)(
  'what was %s is not handed over, though the node was killed before it noted that the outbox has it',
  (state) => {
    const database = openNodeDatabase(join(dir, 'node.db'))
    const postings = new Postings(database)
    const { account, leaf, tx } = leafOf(new TestLedger(1_800_000_000_000), generateSigningKey())
    const next = sha256(tx)
    for (const id of [tx, next]) postings.add({ tx: id, account, what: 'iot', leaf, requires: undefined }, 1)
    postings.markFinal(tx, state)
    expect(postings.unhanded().map((posting) => toHex(posting.tx))).toEqual([toHex(next)])
    // As folders are in which that had happened.
    database.run('UPDATE posting SET handed = 0')
    expect(postings.unhanded().map((posting) => toHex(posting.tx))).toEqual([toHex(next)])
    database.close()
  },
)

test('what storage refuses one person holds up nobody else, and is tried again', async () => {
  const world = new TestLedger(1_800_000_000_000)
  const nowMs = (): number => world.nowMs
  const database = openNodeDatabase(join(dir, 'node.db'))
  const ledger = createLedgerView(world.ledger, nowMs)
  const alarms = new Alarms({ database, events: new UserNodeEvents(logger) })
  const losses = new Losses({ database, ledger, samples: new Samples(database, nowMs), alarms, logger, nowMs })
  const client = { submit: away, answers: away, receipt: away, urls: [] }
  const outbox = new Outbox({ dir, ledgerId: world.ledger.ledgerId, client, logger })
  let isFull = true
  const delivery = new Delivery({
    ...{ database, people: new PersonStore(database, new Uint8Array(32)), postings: new Postings(database), outbox },
    ...{ ledger, losses, logger, nowMs, onFinal: () => {} },
    standing: new OpStanding({ ledger, alarms, nowMs }),
    storageOf: (account) => {
      const put = (): Promise<unknown> =>
        isFull && account[0] === 1 ? Promise.reject(new Error('quota')) : Promise.resolve({ receipts: [] })
      return { put } as unknown as StorageClient
    },
  })
  // The one who is refused stands before the other in every order, with more blocks than are tried at once.
  for (const [account, count] of [
    [1, 20],
    [2, 20],
  ] as const)
    for (let sequence = 1; sequence <= count; sequence++) {
      const block = new Uint8Array(1024).fill(sequence)
      database.run(
        `INSERT INTO batch (account, stream, sequence, generation, epoch, kind, size, cid, start, until, state, block)
         VALUES (?, ?, ?, 1, 1, 0, 1024, ?, 0, 1, 'sealed', ?)`,
        ...[new Uint8Array(32).fill(account), new Uint8Array(8), sequence, sha256(block), block],
      )
    }
  const stored = () =>
    [1, 2].map((account) => {
      const count = "SELECT count(*) AS n FROM batch WHERE state = 'stored' AND account = ?"
      return Number(database.get(count, new Uint8Array(32).fill(account))?.n)
    })
  const unstoredSince = () => [1, 2].map((account) => delivery.unstoredSinceMs(new Uint8Array(32).fill(account)))
  expect(unstoredSince()).toEqual([undefined, undefined])
  const beganMs = world.nowMs
  await delivery.step()
  expect(stored()).toEqual([0, 20])
  expect(unstoredSince()).toEqual([beganMs, undefined])
  world.nowMs += 1_000
  await delivery.step()
  expect(unstoredSince()).toEqual([beganMs, undefined])
  isFull = false
  await delivery.step()
  expect(stored()).toEqual([0, 20])
  world.nowMs += 1_000
  await delivery.step()
  expect(stored()).toEqual([20, 20])
  expect(unstoredSince()).toEqual([undefined, undefined])
  await outbox.close()
  database.close()
})

test('gaps, more than fit into a transaction, go on record once they are not refused any more, however often they were', async () => {
  const world = new TestLedger(1_800_000_000_000)
  const home = new TestHome(world, dir)
  const vault = await home.enrol()
  vault.close()
  const { stream } = home.stream('ecg')
  home.seal()
  world.commit(home.iot())
  home.database.run("UPDATE batch SET state = 'committed'")
  home.database.run('UPDATE stream SET sequence = 71 WHERE stream = ?', stream)
  expect(home.losses.close(home.person(), stream)).toBe(70)
  const sent: Uint8Array[] = []
  const outbox = {
    add: (items: readonly { leaf: Uint8Array }[]) => void sent.push(...items.map(({ leaf }) => leaf)),
    find: () => undefined,
    pending: () => 0,
  }
  const { database, store: people, postings, losses, standing, ledger } = home
  const delivery = new Delivery({
    ...{ database, people, postings, ledger, losses, standing, logger, nowMs: () => world.nowMs },
    ...{ outbox: outbox as never, storageOf: () => ({}) as StorageClient, onFinal: () => {} },
  })
  delivery.open()
  /** Whatever is under way gets its final answer; gives what was sent for it. */
  const answer = (status: 'refused' | 'committed'): Uint8Array[] => {
    for (const { tx } of database.all("SELECT tx FROM posting WHERE what = 'iot' AND state = 'pending'")) {
      const common = { id: toHex(tx as Uint8Array), chain: 'userchain', addedMs: 0, attempts: 1 } as const
      delivery.settle({ ...common, status, ...(status === 'refused' ? { rule: 'iot.signature' } : {}) })
    }
    return sent.splice(0)
  }
  for (let tries = 0; tries < 80; tries++) {
    await delivery.step()
    expect(answer('refused').length).toBeGreaterThan(0)
    world.nowMs += 2 * 3_600_000
  }
  await delivery.step()
  for (const leaf of answer('committed')) world.commit(leaf)
  const last = userTables.last.get(world.ledger.state('userchain'), home.person().account, stream)
  expect(last?.[0]).toBe(71)
  home.database.close()
})

test('an empty node.db does not take the place of one that is gone', () => {
  mkdirSync(join(dir, 'people', 'ab'), { recursive: true })
  expect(() => openNodeDatabase(join(dir, 'node.db'))).toThrow('restore it from a backup')
  rmSync(join(dir, 'people'), { recursive: true })
  openNodeDatabase(join(dir, 'node.db')).close()
})
